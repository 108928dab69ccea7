import { type Graph, intAttribute } from '../graph/graph.ts'
import { intsOf } from '../graph/tensor.ts'
import { TensorProto_DataType as DataType, type NodeProto } from '../onnx/onnx_pb.ts'
import { operatorOf } from './node.ts'

/**
 * Decoders that classify read the logits of the last token that is no padding: `logits[arange(records), last]`,
 * exported as a GatherND whose first coordinate counts the records. For one record that is the constant 0, which would
 * be wrong for a second one. Here the row is picked by a product with a row of the unit matrix, which is exact, and
 * each record's own.
 */

/** The position that differs by record, where the coordinates are (0, position). */
function positionOf(graph: Graph, producers: ReadonlyMap<string, NodeProto>, node: NodeProto): string | undefined {
  const coordinates = producers.get(node.input[1]!)
  if (coordinates?.opType !== 'Concat' || coordinates.input.length !== 2) return undefined
  const [record, position] = coordinates.input as [string, string]
  const counter = graph.constants.get(record)
  const isOne = graph.dims.get(position)?.every((size) => size === 1) ?? false
  return counter && isOne && intsOf(counter).every((value) => value === 0) ? position : undefined
}

/** A row [1, 1, T] of the unit matrix: 1 at the position, counted from the end where it is negative. */
function unitRow(graph: Graph, position: string, { name, tokens }: { name: string; tokens: number }): string {
  const size = graph.addInts(`${name}.size`, [tokens])
  const whole = graph.add('Mod', [position, size], { name: `${name}.position`, dims: [1, 1] })
  const range = graph.addInts(
    `${name}.range`,
    Array.from({ length: tokens }, (_, at) => at),
  )
  const isIt = graph.add('Equal', [whole, range], { name: `${name}.is_it`, dims: [1, tokens] })
  const attributes = { to: DataType.FLOAT }
  const row = graph.add('Cast', [isIt], { name: `${name}.row`, dims: [1, tokens], attributes })
  const axes = graph.addInts(`${name}.axes`, [1])
  return graph.add('Unsqueeze', [row, axes], { name: `${name}.selection`, dims: [1, 1, tokens] })
}

export function selectPooled(graph: Graph): void {
  const producers = graph.producers()
  for (const node of [...graph.nodes]) {
    if (operatorOf(node) !== 'GatherND' || intAttribute(node, 'batch_dims', 0) !== 0) continue
    const [data] = node.input as [string]
    const dims = graph.dims.get(data)
    const position = positionOf(graph, producers, node)
    if (dims?.length !== 3 || dims[0] !== 1 || position === undefined || graph.dims.get(position)?.length !== 2)
      continue
    const [, tokens, width] = dims as [number, number, number]
    const name = `${node.output[0]}.pooled`
    const row = unitRow(graph, position, { name, tokens })
    const picked = graph.add('MatMul', [row, data], { name: `${name}.rows`, dims: [1, 1, width] })
    node.opType = 'Reshape'
    node.attribute = []
    node.input = [picked, graph.addInts(`${name}.sizes`, graph.dimsOf(node.output[0]!))]
  }
  graph.tidy()
}
