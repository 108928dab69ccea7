import { EngineError } from '../error.ts'
import type { NodeProto } from '../onnx/onnx_pb.ts'
import { type Graph, intAttribute, intsAttribute } from './graph.ts'
import { elementCount, intsOf } from './tensor.ts'

/**
 * Pruning to one position. Only the logits at the mask count, so every token-wise operation behind them (decoder, head,
 * feed-forward, attention output, and the query row of the last attention) runs for that position alone.
 *
 * One walk from the end says what each tensor is wanted for: all of it, or one position of one axis. A tensor wanted whole
 * by anyone is computed whole, and those who want a position gather it.
 */

/** What is wanted of a tensor: all of it, or one position on this axis. */
type Demand = 'all' | number

/** Operations that act on each element by itself; operands broadcast. */
export const ELEMENTWISE = new Set([
  'Abs',
  'Add',
  'And',
  'Cast',
  'Clip',
  'Div',
  'Equal',
  'Erf',
  'Exp',
  'Gelu',
  'Identity',
  'IsNaN',
  'Max',
  'Min',
  'Mul',
  'Neg',
  'Not',
  'Or',
  'Pow',
  'Reciprocal',
  'Relu',
  'Sigmoid',
  'Softplus',
  'Sqrt',
  'Sub',
  'Tanh',
  'Where',
])

const positive = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

/** Axis of `from` that becomes `axis` of `to` in a Reshape, if it goes through untouched. */
function sameAxis(from: readonly number[], to: readonly number[], axis: number): number | undefined {
  const before = elementCount(to.slice(0, axis))
  const found = from.findIndex((size, at) => size === to[axis] && elementCount(from.slice(0, at)) === before)
  return found < 0 ? undefined : found
}

/** Axis of a broadcast operand that meets `axis` of a result of this rank; all of it where it is broadcast there. */
function broadcastAxis(dims: readonly number[], rank: number, axis: number): Demand {
  const at = axis - (rank - dims.length)
  return at < 0 || dims[at] === 1 ? 'all' : at
}

function matMulDemands(graph: Graph, node: NodeProto, rank: number, axis: number): Demand[] | undefined {
  const [a, b] = node.input.map((input) => graph.dimsOf(input)) as [number[], number[]]
  if (axis === rank - 1 || a.length < 2 || b.length < 2) return undefined
  if (axis === rank - 2) return [a.length - 2, 'all']
  return [broadcastAxis(a, rank, axis), broadcastAxis(b, rank, axis)]
}

/** What a node must be given to make one position of `axis` of its output; undefined where it needs all to make one. */
function demands(graph: Graph, node: NodeProto, axis: number): Demand[] | undefined {
  const out = graph.dimsOf(node.output[0]!)
  const inputs = node.input.map((input) => (input === '' ? [] : graph.dimsOf(input)))
  const rest = inputs.slice(1).map((): Demand => 'all')
  if (ELEMENTWISE.has(node.opType)) return inputs.map((dims) => broadcastAxis(dims, out.length, axis))
  switch (node.opType) {
    case 'LayerNormalization':
      return axis < positive(intAttribute(node, 'axis', -1), out.length) ? [axis, ...rest] : undefined
    case 'Softmax':
    case 'LogSoftmax':
      return axis === positive(intAttribute(node, 'axis', -1), out.length) ? undefined : [axis]
    case 'ReduceMean': {
      const axes = intsAttribute(node, 'axes')?.map((reduced) => positive(reduced, out.length))
      return axes && !axes.includes(axis) && intAttribute(node, 'keepdims', 1) === 1 ? [axis, ...rest] : undefined
    }
    case 'MatMul':
      return matMulDemands(graph, node, out.length, axis)
    case 'Concat':
      return axis === positive(intAttribute(node, 'axis', 0), out.length) ? undefined : inputs.map(() => axis)
    case 'Transpose':
      return [intsAttribute(node, 'perm')?.[axis] ?? out.length - 1 - axis]
    case 'Reshape':
    case 'Squeeze':
    case 'Unsqueeze': {
      const from = sameAxis(inputs[0]!, out, axis)
      return from === undefined ? undefined : [from, ...rest]
    }
    default:
      return undefined
  }
}

/** The walk from the end: demand on each tensor, and for pruned nodes the demands on their inputs. */
function plan(graph: Graph, target: string, axis: number): Map<NodeProto, Demand[]> {
  const wanted = new Map<string, Demand>(graph.outputs.map((output) => [output.name, 'all']))
  wanted.set(target, axis)
  const pruned = new Map<NodeProto, Demand[]>()
  const want = (tensor: string, demand: Demand): void => {
    const before = wanted.get(tensor)
    wanted.set(tensor, before === undefined || before === demand ? demand : 'all')
  }
  for (const node of [...graph.nodes].reverse()) {
    const demand = node.output.length === 1 ? (wanted.get(node.output[0]!) ?? 'all') : 'all'
    const inputs = demand === 'all' ? undefined : demands(graph, node, demand)
    if (inputs) pruned.set(node, inputs)
    node.input.forEach((input, at) => {
      want(input, inputs?.[at] ?? 'all')
    })
  }
  return pruned
}

/** Sets the size of one axis to 1 in a Reshape's constant target. */
function shrinkTarget(graph: Graph, node: NodeProto, axis: number): void {
  const target = graph.constants.get(node.input[1]!)
  if (!target) throw new EngineError('unsupported_graph', `node ${node.name} has no constant target`)
  const sizes = intsOf(target)
  sizes[axis] = 1
  node.input[1] = graph.addInts(`${node.output[0]}.pruned_shape`, sizes)
}

/**
 * Prunes the graph to one position on `axis` of `target`, its only output.
 * @param position name of the int64 input [1] that holds the position.
 * @returns name of the tensor [.., 1, ..] that takes the place of `target`.
 */
export function pruneToPosition(
  graph: Graph,
  target: string,
  { axis, position }: { axis: number; position: string },
): string {
  graph.tidy()
  const pruned = plan(graph, target, axis)
  const original = new Map(graph.dims)
  const prunedOutputs = new Map([...pruned.keys()].map((node) => [node.output[0]!, node]))
  const gathered = new Map<string, string>()

  const one = (dims: readonly number[], at: number): number[] => dims.map((size, i) => (i === at ? 1 : size))
  const gather = (tensor: string, at: number): string => {
    if (prunedOutputs.has(tensor)) return tensor
    const key = `${tensor}@${at}`
    const made =
      gathered.get(key) ??
      graph.add('Gather', [tensor, position], {
        name: `sotto.at_mask.${gathered.size}`,
        dims: one(original.get(tensor) ?? graph.dimsOf(tensor), at),
        attributes: { axis: at },
      })
    gathered.set(key, made)
    return made
  }

  const axes = outputAxes(graph, pruned, target, axis)
  for (const [node, inputs] of pruned) {
    const at = axes.get(node.output[0]!)!
    if (node.opType === 'Reshape') shrinkTarget(graph, node, at)
    node.input = node.input.map((input, i) => (typeof inputs[i] === 'number' ? gather(input, inputs[i]) : input))
    graph.dims.set(node.output[0]!, one(original.get(node.output[0]!)!, at))
  }
  return gather(target, axis)
}

/** The pruned axis of each pruned node's output, as its readers asked for it. */
function outputAxes(graph: Graph, pruned: Map<NodeProto, Demand[]>, target: string, axis: number): Map<string, number> {
  const axes = new Map([[target, axis]])
  for (const node of [...graph.nodes].reverse())
    pruned.get(node)?.forEach((demand, at) => {
      if (typeof demand === 'number') axes.set(node.input[at]!, demand)
    })
  return axes
}
