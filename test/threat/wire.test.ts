import { describe, expect, it } from 'vitest'
import { composeRelease, type LossOracle } from '../../gpu-worker/release.ts'
import type { Method } from '../../shared/api/index.ts'
import type { RandomBytes } from '../../shared/privacy/index.ts'
import { initialState, type Stage } from '../../shared/zo/index.ts'
import { cipherStream } from '../privacy/fixed-stream.ts'

/**
 * An attacker who knows everything but whether one unit is in the data, and sees the integers that a worker releases. The best that it
 * can do, guess by the likelihood, is wrong with a probability that the claimed mechanism fixes: a worker that adds less noise than
 * it says is told apart more often. Fixed seeds: the verdict of a commit stands.
 */

const RELEASES = 12_000
/** Standard errors of the observed rate that chance may take. */
const CHANCE = 4

const stage: Stage = {
  ...{ rounds: 1, learningRate: 0.1, radius: 0.5, directions: 1, clip: 1, grid: 2 ** -20 },
  ...{ noiseMultiplier: 1, samplingRate: 1, prox: 0, lossShare: 0, lossBound: 2 },
}
/** Losses that differ by more than the clip in every direction. */
const saturated: LossOracle<number> = {
  losses: async (lines, { directions }) =>
    Float32Array.from(lines.flatMap(() => Array.from({ length: directions }, () => [100, 0]).flat())),
}

interface World {
  readonly method: Method
  readonly stage: Stage
  /** Least sum of both error rates of any attack on one release of what is claimed. */
  readonly errors: number
}

/** P(standard normal <= x), by its series: to more digits than the test can see. */
function normalBelow(x: number): number {
  let [sum, term] = [x, x]
  for (let n = 1; Math.abs(term) > 1e-17; n++) {
    term *= -(x * x) / (2 * n)
    sum += term / (2 * n + 1)
  }
  return 0.5 + sum / Math.sqrt(2 * Math.PI)
}
const gaussianErrors = (noise: number) => 2 * normalBelow(-0.5 / noise)

const WORLDS: Record<string, World> = {
  'Gaussian noise': {
    method: { clipping: 'joint', noise: 'gaussian', sides: 'two' },
    stage,
    errors: gaussianErrors(1),
  },
  'Gaussian noise for four directions clipped one by one': {
    method: { clipping: 'per-direction', noise: 'gaussian', sides: 'two' },
    stage: { ...stage, directions: 4, noiseMultiplier: 0.7 },
    errors: gaussianErrors(0.7),
  },
  'Gaussian noise for four directions clipped together': {
    method: { clipping: 'joint', noise: 'gaussian', sides: 'two' },
    stage: { ...stage, directions: 4, noiseMultiplier: 0.7 },
    errors: gaussianErrors(0.7),
  },
  'Gaussian noise on a Poisson sample': {
    method: { clipping: 'joint', noise: 'gaussian', sides: 'two' },
    stage: { ...stage, noiseMultiplier: 0.5, samplingRate: 0.7 },
    errors: 1 - 0.7 * (1 - gaussianErrors(0.5)),
  },
  'Laplace noise': {
    method: { clipping: 'joint', noise: 'laplace', sides: 'two' },
    stage: { ...stage, noiseMultiplier: 0.8 },
    errors: Math.exp(-0.5 / 0.8),
  },
}

/** What the attacker makes of a release: how far it lies towards what the unit would add. */
async function guesses(
  { method }: World,
  used: Stage,
  units: readonly (readonly number[])[],
  random: RandomBytes,
): Promise<Float64Array> {
  const state = initialState(1)
  const scores = new Float64Array(RELEASES)
  for (let i = 0; i < RELEASES; i++) {
    const integers = await composeRelease({ method, stage: used, round: 0, state, units, oracle: saturated, random })
    scores[i] = integers.slice(0, used.directions).reduce((sum, n) => sum + n, 0)
  }
  return scores
}

/** Sum of both error rates of the attack, where the worker's noise is `scale` times what it says. */
async function observedErrors(world: World, scale: number): Promise<number> {
  const used = { ...world.stage, noiseMultiplier: world.stage.noiseMultiplier * scale }
  const unit = [[0]]
  const [out, inside] = [
    await guesses(world, used, [], cipherStream(1)),
    await guesses(world, used, unit, cipherStream(2)),
  ]
  // Halfway: what the unit adds without noise is that of a release with almost none.
  const silent = { ...used, noiseMultiplier: 1e-6, samplingRate: 1 }
  const added = await composeRelease({
    method: world.method,
    stage: silent,
    round: 0,
    state: initialState(1),
    units: unit,
    oracle: saturated,
    random: cipherStream(3),
  })
  const half = added.slice(0, used.directions).reduce((sum, n) => sum + n, 0) / 2
  const share = (scores: Float64Array, isWrong: (score: number) => boolean) => scores.filter(isWrong).length / RELEASES
  return share(out, (score) => score > half) + share(inside, (score) => score <= half)
}

const errorOf = (errors: number) => Math.sqrt((errors / 2) * (1 - errors / 2) * (2 / RELEASES))

describe.each(Object.entries(WORLDS))('the two worlds of %s', (_, world) => {
  it('are told apart as often as the claimed noise allows', async () => {
    const observed = await observedErrors(world, 1)
    expect(Math.abs(observed - world.errors)).toBeLessThan(CHANCE * errorOf(world.errors))
  })

  it('are told apart too often where the noise is a tenth less', async () => {
    const observed = await observedErrors(world, 0.9)
    expect(world.errors - observed).toBeGreaterThan(CHANCE * errorOf(world.errors))
  })
})
