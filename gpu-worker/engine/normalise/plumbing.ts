import { EngineError } from '../error.ts'
import { type Graph, intAttribute } from '../graph/graph.ts'
import { rawBufferOf } from '../graph/tensor.ts'
import type { NodeProto } from '../onnx/onnx_pb.ts'
import { elementTypes } from './element-types.ts'
import { dropNodes, inputAt, labelOf, operatorOf } from './node.ts'

/** Whether a Dropout was exported in training mode: it would draw noise that no replay knows. */
function isTraining(graph: Graph, node: NodeProto): boolean {
  const mode = inputAt(node, 2)
  if (mode === undefined) return false
  const constant = graph.constants.get(mode)
  if (!constant) return true
  if (constant.int32Data.length > 0) return constant.int32Data[0] !== 0
  return new Uint8Array(rawBufferOf(constant)).some((byte) => byte !== 0)
}

function isIdleDropout(graph: Graph, node: NodeProto): boolean {
  if (isTraining(graph, node))
    throw new EngineError('coupled_batch', `${labelOf(node)} is in training mode: export the model after model.eval()`)
  return true
}

/** Nodes that hand on what they are given: Identity, Dropout outside training, a Cast to the type that is there. */
export function withoutIdleNodes(graph: Graph): void {
  const types = elementTypes(graph)
  dropNodes(graph, (node) => {
    switch (operatorOf(node)) {
      case 'Identity':
        return true
      case 'Dropout':
        return isIdleDropout(graph, node)
      case 'Cast':
        return types.get(node.input[0]!) === intAttribute(node, 'to', 0)
      default:
        return false
    }
  })
}
