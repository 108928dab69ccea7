import type { EncodedRecord, Engine } from '../../gpu-worker/engine/index.ts'
import { applyUpdate, groupCount, initialState, type Space, type TrainedState } from '../../shared/zo/index.ts'

/** Plain zeroth-order steps over some records, without clip or noise: whether an engine's losses lead downhill. */
export interface Descent {
  readonly seed: string
  readonly space: Space
  readonly rounds: number
  readonly directions: number
  readonly radius: number
  readonly learningRate: number
}

const mean = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((sum, value) => sum + value, 0) / values.length

/** @returns mean losses before and after, and the state. */
export async function descend(
  engine: Engine,
  records: readonly EncodedRecord[],
  descent: Descent,
): Promise<{ before: number; after: number; state: TrainedState }> {
  const { rounds, directions, radius, learningRate } = descent
  const lossAt = async (center: Float32Array): Promise<number> =>
    mean(await engine.losses(records, { center, round: 0, directions: 0, radius, sides: 'one' }))
  let state = initialState(engine.dimension)
  const before = await lossAt(state.current)
  for (let round = 0; round < rounds; round++) {
    const at = { center: state.current, round, directions, radius, sides: 'two' } as const
    const losses = await engine.losses(records, at)
    const groups = groupCount(at)
    const coefficients = Array.from({ length: directions }, (_, k) => {
      const differences = records.map((_, n) => losses[n * groups + 2 * k]! - losses[n * groups + 2 * k + 1]!)
      return mean(differences) / (2 * radius * directions)
    })
    state = applyUpdate(state, round, { coefficients, learningRate, prox: 0 }, descent)
  }
  return { before, after: await lossAt(state.current), state }
}
