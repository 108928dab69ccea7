import { EngineError } from '../error.ts'
import { type Graph, intAttribute, intsAttribute } from '../graph/graph.ts'
import { ELEMENTWISE } from '../graph/prune.ts'
import { elementCount, intsOf } from '../graph/tensor.ts'
import type { NodeProto } from '../onnx/onnx_pb.ts'
import { inputAt, labelOf, operatorOf } from './node.ts'

/**
 * Where the records of a call lie in every tensor, followed from the inputs through the graph. It shows two things
 * without running anything: a node that works ALONG the axis of the records, through which one would change another's
 * losses, and whether a graph may be given several records at all.
 */

export interface RecordAxes {
  /**
   * Axis of the records by tensor; tensors that are the same for all records are left out, and those behind `unknown`.
   */
  readonly axes: ReadonlyMap<string, number>
  /** First node whose effect on the axis cannot be told: such a graph must be given one record at a time. */
  readonly unknown: NodeProto | undefined
}

/** Axis in the output; `couples` where the node works along it, undefined where it cannot be told. */
type Place = number | 'couples' | undefined

interface Operands {
  readonly graph: Graph
  readonly node: NodeProto
  /** Axis of the records in each operand; undefined where it has none. */
  readonly at: readonly (number | undefined)[]
  readonly inputs: readonly (readonly number[])[]
  readonly output: readonly number[]
}

const positive = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

const agreed = (places: readonly (number | undefined)[]): Place => {
  const [first, ...others] = places.filter((place) => place !== undefined)
  return others.every((other) => other === first) ? first : undefined
}

/** Operands aligned at their last axes. */
const broadcast = ({ at, inputs, output }: Operands): Place =>
  agreed(at.map((place, i) => (place === undefined ? undefined : place + output.length - inputs[i]!.length)))

/** Only the first operand holds records, and its axes stay. */
const stays = ({ at }: Operands): Place => (at.slice(1).every((place) => place === undefined) ? at[0] : undefined)

/** As `stays`, and no record reaches another unless the node works along this axis. */
const along =
  (otherwise: number): Follow =>
  (operands) => {
    const axis = positive(intAttribute(operands.node, 'axis', otherwise), operands.inputs[0]!.length)
    return operands.at[0] === axis ? 'couples' : stays(operands)
  }

const fromAxis: Follow = (operands) => {
  const axis = positive(intAttribute(operands.node, 'axis', -1), operands.inputs[0]!.length)
  return (operands.at[0] ?? -1) >= axis ? 'couples' : stays(operands)
}

const matMul: Follow = ({ at, inputs, output }) => {
  const rank = output.length
  const place = (operand: 0 | 1): Place => {
    const here = at[operand]
    const width = inputs[operand]!.length
    if (here === undefined) return undefined
    if (here === width - 1 - operand) return 'couples'
    if (width < 2) return undefined
    return here + rank - width
  }
  const places = [place(0), place(1)]
  return places.includes('couples') ? 'couples' : agreed(places as (number | undefined)[])
}

/** Constant axes at this place among the inputs; undefined where they are none. */
function axesAt({ graph, node }: Operands, at: number, rank: number): number[] | undefined {
  const constant = graph.constants.get(inputAt(node, at) ?? '')
  return constant && intsOf(constant).map((axis) => positive(axis, rank))
}

const reduce: Follow = (operands) => {
  const { node, at, inputs } = operands
  const [place] = at
  const rank = inputs[0]!.length
  const axes = axesAt(operands, 1, rank)
  if (place === undefined || (inputAt(node, 1) && !axes)) return undefined
  // No axes stand for all of them, unless the node says that they stand for none.
  if (axes?.length === 0 && intAttribute(node, 'noop_with_empty_axes', 0) === 1) return place
  if (!axes?.length || axes.includes(place)) return 'couples'
  return intAttribute(node, 'keepdims', 1) === 1 ? place : place - axes.filter((axis) => axis < place).length
}

const argument: Follow = (operands) => {
  const { node, inputs, at } = operands
  const axis = positive(intAttribute(node, 'axis', 0), inputs[0]!.length)
  if (at[0] === axis) return 'couples'
  const place = stays(operands)
  return typeof place === 'number' && intAttribute(node, 'keepdims', 1) === 0 && axis < place ? place - 1 : place
}

const cumulate: Follow = (operands) => {
  const axes = axesAt(operands, 1, operands.inputs[0]!.length)
  if (!axes) return undefined
  return axes[0] === operands.at[0] ? 'couples' : stays(operands)
}

/**
 * An axis of size one stays where as many elements stand before it; the first axis holds the records whatever joins it.
 */
const reshape: Follow = ({ at, inputs, output }) => {
  const [place] = at
  if (place === undefined || place === 0) return place
  const before = elementCount(inputs[0]!.slice(0, place))
  const found = output.findIndex((size, axis) => size === 1 && elementCount(output.slice(0, axis)) === before)
  return found < 0 ? undefined : found
}

const squeeze: Follow = (operands) => {
  const [place] = operands.at
  const axes = axesAt(operands, 1, operands.inputs[0]!.length)
  if (place === undefined || !axes || axes.includes(place)) return undefined
  return place - axes.filter((axis) => axis < place).length
}

const unsqueeze: Follow = (operands) => {
  const axes = axesAt(operands, 1, operands.output.length)
  const kept = axes && operands.output.map((_, axis) => axis).filter((axis) => !axes.includes(axis))
  return operands.at[0] === undefined ? undefined : kept?.[operands.at[0]]
}

const transpose: Follow = ({ node, at, output }) => {
  const perm = intsAttribute(node, 'perm') ?? output.map((_, axis) => output.length - 1 - axis)
  return at[0] === undefined ? undefined : perm.indexOf(at[0])
}

const joined: Follow = (operands) => {
  const { node, at, output } = operands
  const place = agreed(at)
  return place === positive(intAttribute(node, 'axis', 0), output.length) ? undefined : place
}

const apart: Follow = (operands) => {
  const axis = positive(intAttribute(operands.node, 'axis', 0), operands.inputs[0]!.length)
  return operands.at[0] === axis ? undefined : stays(operands)
}

const slice: Follow = (operands) => {
  const rank = operands.inputs[0]!.length
  const axes = axesAt(operands, 3, rank)
  const place = stays(operands)
  return axes && typeof place === 'number' && !axes.includes(place) ? place : undefined
}

const gather: Follow = ({ node, at, inputs }) => {
  const axis = positive(intAttribute(node, 'axis', 0), inputs[0]!.length)
  const [data, indices] = at
  if (data === undefined) return indices === undefined ? undefined : axis + indices
  if (indices !== undefined || data === axis) return undefined
  return data < axis ? data : data + inputs[1]!.length - 1
}

const gatherElements: Follow = ({ node, at, inputs }) => {
  const axis = positive(intAttribute(node, 'axis', 0), inputs[0]!.length)
  return at[0] === at[1] && at[0] !== axis ? at[0] : undefined
}

const triangle: Follow = (operands) =>
  (operands.at[0] ?? -1) < operands.output.length - 2 ? stays(operands) : undefined

type Follow = (operands: Operands) => Place

const entries = (names: readonly string[], follow: Follow): Record<string, Follow> =>
  Object.fromEntries(names.map((name) => [name, follow]))

const REDUCTIONS = ['L1', 'L2', 'LogSum', 'LogSumExp', 'Max', 'Mean', 'Min', 'Prod', 'Sum', 'SumSquare']
const BY_ELEMENT = [
  ...ELEMENTWISE,
  'Ceil',
  'Cos',
  'Floor',
  'HardSwish',
  'IsInf',
  'LeakyRelu',
  'Mod',
  'Round',
  'Sign',
  'Sin',
]
const COMPARING = ['Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual', 'Xor']

const FOLLOW: Readonly<Record<string, Follow>> = {
  ...entries([...BY_ELEMENT, ...COMPARING, 'Expand'], broadcast),
  ...entries(['LogSoftmax', 'Softmax', 'Hardmax', 'TopK'], along(-1)),
  ...entries(
    REDUCTIONS.map((name) => `Reduce${name}`),
    reduce,
  ),
  ...entries(['ArgMax', 'ArgMin'], argument),
  ...entries(['DequantizeLinear', 'QuantizeLinear'], stays),
  ...entries(['MatMul', 'MatMulInteger'], matMul),
  Concat: joined,
  CumSum: cumulate,
  Gather: gather,
  GatherElements: gatherElements,
  LayerNormalization: fromAxis,
  Reshape: reshape,
  Slice: slice,
  Split: apart,
  Squeeze: squeeze,
  Transpose: transpose,
  Trilu: triangle,
  Unsqueeze: unsqueeze,
  'com.microsoft:GatherBlockQuantized': gather,
  'com.microsoft:MatMulNBits': along(-1),
}

const dimsOr = (graph: Graph, tensor: string): readonly number[] =>
  graph.constants.has(tensor) || graph.dims.has(tensor) ? graph.dimsOf(tensor) : []

/**
 * @param graph with dimensions known for one record.
 * @throws EngineError `coupled_batch`, naming a node that works along the axis of the records.
 */
export function recordAxes(graph: Graph): RecordAxes {
  const axes = new Map(graph.inputs.map(({ name }) => [name, 0]))
  const lost = new Set<string>()
  let unknown: NodeProto | undefined
  for (const node of graph.nodes) {
    const at = node.input.map((input) => axes.get(input))
    const isLost = node.input.some((input) => lost.has(input))
    if (!isLost && at.every((place) => place === undefined)) continue
    const inputs = node.input.map((input) => (input === '' ? [] : dimsOr(graph, input)))
    const output = dimsOr(graph, node.output[0]!)
    const place = isLost ? undefined : FOLLOW[operatorOf(node)]?.({ graph, node, at, inputs, output })
    if (place === 'couples')
      throw new EngineError(
        'coupled_batch',
        `${labelOf(node)} works along the axis of the records, so one would change another: export a model without it`,
      )
    if (place === undefined) unknown ??= node
    for (const name of node.output) {
      if (place === undefined) lost.add(name)
      else axes.set(name, place)
    }
  }
  return { axes, unknown }
}
