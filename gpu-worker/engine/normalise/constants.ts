import { create } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import type { Graph } from '../graph/graph.ts'
import { floatTensor, intTensor } from '../graph/tensor.ts'
import type { AttributeProto, TensorProto } from '../onnx/onnx_pb.ts'
import { TensorProtoSchema } from '../onnx/onnx_pb.ts'
import { labelOf } from './node.ts'

/** The tensor that an attribute of a Constant node stands for; undefined for texts and sparse tensors. */
function tensorOf(name: string, attribute: AttributeProto | undefined): TensorProto | undefined {
  switch (attribute?.name) {
    case 'value':
      return attribute.t && create(TensorProtoSchema, { ...attribute.t, name })
    case 'value_float':
      return floatTensor(name, [], Float32Array.of(attribute.f))
    case 'value_floats':
      return floatTensor(name, [attribute.floats.length], Float32Array.from(attribute.floats))
    case 'value_int':
      return intTensor(name, [Number(attribute.i)], [])
    case 'value_ints':
      return intTensor(name, attribute.ints.map(Number))
    default:
      return undefined
  }
}

/** Constant nodes become constants of the graph. @throws EngineError naming the node. */
export function withoutConstantNodes(graph: Graph): void {
  graph.nodes = graph.nodes.filter((node) => {
    if (node.opType !== 'Constant') return true
    const [output] = node.output as [string]
    const tensor = tensorOf(output, node.attribute[0])
    if (!tensor) throw new EngineError('unsupported_graph', `${labelOf(node)} holds no tensor of numbers`)
    graph.constants.set(output, tensor)
    return false
  })
}
