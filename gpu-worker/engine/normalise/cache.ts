import { EngineError } from '../error.ts'
import type { Graph } from '../graph/graph.ts'
import { floatTensor } from '../graph/tensor.ts'
import type { NodeProto, ValueInfoProto } from '../onnx/onnx_pb.ts'
import { fixedSizes } from './inputs.ts'
import { dropNodes, labelOf, operatorOf } from './node.ts'

/**
 * Decoders exported for generation take the keys and values of earlier tokens. A record is always read from its first
 * token, so these are empty: each becomes a constant without elements, and what is appended to nothing is itself.
 */

const PAST = /^past[_.]?(?:key|value|\d)/
const isPast = ({ name }: ValueInfoProto): boolean => PAST.test(name)

/** Operators through which nothing stays nothing. */
const HANDS_ON = new Set([
  'Cast',
  'Gather',
  'Identity',
  'Reshape',
  'Slice',
  'Split',
  'Squeeze',
  'Transpose',
  'Unsqueeze',
])

/** Places of the cache among the inputs of attention operators. */
const CACHE_PLACES: Readonly<Record<string, readonly number[]>> = {
  Attention: [4, 5],
  'com.microsoft:Attention': [4],
  'com.microsoft:GroupQueryAttention': [3, 4],
  'com.microsoft:MultiHeadAttention': [6, 7],
}

/** Axis of a cache that counts tokens: the free one that is not the first. */
function emptyDims(info: ValueInfoProto): number[] {
  const sizes = fixedSizes(info)
  const tokens = sizes?.lastIndexOf(undefined) ?? -1
  const others = sizes?.filter((size, axis) => axis !== tokens && axis > 0 && size === undefined) ?? []
  // The batch is the other free axis: the first, or the second behind the one for keys and values of old GPT-2 exports.
  const isBatchSecond = others.length === 1 && sizes?.[0] !== undefined
  if (!sizes || tokens < 1 || (others.length > 0 && !isBatchSecond))
    throw new EngineError(
      'unsupported_graph',
      `input ${info.name} does not say its heads and their size: export the model without past key values`,
    )
  return sizes.map((size, axis) => (axis === tokens ? 0 : (size ?? 1)))
}

/** Tensors that are empty because the cache is. */
function emptyTensors(graph: Graph, past: readonly string[]): Set<string> {
  const empty = new Set(past)
  for (const node of graph.nodes)
    if (HANDS_ON.has(operatorOf(node)) && empty.has(node.input[0]!)) for (const output of node.output) empty.add(output)
  return empty
}

/** Concat of nothing and keys is the keys. */
function appendToNothing(graph: Graph, empty: Set<string>): void {
  for (const node of graph.nodes) {
    const places = CACHE_PLACES[operatorOf(node)]
    if (places) node.input = node.input.map((input, at) => (places.includes(at) && empty.has(input) ? '' : input))
    if (operatorOf(node) === 'Concat') node.input = node.input.filter((input) => !empty.has(input))
    if (node.input.length === 0) throw new EngineError('unsupported_graph', `${labelOf(node)} joins nothing`)
  }
  const isAlone = (node: NodeProto): boolean => operatorOf(node) === 'Concat' && node.input.length === 1
  dropNodes(graph, isAlone)
}

/** Takes the cache out of a decoder. `use_cache_branch` and its two branches are refused where subgraphs are. */
export function withoutCache(graph: Graph): void {
  const past = graph.inputs.filter(isPast)
  if (past.length === 0) return
  const names = past.map(({ name }) => name)
  appendToNothing(graph, emptyTensors(graph, names))
  const isRead = new Set(graph.nodes.flatMap(({ input }) => input))
  for (const info of past) {
    if (!isRead.has(info.name)) continue
    const dims = emptyDims(info)
    graph.constants.set(info.name, floatTensor(info.name, dims, new Float32Array()))
  }
  graph.inputs = graph.inputs.filter((info) => !isPast(info))
}
