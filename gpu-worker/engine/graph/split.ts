import { create } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import {
  TensorProto_DataType as DataType,
  type NodeProto,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from '../onnx/onnx_pb.ts'
import { type Graph, intAttribute, intsAttribute } from './graph.ts'
import { POSITIONS, SELECTION, TARGETS, WEIGHTS } from './loss.ts'
import { axesOf, ELEMENTWISE } from './prune.ts'
import { isAcrossGroups } from './side.ts'
import { elementCount, intsOf } from './tensor.ts'

/**
 * The cut. What nothing trained touches is the PREFIX, run once for a record; the rest is the TAIL, run for every
 * perturbation. Exports treat the leading axis as a batch. In the tail it holds N members, which are
 *
 *   groups    perturbations of ONE record; what the prefix made (leading 1) broadcasts over them;
 *   records   several records under ONE perturbation; what the prefix made is put together by the caller;
 *   single    one record, one perturbation: N = 1, for graphs in which the leading axis is no batch.
 */
export type Lead = 'groups' | 'records' | 'single'

/** An input of the tail that holds trained values. */
export interface TrainedInput {
  readonly name: string
  /** Dimensions; a string is a size that differs from call to call. */
  readonly dims: readonly (number | string)[]
}

export interface Halves {
  readonly prefix: Graph
  /** Its inputs are not declared yet: see `declareInputs`. */
  readonly tail: Graph
  /** Tensors that the tail takes from the prefix, or from the record itself. */
  readonly boundary: readonly string[]
  /** What the tail makes for each member of its leading axis: positions it computes at, elements of its largest tensor. */
  readonly member: { readonly tokens: number; readonly elements: number }
}

/** Tensors that depend on the given ones. */
export function dependentTensors(graph: Graph, sources: Iterable<string>): Set<string> {
  const dependent = new Set(sources)
  for (const node of graph.nodes)
    if (node.input.some((input) => dependent.has(input)))
      for (const output of node.output) if (output !== '') dependent.add(output)
  return dependent
}

/** Whether constant axes are given and leave out the leading one. */
function axesSpareLeading(axes: readonly number[] | undefined, rank: number): boolean {
  return axes?.every((axis) => axis !== 0 && axis !== -rank) ?? false
}

const NORMALISING = new Set(['LayerNormalization', 'RMSNormalization', 'SimplifiedLayerNormalization'])

/** Whether a node treats the leading axis of what it makes as a mere batch. */
function keepsMembersApart(graph: Graph, node: NodeProto, carrying: ReadonlySet<string>): boolean {
  const rank = graph.dimsOf(node.output[0]!).length
  const inputRank = graph.dimsOf(node.input[0]!).length
  const axis = (intAttribute(node, 'axis', 0) + rank) % rank
  const alike = node.input.every((input) => carrying.has(input))
  if (ELEMENTWISE.has(node.opType)) return true
  if (NORMALISING.has(node.opType)) return rank > 1 && (intAttribute(node, 'axis', -1) + rank) % rank !== 0
  switch (node.opType) {
    case 'Softmax':
    case 'LogSoftmax':
      return (intAttribute(node, 'axis', -1) + rank) % rank !== 0
    case 'MatMul':
      return rank >= 3
    case 'MatMulNBits':
      return rank >= 2
    case 'QuantizeLinear':
    case 'DequantizeLinear':
      // One scale, or one for each place on another axis than the members'.
      return graph.dimsOf(node.input[1]!).length === 0 || (intAttribute(node, 'axis', 1) + rank) % rank !== 0
    case 'Concat':
      return axis !== 0 && alike
    case 'Split':
      return axis !== 0
    case 'Gather':
      // Rows of a table by tokens keep the leading axis of the tokens; anything else must leave that of the data alone.
      return carrying.has(node.input[0]!) ? (intAttribute(node, 'axis', 0) + inputRank) % inputRank !== 0 : axis === 0
    case 'GatherElements':
      return axis !== 0
    case 'Transpose':
      return intsAttribute(node, 'perm')?.[0] === 0
    case 'ReduceMean':
    case 'ReduceSum':
    case 'ReduceMax':
      return axesSpareLeading(axesOf(graph, node, node.input[1]), inputRank)
    case 'Reshape':
      return graph.dimsOf(node.input[0]!)[0] === 1 && graph.constants.has(node.input[1]!)
    case 'Squeeze':
      return axesSpareLeading(axesOf(graph, node, node.input[1]), inputRank)
    case 'Unsqueeze':
      return axesSpareLeading(axesOf(graph, node, node.input[1]), rank)
    case 'Slice':
      return axesSpareLeading(axesOf(graph, node, node.input[3]), rank)
    case 'Expand':
      return graph.constants.has(node.input[1]!) && inputRank === rank
    case 'Trilu':
      return rank >= 3
    default:
      return false
  }
}

/** Lets the leading dimension of a Reshape follow its input: 1 for a record becomes N in the tail. */
function freeLeadingSize(graph: Graph, node: NodeProto): void {
  const sizes = intsOf(graph.constants.get(node.input[1]!)!)
  if (sizes[0] !== 1) return
  sizes[0] = 0
  node.input[1] = graph.addInts(`${node.output[0]}.members_shape`, sizes)
}

/** Makes nodes ready for N members; those that were written for groups are left alone. */
function spreadMembers(graph: Graph, nodes: readonly NodeProto[], carrying: ReadonlySet<string>): void {
  for (const node of nodes) {
    if (isAcrossGroups(node.name) || !carrying.has(node.output[0]!)) continue
    if (graph.dimsOf(node.output[0]!)[0] !== 1 || !keepsMembersApart(graph, node, carrying))
      throw new EngineError(
        'unsupported_graph',
        `node ${node.name} (${node.opType}) cannot run for several members of a batch at once`,
      )
    if (node.opType === 'Reshape') freeLeadingSize(graph, node)
  }
}

export function valueInfo(name: string, elemType: number, dims: readonly (number | string)[]): ValueInfoProto {
  const dim = dims.map((size) =>
    create(TensorShapeProto_DimensionSchema, {
      value: typeof size === 'number' ? { case: 'dimValue', value: BigInt(size) } : { case: 'dimParam', value: size },
    }),
  )
  const tensorType = create(TypeProto_TensorSchema, { elemType, shape: create(TensorShapeProtoSchema, { dim }) })
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value: tensorType } }),
  })
}

/** What steers a call, in a graph whose leading axis holds `members`. */
export function steeringInfo(members: number | string): ValueInfoProto[] {
  return [
    valueInfo(POSITIONS, DataType.INT64, ['positions']),
    valueInfo(SELECTION, DataType.FLOAT, [members, 'positions', 'tokens']),
    valueInfo(TARGETS, DataType.INT64, [members, 'positions', 1]),
    valueInfo(WEIGHTS, DataType.FLOAT, [members, 1, 'positions']),
  ]
}

/**
 * Cuts a graph with side branches or trained inputs, loss and pruning done.
 * @throws EngineError `unsupported_graph` naming a node that no batch can be put through; never for `single`.
 */
export function split(graph: Graph, trained: readonly string[], lead: Lead): Halves {
  graph.tidy()
  const varying = dependentTensors(graph, trained)
  const inTail = (node: NodeProto): boolean => node.output.some((output) => varying.has(output))
  const tailNodes = graph.nodes.filter(inTail)
  const fed = new Set([...graph.inputs.map(({ name }) => name), SELECTION, TARGETS, WEIGHTS])
  for (const name of trained) fed.delete(name)
  const steering = new Set([POSITIONS, SELECTION, TARGETS, WEIGHTS])
  const fromRecord = dependentTensors(graph, [...fed, POSITIONS])
  if (lead === 'groups') spreadMembers(graph, tailNodes, varying)
  if (lead === 'records') spreadMembers(graph, tailNodes, dependentTensors(graph, fed))
  const crossing = tailNodes
    .flatMap((node) => node.input)
    .filter((name) => fromRecord.has(name) && !varying.has(name) && !steering.has(name))
  const boundary = [...new Set(crossing)]

  const prefix = graph.clone()
  prefix.nodes = prefix.nodes.filter((node) => !inTail(node))
  prefix.outputs = boundary.filter((name) => !fed.has(name)).map((name) => create(ValueInfoProtoSchema, { name }))
  prefix.inputs = [...graph.inputs.filter(({ name }) => !trained.includes(name)), ...steeringInfo(1)]
  prefix.tidy()
  keepUsedInputs(prefix)

  // What is made of frozen weights alone, such as a matrix turned or widened, belongs to whoever reads it.
  const isFrozen = (node: NodeProto): boolean => !node.output.some((output) => fromRecord.has(output))
  const tail = graph.clone()
  tail.nodes = tail.nodes.filter((node) => inTail(node) || isFrozen(node))
  tail.tidy()
  return { prefix, tail, boundary, member: memberOf(tail) }
}

function memberOf(tail: Graph): Halves['member'] {
  const made = tail.nodes.map((node) => tail.dimsOf(node.output[0]!))
  const largest = (sizes: readonly number[]): number => sizes.reduce((most, size) => Math.max(most, size), 1)
  const tokens = made.filter((dims) => dims.length === 3).map((dims) => dims[1]!)
  return { tokens: largest(tokens), elements: largest(made.map(elementCount)) }
}

/**
 * Declares what the tail takes.
 * @param types element type of each boundary tensor, as the prefix's session or the model says it.
 */
export function declareInputs(
  { tail, boundary }: Pick<Halves, 'tail' | 'boundary'>,
  trained: readonly TrainedInput[],
  lead: Lead,
  types: ReadonlyMap<string, number>,
): void {
  const members = { groups: 'groups', records: 'records', single: 1 }[lead]
  tail.inputs = [
    ...boundary.map((name) => {
      const [, ...rest] = tail.dimsOf(name)
      const leading = lead === 'records' ? 'records' : 1
      return valueInfo(
        name,
        types.get(name) ?? DataType.FLOAT,
        rest.length > 0 ? [leading, ...rest] : tail.dimsOf(name),
      )
    }),
    ...trained.map(({ name, dims }) => valueInfo(name, DataType.FLOAT, dims)),
    ...steeringInfo(members),
  ]
  keepUsedInputs(tail)
}

function keepUsedInputs(graph: Graph): void {
  const read = new Set(graph.nodes.flatMap((node) => node.input))
  graph.inputs = graph.inputs.filter(({ name }) => read.has(name))
}
