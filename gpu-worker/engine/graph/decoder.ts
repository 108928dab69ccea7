import { create } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import { type NodeProto, ValueInfoProtoSchema } from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'
import { matrixOf, type Product, productOf } from './products.ts'
import { floatsOf } from './tensor.ts'

/** The vocabulary projection: logits [B, T, V] = h W (+ b). */
export interface Decoder {
  readonly product: Product
  /** Node that adds the bias, where there is one. */
  readonly add: NodeProto | undefined
}

/** Name of the class logits once the decoder is restricted: [1, T, labels]. */
export const CLASS_LOGITS = 'sotto.class_logits'

/** Finds the decoder behind the output `logits`. @throws EngineError naming the node that is none. */
export function findDecoder(graph: Graph): Decoder {
  const output = graph.outputs.find(({ name }) => name === 'logits') ?? graph.outputs[0]
  const producers = graph.producers()
  const last = output && producers.get(output.name)
  if (!last) throw new EngineError('unsupported_graph', 'the graph has no output made by a node')
  const add = last.opType === 'Add' && last.input.some((input) => graph.constants.has(input)) ? last : undefined
  const source = add ? producers.get(add.input.find((input) => !graph.constants.has(input)) ?? '') : last
  const product = source && productOf(graph, producers, source)
  if (product?.node.opType !== 'MatMul')
    throw new EngineError('unsupported_graph', `node ${last.name} (${last.opType}) is no vocabulary projection`)
  return { product, add }
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

/** Replaces the vocabulary projection by the columns of the label words; the graph's only output becomes CLASS_LOGITS. */
export function restrictDecoder(graph: Graph, labelTokens: readonly number[]): void {
  const { product, add } = findDecoder(graph)
  const bias = add && graph.constants.get(add.input.find((input) => graph.constants.has(input))!)!
  const columns = selectColumns(matrixOf(product), product.outputs, labelTokens)
  const weight = graph.addFloats('sotto.decoder.weight', [product.inputs, labelTokens.length], columns)
  const name = bias ? 'sotto.decoder.product' : CLASS_LOGITS
  const logits = graph.add('MatMul', [product.input, weight], { name, dims: [] })
  if (bias) {
    const chosen = selectColumns(floatsOf(bias), product.outputs, labelTokens)
    const offset = graph.addFloats('sotto.decoder.bias', [labelTokens.length], chosen)
    graph.add('Add', [logits, offset], { name: CLASS_LOGITS, dims: [] })
  }
  graph.outputs = [create(ValueInfoProtoSchema, { name: CLASS_LOGITS })]
  graph.tidy()
}
