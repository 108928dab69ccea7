import { create } from '@bufbuild/protobuf'
import { type Graph, intAttribute, intsAttribute } from '../graph/graph.ts'
import { ELEMENTWISE } from '../graph/prune.ts'
import { elementCount, intsOf } from '../graph/tensor.ts'
import { type NodeProto, TensorProtoSchema } from '../onnx/onnx_pb.ts'
import { dropNodes, operatorOf, setAttribute, textAttribute } from './node.ts'

/**
 * Steps that change nothing go, several of a kind become one, and rare operators become common ones. Dimensions are
 * known.
 */

const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((value, at) => value === b[at])

const hasDims = (graph: Graph, tensor: string): boolean => graph.dims.has(tensor) || graph.constants.has(tensor)

const keepsDims = (graph: Graph, node: NodeProto): boolean =>
  [node.input[0]!, node.output[0]!].every((tensor) => hasDims(graph, tensor)) &&
  same(graph.dimsOf(node.input[0]!), graph.dimsOf(node.output[0]!))

/** Whether constant indices are 0 .. n-1. */
function countsUp(values: readonly number[], end: number): boolean {
  return values.length === end && values.every((value, at) => value === at || value === at - end)
}

/** A Gather of everything, in order. */
function gathersAll(graph: Graph, node: NodeProto): boolean {
  const indices = graph.constants.get(node.input[1]!)
  const dims = hasDims(graph, node.input[0]!) ? graph.dimsOf(node.input[0]!) : undefined
  if (!indices || !dims || dims.length === 0) return false
  const axis = (intAttribute(node, 'axis', 0) + dims.length) % dims.length
  return elementCount(indices.dims.map(Number)) === dims[axis] && countsUp(intsOf(indices), dims[axis])
}

/** Coordinates beyond this number are not looked at. */
const COORDINATES_MAX = 2 ** 24

/** Whether GatherND reads, or ScatterND writes, everything in order. */
function coversAll(graph: Graph, node: NodeProto): boolean {
  const indices = graph.constants.get(node.input[1]!)
  const dims = hasDims(graph, node.input[0]!) ? graph.dimsOf(node.input[0]!) : undefined
  if (!indices || !dims || intAttribute(node, 'batch_dims', 0) !== 0) return false
  const width = Number(indices.dims.at(-1) ?? 0n)
  if (width === 0 || width > dims.length || elementCount(indices.dims.map(Number)) > COORDINATES_MAX) return false
  const values = intsOf(indices)
  const flat = Array.from({ length: values.length / width }, (_, at) =>
    dims.slice(0, width).reduce((index, size, axis) => index * size + values[at * width + axis]!, 0),
  )
  return countsUp(flat, elementCount(dims.slice(0, width)))
}

/** Nodes whose elements come out as they went in, in another shape. */
function isReshaping(graph: Graph, node: NodeProto): boolean {
  switch (operatorOf(node)) {
    case 'Reshape':
    case 'Flatten':
      return true
    case 'Gather':
      return !graph.constants.has(node.input[0]!) && gathersAll(graph, node)
    case 'GatherND':
      return !graph.constants.has(node.input[0]!) && coversAll(graph, node)
    case 'ScatterND':
      return (textAttribute(node, 'reduction') ?? 'none') === 'none' && coversAll(graph, node)
    default:
      return false
  }
}

/** Every such node as a Reshape to the sizes it has for one record. */
function spellOutReshapes(graph: Graph): void {
  for (const node of graph.nodes) {
    if (!isReshaping(graph, node) || !graph.dims.has(node.output[0]!)) continue
    const source = node.opType === 'ScatterND' ? node.input[2]! : node.input[0]!
    node.opType = 'Reshape'
    node.attribute = []
    node.input = [source, graph.addInts(`${node.output[0]}.sizes`, graph.dimsOf(node.output[0]!))]
  }
}

/** Every Transpose says its axes; without them it reverses all. */
function spellOutTransposes(graph: Graph): void {
  for (const node of graph.nodes) {
    if (operatorOf(node) !== 'Transpose' || intsAttribute(node, 'perm')) continue
    const axes = graph.dimsOf(node.input[0]!).map((_, axis) => axis)
    setAttribute(node, 'perm', axes.reverse())
  }
}

/** The one Einsum that fused products leave: the last two axes exchanged. */
function turnEinsums(graph: Graph): void {
  for (const node of graph.nodes) {
    if (operatorOf(node) !== 'Einsum' || textAttribute(node, 'equation') !== '...ij->...ji') continue
    const axes = graph.dimsOf(node.output[0]!).map((_, axis) => axis)
    node.opType = 'Transpose'
    node.attribute = []
    setAttribute(node, 'perm', [...axes.slice(0, -2), axes.length - 1, axes.length - 2])
  }
}

/** Reads through a producer of the same kind: Reshape of Reshape, Transpose of Transpose. */
function joinPairs(graph: Graph): void {
  const producers = graph.producers()
  for (const node of graph.nodes) {
    const before = producers.get(node.input[0]!)
    if (!before || operatorOf(before) !== operatorOf(node)) continue
    if (operatorOf(node) === 'Reshape') node.input = [before.input[0]!, node.input[1]!]
    if (operatorOf(node) !== 'Transpose') continue
    const [first, second] = [intsAttribute(before, 'perm'), intsAttribute(node, 'perm')]
    if (!first || !second) continue
    node.input = [before.input[0]!]
    setAttribute(
      node,
      'perm',
      second.map((axis) => first[axis]!),
    )
  }
}

/** Reshape, Softmax over the last axis, Reshape back: the Softmax alone. Older operator sets flatten so. */
function unflattenSoftmax(graph: Graph): void {
  const producers = graph.producers()
  const consumers = graph.consumers()
  for (const node of graph.nodes) {
    if (!['Softmax', 'LogSoftmax'].includes(operatorOf(node)) || intAttribute(node, 'axis', -1) !== -1) continue
    const before = producers.get(node.input[0]!)
    if (before?.opType !== 'Reshape') continue
    const dims = graph.dimsOf(before.input[0]!)
    const readers = consumers.get(node.output[0]!) ?? []
    const isBack = readers.every((reader) => reader.opType === 'Reshape' && same(graph.dimsOf(reader.output[0]!), dims))
    if (!isBack || dims.at(-1) !== graph.dimsOf(node.input[0]!).at(-1)) continue
    if (graph.outputs.some(({ name }) => name === node.output[0])) continue
    node.input = [before.input[0]!]
    graph.dims.set(node.output[0]!, dims)
  }
}

/**
 * A constant of several axes beside activations of more, as masks are, gets axes of one before its own: the engine
 * takes rows of activations and masks alike, and the leading axis is the records'.
 */
function padConstants(graph: Graph): void {
  for (const node of graph.nodes) {
    const rank = graph.dims.get(node.output[0]!)?.length ?? 0
    if (!ELEMENTWISE.has(operatorOf(node))) continue
    node.input = node.input.map((input) => {
      const constant = graph.constants.get(input)
      if (!constant || constant.dims.length < 2 || constant.dims.length >= rank) return input
      const padded = `${input}.axes${rank}`
      const dims = [...Array<bigint>(rank - constant.dims.length).fill(1n), ...constant.dims]
      graph.constants.set(padded, create(TensorProtoSchema, { ...constant, name: padded, dims }))
      return padded
    })
  }
}

const isStraight = (perm: readonly number[] | undefined): boolean => perm?.every((axis, at) => axis === at) ?? false

/** Nodes that hand on their input. */
function isIdle(graph: Graph, node: NodeProto): boolean {
  switch (operatorOf(node)) {
    case 'Reshape':
    case 'Expand':
      return keepsDims(graph, node)
    case 'Slice':
      // A slice of every element in the order they have: a negative step would turn them.
      return keepsDims(graph, node) && (graph.constants.get(node.input[4] ?? '') ? steps(graph, node) : true)
    case 'Transpose':
      return isStraight(intsAttribute(node, 'perm'))
    case 'Concat':
      return node.input.length === 1
    default:
      return false
  }
}

const steps = (graph: Graph, node: NodeProto): boolean =>
  intsOf(graph.constants.get(node.input[4]!)!).every((step) => step > 0)

export function simplify(graph: Graph): void {
  turnEinsums(graph)
  spellOutTransposes(graph)
  spellOutReshapes(graph)
  dropNodes(graph, (node) => isIdle(graph, node))
  joinPairs(graph)
  unflattenSoftmax(graph)
  padConstants(graph)
  dropNodes(graph, (node) => isIdle(graph, node))
  graph.tidy()
}
