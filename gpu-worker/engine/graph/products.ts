import { EngineError } from '../error.ts'
import type { NodeProto, TensorProto } from '../onnx/onnx_pb.ts'
import { type Graph, intAttribute } from './graph.ts'
import { dimsOf, floatsOf } from './tensor.ts'

/** A product of activations with a constant matrix: y = x W, W [inputs, outputs]. */
export interface Product {
  readonly node: NodeProto
  /** Tensor x. */
  readonly input: string
  /** Constant that holds W, or its transpose. */
  readonly weight: TensorProto
  readonly transposed: boolean
  readonly inputs: number
  readonly outputs: number
}

/** The constant behind an operand: itself, or the one a Transpose of rank 2 turns (how a tied decoder is exported). */
function constantMatrix(
  graph: Graph,
  producers: Map<string, NodeProto>,
  name: string,
): { weight: TensorProto; turned: boolean } | undefined {
  const direct = graph.constants.get(name)
  if (direct) return { weight: direct, turned: false }
  const producer = producers.get(name)
  const source = producer?.opType === 'Transpose' ? graph.constants.get(producer.input[0]!) : undefined
  return source ? { weight: source, turned: true } : undefined
}

/** Reads a node as a product with a constant matrix, if it is one. */
export function productOf(graph: Graph, producers: Map<string, NodeProto>, node: NodeProto): Product | undefined {
  if (node.opType !== 'MatMul' && node.opType !== 'Gemm') return undefined
  const operand = constantMatrix(graph, producers, node.input[1]!)
  if (operand?.weight.dims.length !== 2 || graph.constants.has(node.input[0]!)) return undefined
  const transposed = operand.turned !== (intAttribute(node, 'transB', 0) === 1)
  const [rows, columns] = dimsOf(operand.weight) as [number, number]
  return {
    node,
    input: node.input[0]!,
    weight: operand.weight,
    transposed,
    inputs: transposed ? columns : rows,
    outputs: transposed ? rows : columns,
  }
}

/** W itself, row-major [inputs, outputs], a copy. */
export function matrixOf(product: Product): Float32Array {
  const values = floatsOf(product.weight)
  if (!product.transposed) return values
  const { inputs, outputs } = product
  const turned = new Float32Array(values.length)
  for (let o = 0; o < outputs; o++) for (let i = 0; i < inputs; i++) turned[i * outputs + o] = values[o * inputs + i]!
  return turned
}

/** The Add of a constant vector that alone reads the product, if there is one. */
export function biasAdd(graph: Graph, consumers: Map<string, NodeProto[]>, product: Product): NodeProto | undefined {
  const readers = consumers.get(product.node.output[0]!) ?? []
  const [add] = readers
  if (readers.length !== 1 || add?.opType !== 'Add') return undefined
  return add.input.some((input) => graph.constants.get(input)?.dims.length === 1) ? add : undefined
}

/** Trained products and the decoder must be plain MatMul nodes. @throws EngineError naming the node. */
export function requireMatMul(product: Product): void {
  if (product.node.opType !== 'MatMul')
    throw new EngineError('unsupported_graph', `node ${product.node.name} is a ${product.node.opType}, not a MatMul`)
}
