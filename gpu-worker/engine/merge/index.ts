import { EngineError } from '../error.ts'
import { readGraph, type Variant } from '../graph/file.ts'
import { dimsOf, floatsOf } from '../graph/tensor.ts'
import { normalise } from '../normalise/index.ts'
import { TensorProto_DataType as DataType } from '../onnx/onnx_pb.ts'
import type { TrainedAdapter } from './adapter.ts'
import { mergedFactors, type NewValues } from './factors.ts'
import { mergedDeltas, mergedKept } from './weights.ts'

export type { TrainedAdapter } from './adapter.ts'
export { turned } from './factors.ts'
export { writeMerged } from './write.ts'

/** A weight that an adapter changes. */
export interface MergedWeight {
  /** As the file names it. */
  readonly name: string
  readonly shape: readonly number[]
  /** As the file has them, float16 widened. */
  readonly base: Float32Array
  /** With all that the stages add. */
  readonly merged: Float32Array
  readonly isHalf: boolean
}

/**
 * The weights of a model with a trained adapter added to them: the sums that a worker makes.
 * @throws EngineError `unsupported_graph` where something can not be merged, naming it and what to do; `unknown_site`,
 *   `site_mismatch`, `wrong_mask` where the adapter is not of this model
 */
export function mergedWeights(modelDir: string, adapter: TrainedAdapter, variant?: Variant): MergedWeight[] {
  const file = readGraph(modelDir, variant)
  const graph = readGraph(modelDir, variant)
  normalise(graph)
  const values = valuesOf()
  return [...values].map(([name, merged]) => {
    const constant = file.constants.get(name)
    const isFloat = constant?.dataType === DataType.FLOAT || constant?.dataType === DataType.FLOAT16
    if (!constant || !isFloat)
      throw new EngineError(
        'unsupported_graph',
        `the weight ${name} is no tensor of its own in the file: export the model without fused operators`,
      )
    const base = floatsOf(constant)
    if (base.length !== merged.length)
      throw new EngineError('unsupported_graph', `the weight ${name} lies otherwise in the file than it is used`)
    return { name, shape: dimsOf(constant), base, merged, isHalf: constant.dataType === DataType.FLOAT16 }
  })

  function valuesOf(): NewValues {
    switch (adapter.metadata.format) {
      case 'sotto-lora-v1':
      case 'sotto-lora-core-v1':
        return mergedFactors(graph, adapter)
      case 'sotto-delta-v1':
        return mergedDeltas(graph, adapter)
      case 'sotto-pruned-v1':
        return mergedKept(graph, modelDir, adapter)
      case 'sotto-steering-v1':
        throw new EngineError(
          'unsupported_graph',
          'a steering vector is added to an activation as often as one likes, and to no weight: use the adapter',
        )
      default:
        throw new EngineError('malformed_model', 'the adapter names no format that is known')
    }
  }
}
