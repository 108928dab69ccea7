import { EngineError } from '../error.ts'
import type { NodeProto } from '../onnx/onnx_pb.ts'
import { type Graph, intAttribute, intsAttribute } from './graph.ts'
import { elementCount, intsOf } from './tensor.ts'

/**
 * Pruning to the positions that count: the mask, the first token, or those before a completion's tokens. Every token-wise
 * operation behind them (head, feed-forward, attention output, and the query rows of the last attention) runs for these alone.
 *
 * One walk from the end says what each tensor is wanted for: all of it, or the positions of one axis. A tensor wanted whole
 * by anyone is computed whole, and those who want positions select them.
 */

/** What is wanted of a tensor: all of it, or the positions on this axis. */
type Demand = 'all' | number

/** Operations that act on each element by itself; operands broadcast. */
export const ELEMENTWISE = new Set([
  'Abs',
  'Add',
  'And',
  'Cast',
  'Cos',
  'Clip',
  'Div',
  'Equal',
  'Erf',
  'Exp',
  'Gelu',
  'Greater',
  'GreaterOrEqual',
  'Identity',
  'IsNaN',
  'Less',
  'LessOrEqual',
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
  'Sign',
  'Sin',
  'Softplus',
  'Sqrt',
  'Sub',
  'Swish',
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

/** Constant axes of a node: an attribute in older opsets, an input in newer ones. */
export function axesOf(graph: Graph, node: NodeProto, input: string | undefined): number[] | undefined {
  const constant = input === undefined ? undefined : graph.constants.get(input)
  return constant ? intsOf(constant) : intsAttribute(node, 'axes')
}

/** What a node must be given to make some positions of `axis` of its output; undefined where it needs all to make one. */
function demands(graph: Graph, node: NodeProto, axis: number): Demand[] | undefined {
  const out = graph.dimsOf(node.output[0]!)
  const inputs = node.input.map((input) => (input === '' ? [] : graph.dimsOf(input)))
  const rest = inputs.slice(1).map((): Demand => 'all')
  if (ELEMENTWISE.has(node.opType)) return inputs.map((dims) => broadcastAxis(dims, out.length, axis))
  switch (node.opType) {
    case 'LayerNormalization':
    case 'RMSNormalization':
    case 'SimplifiedLayerNormalization':
      return axis < positive(intAttribute(node, 'axis', -1), out.length) ? [axis, ...rest] : undefined
    case 'Softmax':
    case 'LogSoftmax':
      return axis === positive(intAttribute(node, 'axis', -1), out.length) ? undefined : [axis]
    case 'ReduceMean': {
      const axes = axesOf(graph, node, node.input[1])?.map((reduced) => positive(reduced, out.length))
      return axes && !axes.includes(axis) && intAttribute(node, 'keepdims', 1) === 1 ? [axis, ...rest] : undefined
    }
    case 'Slice': {
      const axes = axesOf(graph, node, node.input[3])?.map((sliced) => positive(sliced, out.length))
      return axes && !axes.includes(axis) ? [axis, ...rest] : undefined
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

/** How positions are taken out of a tensor. */
export interface Selector {
  /** Number of positions P. */
  readonly count: number
  /** Whether `take` can serve this axis of a tensor of these dimensions. */
  canTake(tensor: string, dims: readonly number[], axis: number): boolean
  /** Adds what selects the positions on `axis` of a tensor. @returns name of the selected tensor, of dimensions `dims`. */
  take(graph: Graph, tensor: string, made: { axis: number; name: string; dims: readonly number[] }): string
}

/** The tensor of which positions are wanted. */
export interface Target {
  readonly tensor: string
  readonly axis: number
  /** The node that wants them; it reads nothing else that a record changes. Left out where the tensor is the last. */
  readonly reader?: NodeProto
}

/** The walk from the end: demand on each tensor, and for pruned nodes the demands on their inputs. */
function plan(graph: Graph, target: Target, selector: Selector): Map<NodeProto, Demand[]> {
  const wanted = new Map<string, Demand>(graph.outputs.map((output) => [output.name, 'all']))
  wanted.set(target.tensor, target.axis)
  const pruned = new Map<NodeProto, Demand[]>()
  const want = (tensor: string, demand: Demand): void => {
    const before = wanted.get(tensor)
    wanted.set(tensor, before === undefined || before === demand ? demand : 'all')
  }
  const takable = (node: NodeProto, inputs: Demand[] | undefined): boolean =>
    inputs?.every(
      (demand, at) =>
        typeof demand !== 'number' || selector.canTake(node.input[at]!, graph.dimsOf(node.input[at]!), demand),
    ) ?? false
  for (const node of [...graph.nodes].reverse()) {
    if (node === target.reader) continue
    const demand = node.output.length === 1 ? (wanted.get(node.output[0]!) ?? 'all') : 'all'
    const needs = demand === 'all' ? undefined : demands(graph, node, demand)
    const inputs = takable(node, needs) ? needs : undefined
    if (inputs) pruned.set(node, inputs)
    node.input.forEach((input, at) => {
      if (input !== '') want(input, inputs?.[at] ?? 'all')
    })
  }
  return pruned
}

/** Sets the size of one axis in a Reshape's constant target. */
function shrinkTarget(graph: Graph, node: NodeProto, axis: number, size: number): void {
  const target = graph.constants.get(node.input[1]!)
  if (!target) throw new EngineError('unsupported_graph', `node ${node.name} has no constant target`)
  const sizes = intsOf(target)
  sizes[axis] = size
  node.input[1] = graph.addInts(`${node.output[0]}.pruned_shape`, sizes)
}

/**
 * Prunes the graph to some positions on one axis of `target`.
 * @returns name of the tensor [.., P, ..] that takes the place of `target`.
 */
export function pruneToPositions(graph: Graph, target: Target, selector: Selector): string {
  const pruned = plan(graph, target, selector)
  const original = new Map(graph.dims)
  const prunedOutputs = new Set([...pruned.keys()].map((node) => node.output[0]!))
  const taken = new Map<string, string>()
  const withCount = (dims: readonly number[], at: number): number[] =>
    dims.map((size, i) => (i === at ? selector.count : size))
  const take = (tensor: string, axis: number): string => {
    if (prunedOutputs.has(tensor)) return tensor
    const key = `${tensor}@${axis}`
    const dims = withCount(original.get(tensor) ?? graph.dimsOf(tensor), axis)
    const made =
      taken.get(key) ?? selector.take(graph, tensor, { axis, name: `sotto.at_positions.${taken.size}`, dims })
    taken.set(key, made)
    return made
  }
  const axes = outputAxes(graph, pruned, target)
  for (const [node, inputs] of pruned) {
    const at = axes.get(node.output[0]!)!
    if (node.opType === 'Reshape') shrinkTarget(graph, node, at, selector.count)
    node.input = node.input.map((input, i) => (typeof inputs[i] === 'number' ? take(input, inputs[i]) : input))
    graph.dims.set(node.output[0]!, withCount(original.get(node.output[0]!)!, at))
  }
  return take(target.tensor, target.axis)
}

/** The pruned axis of each pruned node's output, as its readers asked for it. */
function outputAxes(graph: Graph, pruned: Map<NodeProto, Demand[]>, target: Target): Map<string, number> {
  const axes = new Map([[target.tensor, target.axis]])
  for (const node of [...graph.nodes].reverse())
    pruned.get(node)?.forEach((demand, at) => {
      if (typeof demand === 'number') axes.set(node.input[at]!, demand)
    })
  return axes
}
