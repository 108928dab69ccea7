import { secretRandom } from '../../../demo/simulate.ts'
import { composeRelease, type LossOracle } from '../../../gpu-worker/release.ts'
import {
  advance,
  coefficients,
  direction,
  type FullSpace,
  groupAt,
  groupCount,
  perturb,
  perturbationStep,
  replayStart,
  type Stage,
} from '../../../shared/zo/index.ts'

/**
 * f(theta) = |theta - 1 / sqrt(d)|^2 / 2 in d dimensions, the same for each of N units: theta starts at 0, at distance 1, and what is
 * known of the mechanism can be written down. A round's estimate is (1/K) sum_k (g z_k) z_k + n, where n has variance
 * s^2 = (sigma c / N)^2 in each coordinate for any K where each difference is clipped by itself.
 */
export interface Quadratic {
  readonly dimension: number
  readonly directions: number
  readonly learningRate: number
  readonly sigma: number
  readonly rounds: number
}

const UNITS = 50
/** No difference reaches it: |g| is at most about 1. */
const CLIP = 8
const METHOD = { clipping: 'per-direction', noise: 'gaussian', sides: 'two' } as const
/** The noise of a stage is above 0: this much is nothing. */
const NO_SIGMA = 1e-6

const spaceOf = (dimension: number): FullSpace => ({
  kind: 'full',
  directions: { kind: 'dense' },
  tensors: [{ name: 'theta', shape: [dimension] }],
})

/** Variance of the noise in a coordinate of the estimate. */
export const noiseVariance = (sigma: number): number => ((sigma * CLIP) / UNITS) ** 2

/** |theta - optimum|^2. */
export const squaredError = (theta: Float32Array): number =>
  theta.reduce((sum, value) => sum + (value - 1 / Math.sqrt(theta.length)) ** 2, 0)

/** Expected squared error after one more round. */
export function expectedNext({ dimension, directions, learningRate, sigma }: Quadratic, error: number): number {
  const second = 1 + (dimension - 1) / directions
  const kept = 1 - 2 * learningRate + learningRate ** 2 * second
  return kept * error + learningRate ** 2 * dimension * noiseVariance(sigma)
}

/** Squared error at which expectation stands still. */
export function expectedFloor({ dimension, directions, learningRate, sigma }: Quadratic): number {
  const second = 1 + (dimension - 1) / directions
  return (learningRate * dimension * noiseVariance(sigma)) / (2 - learningRate * second)
}

/** The losses of all units, which are the same function. */
const oracleOf = (seed: string, space: FullSpace): LossOracle<null> => ({
  losses: async (lines, at) => {
    const groups = groupCount(at)
    const losses = Float32Array.from({ length: groups }, (_, group) => {
      const { k, sign } = groupAt(group, at.sides)
      const z = direction(seed, { round: at.round, k }, space)
      // The difference of two sides is the gradient for any radius, but for rounding: float32 wants one near 1.
      return squaredError(perturb(at.center, z, sign * perturbationStep(at.radius, space, z))) / 2
    })
    const all = new Float32Array(lines.length * groups)
    lines.forEach((_, line) => {
      all.set(losses, line * groups)
    })
    return all
  },
})

/** Squared error at the start and after each round: the mechanism and the update of the product. */
export async function errorsOf(quadratic: Quadratic, seed: string): Promise<number[]> {
  const { dimension, directions, learningRate, rounds, sigma } = quadratic
  const space = spaceOf(dimension)
  const stage: Stage = {
    ...{ rounds, directions, learningRate, radius: 0.5, clip: CLIP, grid: CLIP / 2 ** 20 },
    ...{ noiseMultiplier: Math.max(sigma, NO_SIGMA), samplingRate: 1, prox: 0, lossShare: 0, lossBound: 2 },
  }
  const units = Array.from({ length: UNITS }, () => [null])
  const spec = { seed, space, stages: [stage] }
  const oracle = oracleOf(seed, space)
  let point = replayStart(spec)
  const errors = [squaredError(point.state.current)]
  for (let round = 0; round < rounds; round++) {
    const at = { method: METHOD, stage, round, state: point.state }
    const integers = await composeRelease({ ...at, units, oracle, random: secretRandom })
    point = advance(spec, point, { round, coefficients: coefficients([{ integers, units: UNITS }], stage) })
    errors.push(squaredError(point.state.current))
  }
  return errors
}
