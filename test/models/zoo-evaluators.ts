import { CALL_LIMITS } from '../../gpu-worker/engine/device/index.ts'
import { Evaluator } from '../../gpu-worker/engine/evaluate/evaluator.ts'
import type { EvaluatorSetup, StageSpace } from '../../gpu-worker/engine/evaluate/setup.ts'
import type { Runtime } from '../../gpu-worker/engine/ort.ts'
import type { ZooModel, ZooRecord } from './zoo.ts'

/** Public seed of the runs that the models of the zoo are trained in. */
export const SEED = '0123456789abcdef'

const encoded = ({ ids, bucket, positions, targets, weights }: ZooRecord) => ({
  ids: Int32Array.from(ids),
  bucket,
  positions: Int32Array.from(positions),
  targets: Int32Array.from(targets),
  weights: Float32Array.from(weights),
})

/** What a worker evaluates a model of the zoo with, in the spaces of a run's stages. */
export function setupOf(model: ZooModel, stages: readonly [StageSpace, ...StageSpace[]]): EvaluatorSetup {
  const positions = new Map<number, number>()
  for (const { bucket, positions: own } of model.expected.records)
    positions.set(bucket, Math.max(own.length, positions.get(bucket) ?? 0))
  const [first, ...later] = stages
  return {
    modelDir: model.dir,
    variant: undefined,
    outputs: model.task === 'sequence-classification' ? { kind: 'classes', count: 3 } : { kind: 'vocabulary' },
    positions,
    ...first,
    later,
    seed: SEED,
    padToken: model.expected.pad,
    cacheBytes: 0,
    device: 'cpu',
    keepsHalves: false,
    limits: { call: CALL_LIMITS.cpu, buckets: 4 },
  }
}

/** Losses of the model's records at the end of the stages, each at its trained vector. */
export async function workerLosses(
  runtime: Runtime,
  model: ZooModel,
  stages: readonly (StageSpace & { readonly trained: Float32Array })[],
): Promise<number[]> {
  const evaluator = new Evaluator(runtime, setupOf(model, stages as unknown as [StageSpace, ...StageSpace[]]))
  try {
    const vectors = stages.map(({ trained }) => trained)
    if (vectors.length > 1) await evaluator.setStage(vectors.length - 1, vectors.slice(0, -1))
    const at = { center: vectors.at(-1)!, count: 1, at: () => ({ k: 0, sign: 0 as const }), round: 0, radius: 1 }
    return [...(await evaluator.run(model.expected.records.map(encoded), at, 'losses'))]
  } finally {
    await evaluator.release()
  }
}
