import { create } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import { TensorProto_DataType as DataType, type NodeProto, ValueInfoProtoSchema } from '../onnx/onnx_pb.ts'
import type { Outputs } from '../task/record.ts'
import { type Graph, intAttribute } from './graph.ts'
import { matrixOf, type Product, productOf } from './products.ts'
import { elementCount, floatsOf, intsOf } from './tensor.ts'

/** Name of the logits once the head is what the task wants: [1, T, C], or [1, 1, C] behind a classifier. */
export const CLASS_LOGITS = 'sotto.class_logits'

/** The last product of a graph: logits = h W (+ b). */
export interface Head {
  readonly product: Product
  /** Node that adds the bias, where there is one. */
  readonly add: NodeProto | undefined
}

/** The output that holds the logits. @throws EngineError where there is none. */
function logitsOf(graph: Graph): { name: string; node: NodeProto } {
  const output = graph.outputs.find(({ name }) => name === 'logits') ?? graph.outputs[0]
  const node = output && graph.producers().get(output.name)
  if (!node)
    throw new EngineError('unsupported_graph', 'the graph has no output made by a node: export it with its head')
  return { name: output.name, node }
}

/** What may stand between the head and the logits that a task reads. */
const BEHIND_HEAD = new Set(['Cast', 'Identity', 'Reshape', 'Gather'])

/** What leaves each logit the one it is. */
const PLAIN_BEHIND_HEAD = new Set(['Cast', 'Identity', 'Reshape'])

/** The vocabulary projection or classifier behind the logits, where it is one product with a constant. */
export function findHead(graph: Graph, behind: ReadonlySet<string> = BEHIND_HEAD): Head | undefined {
  const producers = graph.producers()
  let skipped: NodeProto | undefined = logitsOf(graph).node
  while (skipped && behind.has(skipped.opType)) skipped = producers.get(skipped.input[0]!)
  if (!skipped) return undefined
  const add =
    skipped.opType === 'Add' && skipped.input.some((input) => graph.constants.has(input)) ? skipped : undefined
  const source = add ? producers.get(add.input.find((input) => !graph.constants.has(input)) ?? '') : skipped
  const product = source && productOf(graph, producers, source)
  return product && { product, add }
}

/** Columns `ids` of a row-major matrix with `columns` columns. */
function selectColumns(values: Float32Array, columns: number, ids: readonly number[]): Float32Array {
  const rows = values.length / columns
  const chosen = new Float32Array(rows * ids.length)
  for (let row = 0; row < rows; row++) {
    ids.forEach((id, at) => {
      chosen[row * ids.length + at] = values[row * columns + id]!
    })
  }
  return chosen
}

/**
 * Computes only some columns of the vocabulary projection.
 * @param trained constants that are trained: a copy of their columns would stay as it is.
 * @returns false where the head does not allow it.
 */
function restrictProduct(graph: Graph, tokens: readonly number[], trained: ReadonlySet<string>): boolean {
  const head = findHead(graph, PLAIN_BEHIND_HEAD)
  if (head?.product.node.opType !== 'MatMul' || head.product.isFloat === false) return false
  const { product, add } = head
  const bias = add && graph.constants.get(add.input.find((input) => graph.constants.has(input))!)!
  const isTrained = [...graph.constants].some(
    ([name, tensor]) => (tensor === product.weight || tensor === bias) && trained.has(name),
  )
  if (isTrained) return false
  if (bias && elementCount(bias.dims.map(Number)) !== product.outputs) return false
  if (Math.max(...tokens) >= product.outputs) return false
  const columns = selectColumns(matrixOf(product), product.outputs, tokens)
  const weight = graph.addFloats('sotto.decoder.weight', [product.inputs, tokens.length], columns)
  const name = bias ? 'sotto.decoder.product' : CLASS_LOGITS
  const logits = graph.add('MatMul', [product.input, weight], { name, dims: [] })
  if (bias) {
    const chosen = selectColumns(floatsOf(bias), product.outputs, tokens)
    const offset = graph.addFloats('sotto.decoder.bias', [tokens.length], chosen)
    graph.add('Add', [logits, offset], { name: CLASS_LOGITS, dims: [] })
  }
  return true
}

/** The logits in float32, whatever the model computes in. */
function floatLogits(graph: Graph): string {
  const { name } = logitsOf(graph)
  const type = graph.outputs.find((output) => output.name === name)?.type?.value
  if (type?.case !== 'tensorType' || type.value.elemType === DataType.FLOAT) return name
  return graph.add('Cast', [name], { name: 'sotto.logits32', dims: [], attributes: { to: DataType.FLOAT } })
}

/**
 * Makes what the task wants of the logits the graph's only output, CLASS_LOGITS. Dimensions are not known yet.
 * @param trained names of weights that are trained whole.
 * @throws EngineError `unsupported_graph`
 */
export function restrictHead(graph: Graph, outputs: Outputs, trained: ReadonlySet<string> = new Set()): void {
  if (outputs.kind !== 'rows' || !restrictProduct(graph, outputs.tokens, trained)) {
    const logits = floatLogits(graph)
    if (outputs.kind === 'rows') {
      const tokens = graph.addInts('sotto.label_tokens', outputs.tokens)
      graph.add('Gather', [logits, tokens], { name: CLASS_LOGITS, dims: [], attributes: { axis: 2 } })
    } else if (outputs.kind === 'classes') {
      const shape = graph.addInts('sotto.class_shape', [-1, 1, outputs.count])
      graph.add('Reshape', [logits, shape], { name: CLASS_LOGITS, dims: [] })
    } else {
      graph.add('Identity', [logits], { name: CLASS_LOGITS, dims: [] })
    }
  }
  graph.outputs = [create(ValueInfoProtoSchema, { name: CLASS_LOGITS })]
  graph.tidy()
}

/** Where a classifier reads one of its tokens: the first, or the last that is no padding. */
export interface Pooling {
  /** Gather of a fixed position, or product with a row of the unit matrix that the graph computes. */
  readonly node: NodeProto
  /** What it reads the token of. */
  readonly tensor: string
  /** Axis of the tokens in it. */
  readonly axis: number
  /** The position, or the name of the row [1, 1, T]. */
  readonly position: number | string
}

/** A Gather of one fixed position. */
function fixedPooling(graph: Graph, node: NodeProto, tokens: number): Pooling | undefined {
  const [tensor] = node.input as [string]
  const index = node.opType === 'Gather' ? graph.constants.get(node.input[1]!) : undefined
  if (!index || graph.constants.has(tensor) || elementCount(index.dims.map(Number)) !== 1) return undefined
  const dims = graph.dimsOf(tensor)
  const given = intAttribute(node, 'axis', 0)
  const axis = given < 0 ? given + dims.length : given
  if (axis === 0 || dims[axis] !== tokens) return undefined
  const position = intsOf(index)[0]!
  return { node, tensor, axis, position: position < 0 ? position + tokens : position }
}

/** How classifiers of decoders read the last token; see `normalise/pooled.ts`, which names the row. */
function computedPooling(node: NodeProto): Pooling | undefined {
  const [row, tensor] = node.input as [string, string]
  if (node.opType !== 'MatMul' || !row.endsWith('.pooled.selection')) return undefined
  return { node, tensor, axis: 1, position: row }
}

/** Where a graph reads one position of its tokens, if it does so once. Dimensions are known. */
export function findPooling(graph: Graph, tokens: number): Pooling | undefined {
  const found = graph.nodes.flatMap((node) => fixedPooling(graph, node, tokens) ?? computedPooling(node) ?? [])
  return found.length === 1 ? found[0] : undefined
}
