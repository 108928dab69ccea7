import { readGraph, type Variant } from '../graph/file.ts'
import { findHead } from '../graph/head.ts'
import { findSites } from '../graph/sites.ts'
import { findWeights } from '../graph/weights.ts'
import { normalise } from '../normalise/index.ts'

/** How libraries number what they stack. */
const NUMBERED = /(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\./
const SITE = /^layer\.(\d+)\./

/**
 * The layer of each weight that belongs to one, by name: exporters number some matrices anew, whose sites then say it; vectors
 * keep the library's names. Embeddings and the head are in no layer.
 */
export function layersOfWeights(modelDir: string, variant?: Variant): Map<string, number> {
  const graph = readGraph(modelDir, variant)
  normalise(graph)
  const bySite = new Map(
    findSites(graph, findHead(graph)?.product.node).flatMap(({ name, products }) =>
      products.map(({ weight }) => [weight.name, SITE.exec(name)?.[1]] as const),
    ),
  )
  return new Map(
    findWeights(graph).flatMap(({ name }) => {
      const layer = NUMBERED.exec(name)?.[1] ?? bySite.get(name)
      return layer === undefined ? [] : [[name, Number(layer)] as const]
    }),
  )
}
