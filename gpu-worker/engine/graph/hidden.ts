import type { NodeProto } from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'
import { findHead } from './head.ts'
import { findSites } from './sites.ts'

/** What a layer leaves to the next: the sum that ends it (the residual stream). */
export interface HiddenState {
  /** `layer.3` */
  readonly name: string
  /** Tensor [1, T, size] or [T, size]. */
  readonly tensor: string
  readonly size: number
}

const LAST_SITE = /^(layer\.\d+)\.ffn\.down$/
/** What may stand between a layer's last product and its sum, beside a bias. */
const BETWEEN = new Set(['Identity', 'Cast', 'Reshape', 'Dropout'])

/** The sum of two tensors, neither of them a constant, that a product's output comes to. */
function sumBehind(graph: Graph, consumers: ReadonlyMap<string, NodeProto[]>, output: string): string | undefined {
  let tensor = output
  for (;;) {
    const next = consumers.get(tensor)
    const [node] = next ?? []
    if (!node || next!.length !== 1) return undefined
    const isBias = node.opType === 'Add' && node.input.some((input) => graph.constants.has(input))
    if (node.opType === 'Add' && !isBias) return node.output[0]
    if (!isBias && !BETWEEN.has(node.opType)) return undefined
    tensor = node.output[0]!
  }
}

/** Hidden states that a graph makes for every token, in the order of the forward pass; those that are found. */
export function findHiddenStates(graph: Graph): HiddenState[] {
  const consumers = graph.consumers()
  return findSites(graph, findHead(graph)?.product.node).flatMap(({ name, products, outputs }) => {
    const layer = LAST_SITE.exec(name)?.[1]
    const tensor = layer && sumBehind(graph, consumers, products[0]!.node.output[0]!)
    return tensor ? [{ name: layer, tensor, size: outputs }] : []
  })
}
