import { findDecoder } from './graph/decoder.ts'
import { readGraph } from './graph/file.ts'
import { findSites } from './graph/sites.ts'

export interface ModelSite {
  readonly name: string
  /** Width of the input of W. */
  readonly inputs: number
  /** Width of the output; of q, k and v together where they share one factor. */
  readonly outputs: number
}

export interface ModelInspection {
  /** In the order of the forward pass. */
  readonly sites: readonly ModelSite[]
  /** Width of the hidden states that the decoder reads. */
  readonly hidden: number
  readonly layers: number
  readonly vocabulary: number
}

/**
 * Says what can be trained in a model folder: reads the graph, not the weights.
 * @example (await inspectModel('models/encoder')).sites.map((site) => site.name)
 * @throws EngineError `missing_model_file`, `malformed_model`, or `unsupported_graph` naming the node.
 */
export async function inspectModel(modelDir: string): Promise<ModelInspection> {
  const graph = readGraph(modelDir, { weights: false })
  const { product } = findDecoder(graph)
  const sites = findSites(graph, product.node).map(({ name, inputs, outputs }) => ({ name, inputs, outputs }))
  const layers = new Set(sites.flatMap(({ name }) => /^layer\.(\d+)\./.exec(name)?.[1] ?? []))
  return { sites, hidden: product.inputs, layers: layers.size, vocabulary: product.outputs }
}
