/** The entry of a bundle that every engine runs: a long run replayed from its coefficients, and the hashes that it leads to. */
import { advance, type ReplayPoint, type ReplaySpec, replayStart } from '../../shared/zo/replay.ts'
import { stateHash } from '../../shared/zo/state.ts'

export const ROUNDS = 10_000
const DIRECTIONS = 4

const sites = ['q', 'k', 'v', 'o'].map((name) => ({ name, inputs: 128, outputs: 128, scale: 1 }))

/** A lora space of rank 4 at four sites, with momentum, and a pull to where the stage began. */
export const LONG_RUN: ReplaySpec = {
  seed: '0123456789abcdef',
  space: { kind: 'lora', distribution: 'rademacher', rank: 4, trained: 'factor', bases: 'seeded', sites },
  stages: [
    {
      rounds: ROUNDS,
      learningRate: 1e-3,
      radius: 0.01,
      directions: DIRECTIONS,
      clip: 1,
      grid: 2 ** -20,
      noiseMultiplier: 1,
      samplingRate: 0.01,
      prox: 0.01,
      momentum: 0.9,
      lossShare: 0,
      lossBound: 10,
    },
  ],
}

/** Coefficients that follow from the round: any numbers do. */
export const coefficientsOf = (round: number): number[] =>
  Array.from(
    { length: DIRECTIONS },
    (_, k) => ((Math.imul(round * DIRECTIONS + k, 2_654_435_761) >>> 0) % 2001) / 1e4 - 0.1,
  )

/** The state after some of the rounds, and after all. */
export function answers(): Record<string, string> {
  let point: ReplayPoint = replayStart(LONG_RUN)
  const told: Record<string, string> = {}
  for (let round = 0; round < ROUNDS; round++) {
    point = advance(LONG_RUN, point, { round, coefficients: coefficientsOf(round) })
    if (round % 2500 === 0 || round === ROUNDS - 1) told[`after round ${round}`] = stateHash(point.state)
  }
  return told
}
