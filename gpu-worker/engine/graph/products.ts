import { EngineError } from '../error.ts'
import { TensorProto_DataType as DataType, type NodeProto, type TensorProto } from '../onnx/onnx_pb.ts'
import { type Graph, intAttribute, intsAttribute } from './graph.ts'
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
  /** Whether W is there as numbers, float32 or float16; a quantised one is not. */
  readonly isFloat: boolean
  /** Whether W stays as it lies, quantised or in half precision: nothing is merged into it, it takes side branches alone. */
  readonly stays: boolean
}

/** The constant behind an operand of a product. */
interface Behind {
  readonly weight: TensorProto
  readonly turned: boolean
  readonly isFloat: boolean
}

/** Without `perm` a Transpose reverses all axes. */
const turnsMatrix = (node: NodeProto): boolean => (intsAttribute(node, 'perm')?.join() ?? '1,0') === '1,0'

/**
 * The constant behind an operand: itself, or the one that a Transpose turns (how a tied head is exported), a Cast widens
 * (float16), or DequantizeLinear expands (weight-only quantisation).
 */
function constantBehind(graph: Graph, producers: Map<string, NodeProto>, name: string): Behind | undefined {
  const direct = graph.constants.get(name)
  if (direct) return direct.dims.length === 2 ? { weight: direct, turned: false, isFloat: true } : undefined
  const producer = producers.get(name)
  const source = producer && constantBehind(graph, producers, producer.input[0] ?? '')
  if (!source) return undefined
  switch (producer.opType) {
    case 'Cast':
      return source
    case 'Transpose':
      return turnsMatrix(producer) ? { ...source, turned: !source.turned } : undefined
    case 'DequantizeLinear':
      return { ...source, isFloat: false }
    default:
      return undefined
  }
}

/** A product with a matrix of 4 or 8 bits, which says its sizes itself. */
function packedProduct(graph: Graph, node: NodeProto): Product | undefined {
  const weight = graph.constants.get(node.input[1] ?? '')
  if (!weight) return undefined
  const [inputs, outputs] = [intAttribute(node, 'K', 0), intAttribute(node, 'N', 0)]
  return { node, input: node.input[0]!, weight, transposed: true, inputs, outputs, isFloat: false, stays: true }
}

/** Reads a node as a product with a constant matrix, if it is one. */
export function productOf(graph: Graph, producers: Map<string, NodeProto>, node: NodeProto): Product | undefined {
  if (node.opType === 'MatMulNBits') return packedProduct(graph, node)
  if (node.opType !== 'MatMul' && node.opType !== 'Gemm') return undefined
  const operand = constantBehind(graph, producers, node.input[1]!)
  if (!operand || graph.constants.has(node.input[0]!)) return undefined
  const { weight, isFloat } = operand
  const transposed = operand.turned !== (intAttribute(node, 'transB', 0) === 1)
  const [rows, columns] = dimsOf(weight) as [number, number]
  const stays = !isFloat || (graph.keepsHalves && weight.dataType === DataType.FLOAT16)
  return {
    ...{ node, weight, transposed, isFloat, stays },
    input: node.input[0]!,
    inputs: transposed ? columns : rows,
    outputs: transposed ? rows : columns,
  }
}

/** Every product of a graph with a constant matrix, in the order of the forward pass. */
export function productsOf(graph: Graph): Product[] {
  const producers = graph.producers()
  return graph.nodes.flatMap((node) => productOf(graph, producers, node) ?? [])
}

/** W itself, row-major [inputs, outputs], a copy. @throws EngineError where W is quantised. */
export function matrixOf(product: Product): Float32Array {
  if (!product.isFloat)
    throw new EngineError(
      'unsupported_graph',
      `the matrix of node ${product.node.name} is quantised: use a float model`,
    )
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
