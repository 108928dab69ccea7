import { TensorProto_DataType as DataType, type NodeProto } from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'
import { productsOf } from './products.ts'
import { dimsOf, elementCount } from './tensor.ts'

/** A tensor that can be trained as a whole. */
export interface Weight {
  /** As the file names it. */
  readonly name: string
  readonly shape: readonly number[]
  readonly parameters: number
}

const FLOATS = new Set<number>([DataType.FLOAT, DataType.FLOAT16])

/** Operators that lead from rows of a rotary table to the heads they turn, changing no number. */
const HANDS_ON = new Set(['Cast', 'Concat', 'Expand', 'Reshape', 'Slice', 'Squeeze', 'Transpose', 'Unsqueeze'])
const NORMS = new Set(['LayerNormalization', 'RMSNormalization', 'SimplifiedLayerNormalization'])
const JOINS = new Set(['Add', 'Div', 'Mul', 'Sub'])

type Consumers = ReadonlyMap<string, NodeProto[]>

/** Tensors that some nodes, and what follows them, make. */
function madeBy(graph: Graph, nodes: ReadonlySet<NodeProto>): Set<string> {
  const made = new Set<string>()
  for (const node of graph.nodes)
    if (nodes.has(node) || node.input.some((input) => made.has(input)))
      for (const output of node.output) made.add(output)
  return made
}

/**
 * Whether rows picked from a table are multiplied with what does not come from them, as sines and cosines are.
 * Embeddings are multiplied as well, by the norm of themselves.
 */
function turnsOthers(graph: Graph, consumers: Consumers, lookup: NodeProto): boolean {
  const own = madeBy(graph, new Set([lookup]))
  const turns = (tensor: string): boolean =>
    (consumers.get(tensor) ?? []).some((node) => {
      if (HANDS_ON.has(node.opType)) return turns(node.output[0]!)
      return node.opType === 'Mul' && node.input.some((input) => !own.has(input) && !graph.constants.has(input))
    })
  return turns(lookup.output[0]!)
}

/** Embedding lookups: rows of a float matrix by ids. */
function lookups(graph: Graph, consumers: Consumers): Map<NodeProto, string> {
  const found = new Map<NodeProto, string>()
  for (const node of graph.nodes) {
    const table = graph.constants.get(node.input[0] ?? '')
    if (node.opType !== 'Gather' || table?.dims.length !== 2 || !FLOATS.has(table.dataType)) continue
    if (!graph.constants.has(node.input[1]!) && !turnsOthers(graph, consumers, node)) found.set(node, node.input[0]!)
  }
  return found
}

/** A vector, perhaps with axes of one before it. */
const isVector = (dims: readonly number[]): boolean => elementCount(dims) > 1 && elementCount(dims) === dims.at(-1)

/** Constants that a node adds to activations or scales them with, along their last axis. */
function vectorsOf(graph: Graph, made: ReadonlySet<string>, node: NodeProto): string[] {
  const operands = NORMS.has(node.opType) ? node.input.slice(1) : JOINS.has(node.opType) ? node.input : []
  if (!node.input.some((input) => made.has(input))) return []
  return operands.filter((name) => {
    const constant = graph.constants.get(name)
    return constant !== undefined && isVector(dimsOf(constant))
  })
}

/**
 * The tensors that the full space can train, in the order of the forward pass: matrices of products, embeddings,
 * biases, and the scales and shifts of norms, in float32 or float16. Masks, sizes, position counts and rotary tables
 * are none.
 */
export function findWeights(graph: Graph): Weight[] {
  const consumers = graph.consumers()
  const tables = lookups(graph, consumers)
  // What a bias is added to, or a norm scales.
  const made = madeBy(graph, new Set(tables.keys()))
  const matrices = new Map(
    productsOf(graph).flatMap(({ node, weight, isFloat, input }) =>
      isFloat && made.has(input) ? [[node, weight.name] as const] : [],
    ),
  )
  const names = graph.nodes.flatMap((node) => {
    const whole = tables.get(node) ?? matrices.get(node)
    return whole === undefined ? vectorsOf(graph, made, node) : [whole]
  })
  return [...new Set(names)].flatMap((name) => {
    const tensor = graph.constants.get(name)
    if (!tensor || !FLOATS.has(tensor.dataType)) return []
    const shape = dimsOf(tensor)
    return elementCount(shape) > 1 ? [{ name, shape, parameters: elementCount(shape) }] : []
  })
}
