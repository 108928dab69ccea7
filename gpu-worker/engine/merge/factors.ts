import { basisSigns, type LoraSpace, type LowRankProduct } from '../../../shared/zo/index.ts'
import { EngineError } from '../error.ts'
import { coreFactor, seededBases, singularBases } from '../evaluate/bases.ts'
import type { Graph } from '../graph/graph.ts'
import { findHead } from '../graph/head.ts'
import { matrixOf } from '../graph/products.ts'
import { findSites, type Site } from '../graph/sites.ts'
import { mergeProduct } from '../kernels/index.ts'
import { partsOf, type StagePart, type TrainedAdapter } from './adapter.ts'

/** What a constant of the model becomes: its values, in the order in which they lie in the file. */
export type NewValues = Map<string, Float32Array>

type Product = Pick<LowRankProduct, 'left' | 'right' | 'rank' | 'scale'>

/** The products that the stages add to a site, in order of stage. */
type ProductsOf = (site: Site) => readonly Product[]

/** Weights of the sites of a `lora` adapter, with what its stages add. @throws EngineError naming the site */
export function mergedFactors(graph: Graph, adapter: TrainedAdapter): NewValues {
  const found = new Map(findSites(graph, findHead(graph)?.product.node).map((site) => [site.name, site]))
  const siteOf = (name: string): Site => {
    const site = found.get(name)
    if (!site) throw new EngineError('unknown_site', `the model has no site ${name}: it is another model`)
    return site
  }
  const isCore = adapter.metadata.format === 'sotto-lora-core-v1'
  const names = [...partsOf(adapter, isCore ? 'R' : 'A').keys()]
  const sites = names.map(siteOf)
  const products = isCore ? coresOf(adapter, sites) : factorsOf(adapter)
  const values: NewValues = new Map()
  for (const site of sites) addSite(values, graph, site, products(site))
  return values
}

/** A V of each stage: A [inputs, rank], V [rank, outputs] with the site's scale in it. */
function factorsOf(adapter: TrainedAdapter): ProductsOf {
  const [left, right] = [partsOf(adapter, 'A'), partsOf(adapter, 'V')]
  return ({ name }) =>
    left.get(name)!.map(({ stage, shape, data }): Product => {
      const own = right.get(name)?.find((part) => part.stage === stage)
      if (!own) throw new EngineError('malformed_model', `the adapter lacks ${name}.stage${stage}.V`)
      return { left: data, right: own.data, rank: shape[1]!, scale: 1 }
    })
}

/** scale U R V of each stage, with the bases that the adapter's metadata name. */
function coresOf(adapter: TrainedAdapter, sites: readonly Site[]): ProductsOf {
  const { metadata } = adapter
  const scales = JSON.parse(metadata.scales ?? '{}') as Record<string, number>
  const cores = partsOf(adapter, 'R')
  const basesOf = (site: Site, { stage, shape }: StagePart) => {
    const rank = shape[0]!
    if (metadata.bases !== 'seeded') {
      refuseQuantised(site)
      return singularBases(site.products.map(matrixOf), { inputs: site.inputs, rank })
    }
    const outlines = sites.map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: scales[name]! }))
    const space: LoraSpace = { kind: 'lora', rank, trained: 'core', bases: 'seeded', sites: outlines }
    return seededBases(basisSigns(metadata.seed!, { stage, site: sites.indexOf(site) }, space), rank)
  }
  return (site) =>
    cores.get(site.name)!.map((core): Product => {
      const rank = core.shape[0]!
      const { left, right } = basesOf(site, core)
      return { left: coreFactor(left, core.data, rank), right, rank, scale: scales[site.name]! }
    })
}

function refuseQuantised({ name, products }: Site): void {
  if (products.every(({ isFloat }) => isFloat)) return
  throw new EngineError(
    'unsupported_graph',
    `the weight of site ${name} is quantised, and what was trained is finer than its steps: merge into the float model, or use the adapter`,
  )
}

function addSite(values: NewValues, graph: Graph, site: Site, stages: readonly Product[]): void {
  refuseQuantised(site)
  const consumers = graph.consumers()
  let from = 0
  for (const product of site.products) {
    const { weight, outputs, inputs, transposed } = product
    if (values.has(weight.name) || (consumers.get(weight.name) ?? []).length !== 1)
      throw new EngineError(
        'unsupported_graph',
        `the weight ${weight.name} of site ${site.name} is read elsewhere too, where nothing is added to it: use the adapter`,
      )
    const merged = matrixOf(product)
    for (const stage of stages) mergeProduct(merged, outputs, { ...stage, columns: site.outputs, from })
    values.set(weight.name, transposed ? turned(merged, inputs, outputs) : merged)
    from += outputs
  }
}

/** [rows, columns] as [columns, rows]. */
export function turned(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length)
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c]!
  return out
}
