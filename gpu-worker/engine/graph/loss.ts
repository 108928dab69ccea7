import { create } from '@bufbuild/protobuf'
import { ValueInfoProtoSchema } from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'

/** Names of the tail's own inputs and outputs. */
export const POSITION = 'sotto.mask_position'
export const LABEL = 'sotto.label'
export const LOSSES = 'sotto.losses'
export const LOGITS = 'sotto.logits'

/**
 * Cross-entropy over the label words, in the graph and in float32: class logits [G, 1, labels] -> LOSSES [G], and the
 * logits themselves as LOGITS [G, labels].
 */
export function addLoss(graph: Graph, classLogits: string): void {
  const labels = graph.dimsOf(classLogits).at(-1)!
  const logProbabilities = graph.add('LogSoftmax', [classLogits], {
    name: 'sotto.log_probabilities',
    dims: [1, 1, labels],
    attributes: { axis: -1 },
  })
  const chosen = graph.add('Gather', [logProbabilities, LABEL], {
    name: 'sotto.log_probability',
    dims: [1, 1, 1],
    attributes: { axis: 2 },
  })
  const negated = graph.add('Neg', [chosen], { name: 'sotto.cross_entropy', dims: [1, 1, 1] })
  graph.add('Reshape', [negated, graph.addInts('sotto.losses_shape', [-1])], { name: LOSSES, dims: [1] })
  graph.add('Reshape', [classLogits, graph.addInts('sotto.logits_shape', [-1, labels])], {
    name: LOGITS,
    dims: [1, labels],
  })
  graph.outputs = [LOSSES, LOGITS].map((name) => create(ValueInfoProtoSchema, { name }))
}
