import { randomFillSync } from 'node:crypto'
import type { LossOracle } from '../gpu-worker/release.ts'
import { composeRelease, type ReleaseInput } from '../gpu-worker/release.ts'
import {
  advance,
  coefficients,
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
  /** Units of each dataset. */
  readonly datasets: readonly (readonly (readonly Line[])[])[]
  readonly oracle: LossOracle<Line> & { setStage?(stage: number, finished: readonly Float32Array[]): Promise<void> }
  /** What one dataset adds to a round; default: the mechanism of the product. */
  readonly release?: (input: ReleaseInput<Line>) => Promise<number[]>
  readonly onRound?: (round: number) => void
}

export const secretRandom = (length: number): Uint8Array => randomFillSync(new Uint8Array(length))

/** Runs all rounds and returns the trained state. */
export async function simulate<Line>(simulation: Simulation<Line>): Promise<ReplayPoint['state']> {
  const { seed, space, stages, oracle, release = composeRelease } = simulation
  let point = replayStart({ seed, space, stages })
  for (let round = 0; round < totalRounds(stages); round++) {
    const { stage: index } = point.state
    const stage = stages[index]!
    const reports = []
    for (const units of simulation.datasets) {
      const integers = await release({
        stage,
        round,
        seed,
        space,
        state: point.state,
        units,
        oracle,
        random: secretRandom,
      })
      reports.push({ integers, units: units.length })
    }
    point = advance({ seed, space, stages }, point, { round, coefficients: coefficients(reports, stage) })
    if (point.state.stage !== index) await oracle.setStage?.(point.state.stage, point.state.finished)
    simulation.onRound?.(round)
  }
  return point.state
}
