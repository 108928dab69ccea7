import { create } from '@bufbuild/protobuf'
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
import type { Graph } from './graph.ts'
import { POSITIONS, SELECTION, TARGETS, WEIGHTS } from './loss.ts'
import { spreadMembers } from './members.ts'
import { isAcrossGroups } from './side.ts'
import { elementCount } from './tensor.ts'

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
  // What steers a call of groups has their axis; nodes that were written for groups need not have it in front.
  const ofGroups = (): NodeProto[] => tailNodes.filter(({ name }) => !isAcrossGroups(name))
  if (lead === 'groups') spreadMembers(graph, ofGroups(), new Set([...varying, TARGETS, WEIGHTS]))
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
  const named = tail.nodes.flatMap(({ output }) => output.filter((name) => name !== ''))
  const made = named.map((name) => tail.dimsOf(name))
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
      const dims = tail.dimsOf(name)
      const leading = lead === 'records' ? ['records', ...dims.slice(1)] : dims
      return valueInfo(name, types.get(name) ?? DataType.FLOAT, leading)
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
