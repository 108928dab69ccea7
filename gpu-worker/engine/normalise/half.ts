import { create } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import { type Graph, intAttribute } from '../graph/graph.ts'
import { dimsOf, elementCount, floatsOf, floatTensor } from '../graph/tensor.ts'
import {
  TensorProto_DataType as DataType,
  type NodeProto,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from '../onnx/onnx_pb.ts'
import { makeNode, operatorOf, setAttribute } from './node.ts'

/**
 * Half precision: the file keeps its float16 weights, everything is computed in float32. Differences of losses are what
 * the method lives on, and float16 has not the digits for them.
 */

/** Tensors of up to so many numbers are widened at once; larger ones stay in their file behind a Cast. */
const WIDENED_AT_ONCE = 2 ** 16

const isHalf = (dataType: number): boolean => dataType === DataType.FLOAT16

/** Rows of a table are widened after they were picked, so that the table is never there in float32. */
const isPicking = (node: NodeProto, table: string): boolean => operatorOf(node) === 'Gather' && node.input[0] === table

/** The constant stays as it is; who computes with it reads it through a Cast, which the runtime resolves once. */
function widenBehindCast(graph: Graph, name: string): void {
  const wide = `${name}.widened`
  for (const node of graph.nodes.filter(({ input }) => input.includes(name))) {
    if (isPicking(node, name)) {
      const picked = node.output[0]!
      node.output = [`${picked}.half`]
      graph.nodes.splice(graph.nodes.indexOf(node) + 1, 0, castNode(node.output[0]!, picked))
    } else {
      node.input = node.input.map((input) => (input === name ? wide : input))
    }
  }
  if (graph.nodes.some(({ input }) => input.includes(wide))) graph.nodes.unshift(castNode(name, wide))
}

const castNode = (from: string, to: string): NodeProto =>
  makeNode('Cast', [from], [to], { name: to, attributes: { to: DataType.FLOAT } })

function widenConstants(graph: Graph): void {
  for (const [name, tensor] of [...graph.constants]) {
    if (!isHalf(tensor.dataType)) continue
    const dims = dimsOf(tensor)
    if (elementCount(dims) > WIDENED_AT_ONCE) widenBehindCast(graph, name)
    else graph.constants.set(name, floatTensor(name, dims, floatsOf(tensor)))
  }
}

/** Nodes that make float16 by an attribute make float32. */
function widenNodes(graph: Graph): void {
  for (const node of graph.nodes) {
    if (operatorOf(node) === 'Cast' && isHalf(intAttribute(node, 'to', 0))) setAttribute(node, 'to', DataType.FLOAT)
    for (const attribute of node.attribute)
      if (attribute.t && isHalf(attribute.t.dataType))
        attribute.t = create(TensorProtoSchema, {
          ...floatTensor(attribute.t.name, dimsOf(attribute.t), floatsOf(attribute.t)),
        })
  }
}

/** Rewrites a float16 graph to float32. A graph without float16 is left as it is. */
export function widenHalves(graph: Graph): void {
  for (const { dataType, name } of graph.constants.values())
    if (dataType === DataType.BFLOAT16)
      throw new EngineError('unsupported_graph', `constant ${name} is bfloat16: export the model in float32 or float16`)
  widenConstants(graph)
  widenNodes(graph)
  for (const list of [graph.inputs, graph.outputs])
    list.forEach((info, at) => {
      const value = info.type?.value
      if (value?.case !== 'tensorType' || !isHalf(value.value.elemType)) return
      const type = {
        ...info.type!,
        value: { case: 'tensorType' as const, value: { ...value.value, elemType: DataType.FLOAT } },
      }
      list[at] = create(ValueInfoProtoSchema, { ...info, type })
    })
}
