import { randomFillSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { composeRelease } from '../../gpu-worker/release.ts'
import { stageEvent } from '../../shared/api/index.ts'
import { initialState, type Stage } from '../../shared/zo/index.ts'
import { smallSpec } from '../rehearsal/request.ts'

const UNITS = 200
const RELEASES = 1500
const stage: Stage = {
  ...{ rounds: 1, learningRate: 0.1, radius: 0.5, directions: 1, clip: 1, grid: 2 ** -10 },
  ...{ noiseMultiplier: 1e-6, samplingRate: 0.06, prox: 0, lossShare: 0, lossBound: 2 },
}

/** Every unit adds exactly its clip, under next to no noise: the sum counts the batch. */
const batchSize = async (samplingRate: number): Promise<number> => {
  const [sum] = await composeRelease({
    method: { clipping: 'joint', noise: 'gaussian', sides: 'two' },
    stage: { ...stage, samplingRate },
    round: 0,
    state: initialState(1),
    units: Array.from({ length: UNITS }, (_, unit) => [unit]),
    oracle: { losses: async (lines) => Float32Array.from(lines.flatMap(() => [100, 0])) },
    random: (length) => randomFillSync(new Uint8Array(length)),
  })
  return sum! / 2 ** 10
}

describe('a batch', () => {
  it.each([0.06, 0.5])('is a Poisson sample at the rate %d: its size varies as a binomial does', async (q) => {
    const sizes: number[] = []
    for (let i = 0; i < RELEASES; i++) sizes.push(await batchSize(q))
    const mean = sizes.reduce((sum, size) => sum + size, 0) / RELEASES
    const variance = sizes.reduce((sum, size) => sum + (size - mean) ** 2, 0) / (RELEASES - 1)
    const [wantedMean, wantedVariance] = [q * UNITS, q * (1 - q) * UNITS]
    // Six standard errors; that of a variance is sqrt(2 / n) of it.
    expect(Math.abs(mean - wantedMean)).toBeLessThan(6 * Math.sqrt(wantedVariance / RELEASES))
    expect(Math.abs(variance / wantedVariance - 1)).toBeLessThan(6 * Math.sqrt(2 / RELEASES))
    expect(sizes.every((size) => Math.abs(size - Math.round(size)) < 0.01)).toBe(true)
  })

  it('is charged at the rate that it is drawn by', () => {
    const spec = smallSpec(['north'])
    for (const each of spec.stages) {
      const event = stageEvent(spec, each)
      expect(event).toEqual({
        mechanism: 'gaussian',
        noiseMultiplier: each.noiseMultiplier,
        samplingRate: each.samplingRate,
        neighbours: 'add-remove',
      })
    }
  })
})
