import { create } from '@bufbuild/protobuf'
import { type Graph, intAttribute, intsAttribute } from '../graph/graph.ts'
import { ELEMENTWISE } from '../graph/prune.ts'
import { elementCount, intsOf } from '../graph/tensor.ts'
import { type NodeProto, NodeProtoSchema } from '../onnx/onnx_pb.ts'
import { fedTensors } from './coupling.ts'
import { type AttributeValue, operatorOf, setAttribute } from './node.ts'

/**
 * Exporters flatten: [records, T, K] becomes [records T, K] for a product of matrices, [records, heads, T, d] becomes
 * [records heads, T, d] for attention, and is given back later. For one record the flattened tensor lacks its leading
 * axis of one. Here every such tensor gets a LIFTED form with that axis, made by the same operator on lifted operands,
 * so that the axis runs through the whole graph. What cannot be lifted reads the flattened tensor, reshaped from the
 * lifted one.
 *
 * The row that a classifier takes of one token, [records, K], is lifted too: to [records, 1, K], as any other
 * activation.
 */

interface Lift {
  readonly graph: Graph
  /** Tensors that depend on what is fed; all others are constants, or made of constants alone. */
  readonly fed: ReadonlySet<string>
  /** Lifted form by flattened tensor. */
  readonly forms: Map<string, string>
}

const isConstant = ({ fed }: Lift, tensor: string): boolean => !fed.has(tensor)

/** A tensor of one record that does not begin with an axis of one, or a row that has been lifted. */
const isFlattened = ({ graph, fed, forms }: Lift, tensor: string): boolean => {
  const dims = graph.dims.get(tensor)
  if (!fed.has(tensor) || dims === undefined || dims.length === 0) return false
  return dims[0] !== 1 || forms.has(tensor)
}

const isRow = ({ graph }: Lift, tensor: string): boolean => {
  const dims = graph.dims.get(tensor)
  return dims?.length === 2 && dims[0] === 1
}

/** An axis counted from the front moves by one; counted from the end it stays. */
const moved = (axis: number): number => (axis < 0 ? axis : axis + 1)

/** The same operator on other operands, its outputs lifted. @returns the names of the outputs. */
function again(
  lift: Lift,
  node: NodeProto,
  inputs: readonly string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
): void {
  const { graph, forms } = lift
  const copy = create(NodeProtoSchema, {
    ...node,
    input: [...inputs],
    output: node.output.map((name) => `${name}.lifted`),
  })
  copy.attribute = [...node.attribute]
  for (const [name, value] of Object.entries(attributes)) setAttribute(copy, name, value)
  graph.nodes.push(copy)
  node.output.forEach((output, at) => {
    graph.dims.set(copy.output[at]!, [1, ...graph.dimsOf(output)])
    forms.set(output, copy.output[at]!)
  })
}

/** Constant axes moved. */
const movedAxes = ({ graph }: Lift, node: NodeProto, at: number): string | undefined => {
  const axes = graph.constants.get(node.input[at] ?? '')
  return axes && graph.addInts(`${node.output[0]}.lifted_axes${at}`, intsOf(axes).map(moved))
}

/** A whole tensor beside a lifted one: axes of one behind its leading axis bring it to the rank. */
function beside({ graph }: Lift, node: NodeProto, tensor: string, rank: number): string {
  const dims = graph.dimsOf(tensor)
  if (dims.length >= rank) return tensor
  const sizes = [1, ...Array(rank - dims.length).fill(1), ...dims.slice(1)]
  const name = `${node.output[0]}.beside.${tensor}`
  return graph.add('Reshape', [tensor, graph.addInts(`${name}.sizes`, sizes)], { name, dims: sizes })
}

/** Operands of an elementwise operator for a result of this rank; undefined where one has no fitting form. */
function elementwiseInputs(lift: Lift, node: NodeProto, rank: number): string[] | undefined {
  const inputs = node.input.map((input) => {
    if (isConstant(lift, input)) return input
    if (isFlattened(lift, input)) {
      const form = lift.forms.get(input)
      return form === undefined ? undefined : beside(lift, node, form, rank)
    }
    return lift.graph.dims.get(input)?.[0] === 1 ? beside(lift, node, input, rank) : undefined
  })
  return inputs.every((input) => input !== undefined) ? inputs : undefined
}

type Lifter = (lift: Lift, node: NodeProto) => boolean

const liftElementwise: Lifter = (lift, node) => {
  const inputs = elementwiseInputs(lift, node, lift.graph.dimsOf(node.output[0]!).length + 1)
  if (inputs) again(lift, node, inputs)
  return inputs !== undefined
}

/** Lifted first operand, constants behind it. */
const firstForm = (lift: Lift, node: NodeProto): string | undefined => {
  const others = node.input.slice(1)
  return others.every((input) => isConstant(lift, input)) ? lift.forms.get(node.input[0]!) : undefined
}

const liftByAxis =
  (otherwise: number): Lifter =>
  (lift, node) => {
    const form = firstForm(lift, node)
    if (form === undefined) return false
    again(lift, node, [form, ...node.input.slice(1)], { axis: moved(intAttribute(node, 'axis', otherwise)) })
    return true
  }

/** Reductions and slices, whose axes are the input at this place. */
const liftByAxes =
  (at: number): Lifter =>
  (lift, node) => {
    const form = firstForm(lift, node)
    const axes = movedAxes(lift, node, at)
    if (form === undefined || axes === undefined) return false
    again(
      lift,
      node,
      node.input.map((input, place) => (place === 0 ? form : place === at ? axes : input)),
    )
    return true
  }

const liftMatMul: Lifter = (lift, node) => {
  const [a, b] = node.input.map((input) => {
    if (!isConstant(lift, input)) return lift.forms.get(input)
    return lift.graph.dimsOf(input).length <= lift.graph.dimsOf(node.output[0]!).length ? input : undefined
  })
  if (a === undefined || b === undefined || lift.graph.dimsOf(node.input[1]!).length < 2) return false
  again(lift, node, [a, b])
  return true
}

const liftTranspose: Lifter = (lift, node) => {
  const form = firstForm(lift, node)
  const perm = intsAttribute(node, 'perm')
  if (form === undefined || !perm) return false
  again(lift, node, [form], { perm: [0, ...perm.map((axis) => axis + 1)] })
  return true
}

const liftConcat: Lifter = (lift, node) => {
  const forms = node.input.map((input) => lift.forms.get(input))
  if (forms.some((form) => form === undefined)) return false
  again(lift, node, forms as string[], { axis: moved(intAttribute(node, 'axis', 0)) })
  return true
}

/** Rows of a table by flattened ids, or parts of a flattened tensor by constant ones. */
const liftGather: Lifter = (lift, node) => {
  const [data, indices] = node.input as [string, string]
  const axis = intAttribute(node, 'axis', 0)
  const ids = lift.forms.get(indices)
  if (isConstant(lift, data) && ids !== undefined && axis === 0) {
    again(lift, node, [data, ids])
    return true
  }
  return liftByAxis(0)(lift, node)
}

const liftExpand: Lifter = (lift, node) => {
  const form = firstForm(lift, node)
  const { graph } = lift
  const dims = graph.dimsOf(node.output[0]!)
  if (form === undefined || graph.dimsOf(form).length !== dims.length + 1) return false
  again(lift, node, [form, graph.addInts(`${node.output[0]}.lifted_sizes`, [1, ...dims])])
  return true
}

/** Operators with a constant for all but the first operand, which act on its last axis. */
const liftRows: Lifter = (lift, node) => {
  const form = firstForm(lift, node)
  if (form === undefined) return false
  again(lift, node, [form, ...node.input.slice(1)])
  return true
}

const REDUCTIONS = ['L2', 'Max', 'Mean', 'Min', 'Sum', 'SumSquare'].map((name) => `Reduce${name}`)

const LIFTERS: Readonly<Record<string, Lifter>> = {
  ...Object.fromEntries([...ELEMENTWISE].map((name) => [name, liftElementwise])),
  ...Object.fromEntries(REDUCTIONS.map((name) => [name, liftByAxes(1)])),
  Concat: liftConcat,
  Expand: liftExpand,
  Gather: liftGather,
  LayerNormalization: liftByAxis(-1),
  LogSoftmax: liftByAxis(-1),
  MatMul: liftMatMul,
  Slice: liftByAxes(3),
  Softmax: liftByAxis(-1),
  Split: liftByAxis(0),
  Transpose: liftTranspose,
  'com.microsoft:MatMulNBits': liftRows,
}

const isSame = (a: readonly number[], b: readonly number[]): boolean => a.join() === b.join()

/** One token of [1, T, K] as [1, 1, K]. @returns whether the node takes one. */
function liftRow(lift: Lift, node: NodeProto): boolean {
  const { graph, forms } = lift
  const [data, at] = node.input as [string, string]
  const [output] = node.output as [string]
  const index = graph.constants.get(at)
  const dims = graph.dims.get(data)
  if (operatorOf(node) !== 'Gather' || index?.dims.length !== 0 || dims?.length !== 3 || dims[0] !== 1) return false
  const axis = intAttribute(node, 'axis', 0)
  if (axis !== 1 && axis !== -2) return false
  const name = `${output}.lifted`
  const kept = graph.addInts(`${name}.position`, intsOf(index))
  forms.set(output, graph.add('Gather', [data, kept], { name, dims: [1, 1, dims[2]!], attributes: { axis: 1 } }))
  return true
}

/** Whether a node makes rows of lifted rows. */
const joinsRows = (lift: Lift, node: NodeProto): boolean =>
  node.output.every((output) => isRow(lift, output)) &&
  node.input.some((input) => lift.forms.has(input) && isRow(lift, input))

const RESHAPING = new Set(['Reshape', 'Squeeze', 'Unsqueeze'])

/**
 * A reshaping of a whole or a lifted tensor: lifted where the result is flattened, from the lifted tensor where it is
 * whole.
 */
function liftReshaping(lift: Lift, node: NodeProto): void {
  const { graph, forms } = lift
  const [input] = node.input as [string]
  const [output] = node.output as [string]
  const source = forms.get(input) ?? (graph.dims.get(input)?.[0] === 1 ? input : undefined)
  const dims = graph.dims.get(output)
  if (source === undefined || !dims || elementCount(graph.dimsOf(source)) !== elementCount(dims)) return
  if (isRow(lift, output) && isSame(graph.dimsOf(source), [1, ...dims])) {
    forms.set(output, source)
    return
  }
  const isWhole = !isFlattened(lift, output)
  if (isWhole && source === input) return
  if (isWhole) {
    node.opType = 'Reshape'
    node.attribute = []
    node.input = [source, graph.addInts(`${output}.sizes`, dims)]
    return
  }
  const name = `${output}.lifted`
  forms.set(
    output,
    graph.add('Reshape', [source, graph.addInts(`${name}.sizes`, [1, ...dims])], { name, dims: [1, ...dims] }),
  )
}

/** A whole result of flattened operands reads their lifted forms where these have its rank. */
function readForms(lift: Lift, node: NodeProto): void {
  if (!ELEMENTWISE.has(operatorOf(node))) return
  const rank = lift.graph.dimsOf(node.output[0]!).length
  node.input = node.input.map((input) => {
    const form = lift.forms.get(input)
    return form !== undefined && lift.graph.dimsOf(form).length === rank ? form : input
  })
}

/** What is still read flattened comes from its lifted form, so that nothing is computed twice. */
function flattenAgain({ graph, forms }: Lift): void {
  const read = new Set([...graph.nodes.flatMap(({ input }) => input), ...graph.outputs.map(({ name }) => name)])
  graph.nodes = graph.nodes.filter((node) => RESHAPING.has(operatorOf(node)) || !forms.has(node.output[0]!))
  const made = new Set(graph.nodes.flatMap(({ output }) => output))
  for (const [flat, form] of forms) {
    if (made.has(flat) || !read.has(flat)) continue
    const dims = graph.dimsOf(flat)
    graph.add('Reshape', [form, graph.addInts(`${flat}.sizes`, dims)], { name: flat, dims })
    // The lifted node has the name of the tensor it once made.
    graph.nodes.at(-1)!.name = `${flat}.flattened`
  }
}

export function liftLeading(graph: Graph): void {
  const lift: Lift = { graph, fed: fedTensors(graph), forms: new Map() }
  for (const node of [...graph.nodes]) {
    if (!node.output.every((output) => lift.fed.has(output) && graph.dims.has(output))) continue
    if (RESHAPING.has(operatorOf(node))) liftReshaping(lift, node)
    else if (joinsRows(lift, node) || node.output.every((output) => isFlattened(lift, output)))
      LIFTERS[operatorOf(node)]?.(lift, node)
    else if (!liftRow(lift, node)) readForms(lift, node)
  }
  flattenAgain(lift)
  graph.tidy()
}
