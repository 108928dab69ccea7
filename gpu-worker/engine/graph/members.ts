import { EngineError } from '../error.ts'
import type { NodeProto } from '../onnx/onnx_pb.ts'
import { type Graph, intAttribute, intsAttribute } from './graph.ts'
import { axesOf, ELEMENTWISE } from './prune.ts'
import { elementCount, intsOf } from './tensor.ts'

/**
 * Members: what lies along the leading axis of a tail. One must never reach another, or the bound on what a unit adds to a
 * report is void. So this is a list of what may be done, not of what may not: of each tensor that CARRIES members, block n
 * of its leading axis is made of blocks n of the carrying tensors before it, and of tensors that no member has a part in.
 */

const NORMALISING = new Set(['LayerNormalization', 'RMSNormalization', 'SimplifiedLayerNormalization'])
/** Operands are aligned at their last axes. */
const BROADCASTING = new Set([...ELEMENTWISE, ...NORMALISING, 'MatMul'])
/** Several operands may carry. */
const JOINING = new Set([...BROADCASTING, 'Concat', 'Gather', 'GatherElements'])

/**
 * Functions that the runtime's CPU kernels compute in packets, and otherwise where a tensor ends within one: the last bits
 * of a result depend on its place. A member must fill whole packets.
 */
const IN_PACKETS = new Set(['Cos', 'Sin', 'Softplus'])
const PACKET = 16

interface Place {
  readonly graph: Graph
  readonly node: NodeProto
  readonly carrying: ReadonlySet<string>
  /** Axes of the first output, and of the first input. */
  readonly rank: number
  readonly inputRank: number
}

const leadingIs = (axis: number, rank: number): boolean => (axis + rank) % rank === 0

/** Whether constant axes are given, and leave out the leading one; an empty list stands for all axes, or for none. */
function sparesLeading(axes: readonly number[] | undefined, rank: number): boolean {
  return axes !== undefined && axes.length > 0 && axes.every((axis) => !leadingIs(axis, rank))
}

/** An operand of fewer axes would have its members on another axis than the rest. */
const isAligned = ({ graph, node, carrying, rank }: Place): boolean =>
  node.input.every((input) => !carrying.has(input) || graph.dimsOf(input).length === rank)

const carries = ({ node, carrying }: Place, at: number): boolean => carrying.has(node.input[at] ?? '')

type Rule = (place: Place) => boolean

const offLeading =
  (otherwise: number): Rule =>
  ({ node, rank }) =>
    !leadingIs(intAttribute(node, 'axis', otherwise), rank)

const axesOffLeading =
  (input: number, of: 'input' | 'output'): Rule =>
  ({ graph, node, rank, inputRank }) =>
    sparesLeading(axesOf(graph, node, node.input[input]), of === 'input' ? inputRank : rank)

/** One scale, or one for each place on another axis than the members'. */
const scaled: Rule = (place) => place.graph.dimsOf(place.node.input[1]!).length === 0 || offLeading(1)(place)

/** Rows of a table by indices that carry, or other axes of data that carries; not both. */
const gather: Rule = (place) => {
  const axis = intAttribute(place.node, 'axis', 0)
  if (carries(place, 0)) return !carries(place, 1) && !leadingIs(axis, place.inputRank)
  return axis === 0
}

const RULES: Readonly<Record<string, Rule>> = {
  Concat: (place) => offLeading(0)(place) && place.node.input.every((_, at) => carries(place, at)),
  DequantizeLinear: scaled,
  Expand: ({ graph, node, rank, inputRank }) => graph.constants.has(node.input[1]!) && inputRank === rank,
  Gather: gather,
  GatherElements: (place) => offLeading(0)(place) && carries(place, 0) && carries(place, 1),
  LogSoftmax: offLeading(-1),
  // Of two axes, a product sums over the leading one of its right operand.
  MatMul: (place) => place.rank >= 3 || !carries(place, 1),
  MatMulNBits: ({ rank }) => rank >= 2,
  QuantizeLinear: scaled,
  ReduceMax: axesOffLeading(1, 'input'),
  ReduceMean: axesOffLeading(1, 'input'),
  ReduceSum: axesOffLeading(1, 'input'),
  Reshape: ({ graph, node }) => graph.dimsOf(node.input[0]!)[0] === 1 && graph.constants.has(node.input[1]!),
  Slice: axesOffLeading(3, 'output'),
  Softmax: offLeading(-1),
  Split: offLeading(0),
  Squeeze: axesOffLeading(1, 'input'),
  Transpose: ({ node }) => intsAttribute(node, 'perm')?.[0] === 0,
  Trilu: ({ rank }) => rank >= 3,
  Unsqueeze: axesOffLeading(1, 'output'),
}

/** Whether a node treats the leading axis as a mere batch. */
function keepsApart(place: Place): boolean {
  const { node, graph, rank } = place
  const { opType } = node
  if (!JOINING.has(opType) && node.input.some((_, at) => at > 0 && carries(place, at))) return false
  if (BROADCASTING.has(opType) && !isAligned(place)) return false
  if (IN_PACKETS.has(opType)) return elementCount(graph.dimsOf(node.output[0]!)) % PACKET === 0
  if (ELEMENTWISE.has(opType)) return true
  if (NORMALISING.has(opType)) return rank > 1 && offLeading(-1)(place)
  return Object.hasOwn(RULES, opType) && RULES[opType]!(place)
}

/** Lets the leading dimension of a Reshape follow its input: 1 for a record becomes N in the tail. */
function freeLeadingSize(graph: Graph, node: NodeProto): void {
  const sizes = intsOf(graph.constants.get(node.input[1]!)!)
  if (sizes[0] !== 1) return
  sizes[0] = 0
  node.input[1] = graph.addInts(`${node.output[0]}.members_shape`, sizes)
}

/**
 * Makes nodes ready for N members.
 * @param carrying tensors that carry members.
 * @throws EngineError `unsupported_graph`, naming the first node that is not known to keep members apart.
 */
export function spreadMembers(graph: Graph, nodes: readonly NodeProto[], carrying: ReadonlySet<string>): void {
  for (const node of nodes) {
    const made = node.output.filter((output) => carrying.has(output))
    if (made.length === 0) continue
    const [first] = made as [string]
    const place = {
      ...{ graph, node, carrying },
      rank: graph.dimsOf(first).length,
      inputRank: node.input[0] ? graph.dimsOf(node.input[0]).length : 0,
    }
    const isSpread = made.every((output) => graph.dimsOf(output)[0] === 1) && node.output[0] === first
    if (!isSpread || !keepsApart(place))
      throw new EngineError(
        'unsupported_graph',
        `node ${node.name} (${node.opType}) cannot run for several members of a batch at once`,
      )
    if (node.opType === 'Reshape') freeLeadingSize(graph, node)
  }
}
