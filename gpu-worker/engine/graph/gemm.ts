import type { NodeProto } from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'

/**
 * Product and bias in one kernel. The runtime joins a MatMul with the Add of a bias only where the activations have two
 * dimensions, which exports never have; a Reshape costs nothing, a pass over the outputs does.
 */

/** Operand of a Gemm that a MatMul's second operand is: the matrix, turned or not. */
function matrixOperand(
  graph: Graph,
  producers: Map<string, NodeProto>,
  name: string,
): { name: string; turned: boolean } {
  const producer = producers.get(name)
  const isTurned = producer?.opType === 'Transpose' && graph.dimsOf(producer.input[0]!).length === 2
  return isTurned ? { name: producer.input[0]!, turned: true } : { name, turned: false }
}

/**
 * Rewrites products [N, T, K] x [K, O] + [O] as Gemm.
 * @param matrices tensors that may stand for a matrix or a bias besides constants: trained weights.
 */
export function joinBiases(graph: Graph, matrices: ReadonlySet<string>): void {
  const producers = graph.producers()
  const consumers = graph.consumers()
  const outputs = new Set(graph.outputs.map(({ name }) => name))
  const isFixed = (name: string, rank: number): boolean =>
    (graph.constants.has(name) || matrices.has(name)) && graph.dimsOf(name).length === rank
  for (const node of [...graph.nodes]) {
    if (node.opType !== 'MatMul') continue
    const [x, w] = node.input as [string, string]
    const made = node.output[0]!
    const matrix = matrixOperand(graph, producers, w)
    const readers = consumers.get(made) ?? []
    const [add] = readers
    if (!isFixed(matrix.name, 2) || graph.dimsOf(x).length !== 3) continue
    if (readers.length !== 1 || add?.opType !== 'Add' || outputs.has(made)) continue
    const bias = add.input.find((input) => input !== made)
    if (bias === undefined || !isFixed(bias, 1)) continue
    const [, tokens, inputs] = graph.dimsOf(x) as [number, number, number]
    const columns = graph.dimsOf(made).at(-1)!
    if (graph.dimsOf(bias)[0] !== columns) continue
    const sum = add.output[0]!
    const rows = graph.add('Reshape', [x, graph.addInts(`${sum}.rows_shape`, [-1, inputs])], {
      name: `${sum}.rows`,
      dims: [tokens, inputs],
    })
    const product = graph.add('Gemm', [rows, matrix.name, bias], {
      name: `${sum}.gemm`,
      dims: [tokens, columns],
      attributes: { transB: matrix.turned ? 1 : 0 },
    })
    // Who looks for the product by name still finds it.
    graph.nodes.at(-1)!.name = node.name
    const shape = graph.addInts(`${sum}.gemm_shape`, [-1, tokens, columns])
    add.opType = 'Reshape'
    add.input = [product, shape]
    add.attribute = []
  }
  graph.tidy()
}
