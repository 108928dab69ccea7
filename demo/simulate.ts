import { randomFillSync } from 'node:crypto'
import type { LossOracle } from '../gpu-worker/release.ts'
import { composeRelease, type TrainingInput } from '../gpu-worker/release.ts'
import type { Method } from '../shared/api/index.ts'
import {
  type Aggregation,
  advance,
  coefficients,
  MEAN,
  type ReplayPoint,
  replayStart,
  type Space,
  type Stage,
  totalRounds,
} from '../shared/zo/index.ts'

/** A run in one process, without coordinator or log: for comparisons only. */
export interface Simulation<Line> {
  readonly seed: string
  readonly space: Space
  readonly stages: readonly Stage[]
  /** Default: joint clip, Gaussian noise, two sides, the mean over all units. */
  readonly method?: Method & { readonly aggregation: Aggregation }
  /** Units of each dataset. */
  readonly datasets: readonly (readonly (readonly Line[])[])[]
  readonly oracle: LossOracle<Line> & { setStage?(stage: number, finished: readonly Float32Array[]): Promise<void> }
  /** What one dataset adds to a round; default: the mechanism of the product. */
  readonly release?: (input: TrainingInput<Line>) => Promise<number[]>
  readonly onRound?: (round: number) => void
}

export const secretRandom = (length: number): Uint8Array => randomFillSync(new Uint8Array(length))

const METHOD = { clipping: 'joint', noise: 'gaussian', sides: 'two', aggregation: MEAN } as const

/** Runs all rounds and returns the trained state. */
export async function simulate<Line>(simulation: Simulation<Line>): Promise<ReplayPoint['state']> {
  const { seed, space, stages, oracle, release = composeRelease, method = METHOD } = simulation
  let point = replayStart({ seed, space, stages })
  for (let round = 0; round < totalRounds(stages); round++) {
    const { stage: index } = point.state
    const stage = stages[index]!
    const reports = []
    for (const units of simulation.datasets) {
      const integers = await release({
        method,
        stage,
        round,
        state: point.state,
        units,
        oracle,
        random: secretRandom,
      })
      reports.push({ integers, units: units.length })
    }
    point = advance({ seed, space, stages }, point, {
      round,
      coefficients: coefficients(reports, stage, method.aggregation),
    })
    if (point.state.stage !== index) await oracle.setStage?.(point.state.stage, point.state.finished)
    simulation.onRound?.(round)
  }
  return point.state
}
