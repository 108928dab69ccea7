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
import { LABEL, POSITION } from './loss.ts'
import { ELEMENTWISE } from './prune.ts'
import { type FactorInput, isAcrossGroups } from './side.ts'
import { elementCount, intsOf } from './tensor.ts'

/**
 * The cut. What no group changes is the PREFIX, run once for a record; the rest is the TAIL, run for G groups at once.
 * The tensors that cross belong to one record (leading dimension 1) and broadcast over the groups.
 */
export interface Halves {
  readonly prefix: Graph
  readonly tail: Graph
  /** Tensors that the prefix makes and the tail takes. */
  readonly boundary: readonly string[]
  /** Elements of the largest tensor that the tail makes for each group. */
  readonly groupElements: number
}

/** Tensors that depend on the factors. */
export function dependentTensors(graph: Graph, sources: Iterable<string>): Set<string> {
  const dependent = new Set(sources)
  for (const node of graph.nodes)
    if (node.input.some((input) => dependent.has(input))) for (const output of node.output) dependent.add(output)
  return dependent
}

/** Whether constant axes are given and leave out the leading one. */
function axesSpareLeading(graph: Graph, axes: string | undefined, rank: number): boolean {
  const constant = graph.constants.get(axes ?? '')
  return constant !== undefined && intsOf(constant).every((axis) => axis !== 0 && axis !== -rank)
}

/** Whether a node of the tail treats its leading dimension as a mere batch, so that it can hold the groups. */
function keepsGroupsApart(graph: Graph, node: NodeProto): boolean {
  const rank = graph.dimsOf(node.output[0]!).length
  if (ELEMENTWISE.has(node.opType) || node.opType === 'LayerNormalization') return rank > 1
  switch (node.opType) {
    case 'Softmax':
    case 'LogSoftmax':
      return (intAttribute(node, 'axis', -1) + rank) % rank !== 0
    case 'MatMul':
      return rank >= 3
    case 'Concat':
    case 'Split':
    case 'Gather':
      return (intAttribute(node, 'axis', 0) + rank) % rank !== 0
    case 'Transpose':
      return intsAttribute(node, 'perm')?.[0] === 0
    case 'ReduceMean':
      return intsAttribute(node, 'axes')?.every((axis) => axis !== 0 && axis !== -rank) ?? false
    case 'Reshape':
      return graph.dimsOf(node.input[0]!)[0] === 1
    case 'Squeeze':
      return axesSpareLeading(graph, node.input[1], graph.dimsOf(node.input[0]!).length)
    case 'Unsqueeze':
      return axesSpareLeading(graph, node.input[1], rank)
    case 'Slice':
      return axesSpareLeading(graph, node.input[3], rank)
    default:
      return false
  }
}

/** Lets the leading dimension of a Reshape follow its input: 1 for a record becomes G in the tail. */
function freeLeadingSize(graph: Graph, node: NodeProto): void {
  const target = graph.constants.get(node.input[1]!)
  if (!target) throw new EngineError('unsupported_graph', `node ${node.name} has no constant target`)
  const sizes = intsOf(target)
  if (sizes[0] !== 1) return
  sizes[0] = 0
  node.input[1] = graph.addInts(`${node.output[0]}.grouped_shape`, sizes)
}

/** Makes the dependent nodes ready for G groups; those that were written for groups are left alone. */
function groupNodes(graph: Graph, dependent: Set<string>): void {
  for (const node of graph.nodes) {
    if (!dependent.has(node.output[0]!) || isAcrossGroups(node.name)) continue
    const leading = graph.dimsOf(node.output[0]!)[0]
    if (leading !== 1 || !keepsGroupsApart(graph, node))
      throw new EngineError(
        'unsupported_graph',
        `node ${node.name} (${node.opType}) cannot run for many groups at once`,
      )
    if (node.opType === 'Reshape') freeLeadingSize(graph, node)
  }
}

function valueInfo(name: string, elemType: number, dims: readonly (number | string)[]): ValueInfoProto {
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

const BOOLEAN = new Set(['Equal', 'Not', 'And', 'Or', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual', 'IsNaN'])

/** Element type of a tensor, read off the operation that makes it. */
function elementType(graph: Graph, producers: Map<string, NodeProto>, tensor: string): number {
  const constant = graph.constants.get(tensor)
  if (constant) return constant.dataType
  const input = graph.inputs.find(({ name }) => name === tensor)
  if (input?.type?.value.case === 'tensorType') return input.type.value.value.elemType
  const node = producers.get(tensor)
  if (!node) return DataType.FLOAT
  if (BOOLEAN.has(node.opType)) return DataType.BOOL
  if (node.opType === 'Cast') return intAttribute(node, 'to', DataType.FLOAT)
  return elementType(graph, producers, node.input[node.opType === 'Where' ? 1 : 0]!)
}

/** Inputs of the tail that hold factors; the symbolic size is the number of groups times what stands before it. */
function factorInfo(graph: Graph, factor: FactorInput): ValueInfoProto {
  const dims = graph.dimsOf(factor.name)
  const shape = factor.layout === 'wide' ? [dims[0]!, 'groups_rank'] : ['groups', dims[1]!, dims[2]!]
  return valueInfo(factor.name, DataType.FLOAT, shape)
}

/** Cuts a graph with side branches, loss and pruning done. */
export function split(graph: Graph, factors: readonly FactorInput[]): Halves {
  graph.tidy()
  const dependent = dependentTensors(
    graph,
    factors.map(({ name }) => name),
  )
  groupNodes(graph, dependent)
  const producers = graph.producers()
  const inTail = (node: NodeProto): boolean => dependent.has(node.output[0]!)
  const crossing = graph.nodes
    .filter(inTail)
    .flatMap((node) => node.input)
    .filter((name) => producers.has(name) && !dependent.has(name))
  const boundary = [...new Set(crossing)]
  const steering = [POSITION, LABEL].map((name) => valueInfo(name, DataType.INT64, [1]))

  const prefix = graph.clone()
  prefix.nodes = prefix.nodes.filter((node) => !inTail(node))
  prefix.outputs = boundary.map((name) => create(ValueInfoProtoSchema, { name }))
  prefix.inputs = [...graph.inputs, ...steering]
  prefix.tidy()

  const tail = graph.clone()
  tail.nodes = tail.nodes.filter(inTail)
  tail.inputs = [
    ...boundary.map((name) => valueInfo(name, elementType(graph, producers, name), graph.dimsOf(name))),
    ...factors.map((factor) => factorInfo(graph, factor)),
    ...steering,
  ]
  tail.tidy()
  keepUsedInputs(prefix)
  keepUsedInputs(tail)
  const elements = tail.nodes.map((node) => elementCount(graph.dimsOf(node.output[0]!)))
  return { prefix, tail, boundary, groupElements: Math.max(...elements) }
}

function keepUsedInputs(graph: Graph): void {
  const read = new Set(graph.nodes.flatMap((node) => node.input))
  graph.inputs = graph.inputs.filter(({ name }) => read.has(name))
}
