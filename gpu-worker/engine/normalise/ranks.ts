import { type Graph, intAttribute, intsAttribute } from '../graph/graph.ts'
import { dimsOf, elementCount } from '../graph/tensor.ts'
import type { NodeProto } from '../onnx/onnx_pb.ts'
import { fixedSizes } from './inputs.ts'
import { operatorOf } from './node.ts'

type Producers = ReadonlyMap<string, NodeProto>

/** How many values a list of axes or sizes has: a constant, or single sizes joined. */
function listLength(graph: Graph, producers: Producers, name: string | undefined): number | undefined {
  const constant = graph.constants.get(name ?? '')
  if (constant) return elementCount(dimsOf(constant))
  const node = producers.get(name ?? '')
  if (node?.opType === 'Unsqueeze') return 1
  if (node?.opType !== 'Concat') return undefined
  const lengths = node.input.map((input) => listLength(graph, producers, input))
  return lengths.reduce((sum, length) => (sum === undefined || length === undefined ? undefined : sum + length), 0)
}

/** Change of rank by an operator that takes axes; undefined where these are no constant. */
function axesChange(graph: Graph, producers: Producers, node: NodeProto): number | undefined {
  const count = listLength(graph, producers, node.input[1])
  if (operatorOf(node) === 'Unsqueeze') return count
  if (operatorOf(node) === 'Squeeze') return count && -count
  if (intAttribute(node, 'keepdims', 1) === 1) return 0
  return count && -count
}

const SAME = new Set(['Abs', 'Cast', 'Clip', 'CumSum', 'Identity', 'Neg', 'Not', 'Softmax', 'Trilu'])
const BROADCAST = new Set(['Add', 'And', 'Div', 'Equal', 'Greater', 'Less', 'Mul', 'Or', 'Sub', 'Where'])

/**
 * Number of axes of a tensor that comes from the graph's inputs by simple steps, as masks do; undefined where it cannot
 * be told before the graph has run.
 */
export function rankOf(graph: Graph, producers: Producers, tensor: string): number | undefined {
  const constant = graph.constants.get(tensor)
  if (constant) return constant.dims.length
  const input = graph.inputs.find(({ name }) => name === tensor)
  if (input) return fixedSizes(input)?.length
  const node = producers.get(tensor)
  if (!node) return undefined
  const operator = operatorOf(node)
  // Operands are asked for one by one and only where needed: through all of them there are more ways than one can walk.
  const rankAt = (at: number): number | undefined => rankOf(graph, producers, node.input[at] ?? '')
  if (operator === 'com.microsoft:EmbedLayerNormalization') return node.output[1] === tensor ? 1 : 3
  if (operator === 'Transpose') return intsAttribute(node, 'perm')?.length
  if (operator === 'Reshape') return listLength(graph, producers, node.input[1])
  if (SAME.has(operator)) return rankAt(0)
  if (BROADCAST.has(operator)) return widest(node.input.length, rankAt)
  if (operator === 'Expand') {
    const length = listLength(graph, producers, node.input[1])
    return length && widest(2, (at) => (at === 0 ? rankAt(0) : length))
  }
  if (operator !== 'Unsqueeze' && operator !== 'Squeeze' && !operator.startsWith('Reduce')) return undefined
  const change = axesChange(graph, producers, node)
  const rank = change === undefined ? undefined : rankAt(0)
  return rank === undefined ? undefined : rank + change!
}

/** The largest of some ranks; undefined as soon as one is not known. */
function widest(count: number, rankAt: (at: number) => number | undefined): number | undefined {
  let most = 0
  for (let at = 0; at < count; at++) {
    const rank = rankAt(at)
    if (rank === undefined) return undefined
    most = Math.max(most, rank)
  }
  return most
}
