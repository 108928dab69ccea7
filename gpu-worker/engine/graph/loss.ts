import { create } from '@bufbuild/protobuf'
import { ValueInfoProtoSchema } from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'

/** Positions of a record whose logits count, int64 [P]: where one record fills a call. */
export const POSITIONS = 'sotto.positions'
/** The same as rows of a unit matrix, float32 [N, P, T]: where a call holds several records. */
export const SELECTION = 'sotto.selection'
/** Class or token at each position, int64 [N, P, 1]. */
export const TARGETS = 'sotto.targets'
/** Weight of each position's loss, float32 [N, 1, P]; 0 for the ones that only fill up. */
export const WEIGHTS = 'sotto.weights'
export const LOSSES = 'sotto.losses'
export const LOGITS = 'sotto.logits'

/**
 * Weighted cross-entropy, in the graph and in float32: logits [N, P, C] -> LOSSES [N]. With one position also the logits
 * themselves, LOGITS [N, C]. N is what the leading axis of the tail holds.
 */
export function addLoss(graph: Graph, logits: string): void {
  const [, positions, classes] = graph.dimsOf(logits) as [number, number, number]
  graph.dims.set(TARGETS, [1, positions, 1])
  graph.dims.set(WEIGHTS, [1, 1, positions])
  const logProbabilities = graph.add('LogSoftmax', [logits], {
    name: 'sotto.log_probabilities',
    dims: [1, positions, classes],
    attributes: { axis: -1 },
  })
  const chosen = graph.add('GatherElements', [logProbabilities, TARGETS], {
    name: 'sotto.log_probability',
    dims: [1, positions, 1],
    attributes: { axis: 2 },
  })
  const negated = graph.add('Neg', [chosen], { name: 'sotto.cross_entropies', dims: [1, positions, 1] })
  const sum = graph.add('MatMul', [WEIGHTS, negated], { name: 'sotto.weighted', dims: [1, 1, 1] })
  graph.add('Reshape', [sum, graph.addInts('sotto.losses_shape', [-1])], { name: LOSSES, dims: [1] })
  const outputs = [LOSSES]
  if (positions === 1) {
    const shape = graph.addInts('sotto.logits_shape', [-1, classes])
    outputs.push(graph.add('Reshape', [logits, shape], { name: LOGITS, dims: [1, classes] }))
  }
  graph.outputs = outputs.map((name) => create(ValueInfoProtoSchema, { name }))
}
