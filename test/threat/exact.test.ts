import { randomFillSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { composeRelease } from '../../gpu-worker/release.ts'
import { initialState, type Stage } from '../../shared/zo/index.ts'

const RELEASES = 4000
const stage: Stage = {
  ...{ rounds: 1, learningRate: 0.1, radius: 0.5, directions: 1, clip: 1, grid: 2 ** -20 },
  ...{ noiseMultiplier: 1, samplingRate: 1, prox: 0, lossShare: 0, lossBound: 2 },
}
/** A difference that no grid and no float holds exactly. */
const odd = { losses: async (lines: readonly number[]) => Float32Array.from(lines.flatMap(() => [Math.PI / 10, 0])) }

const releases = async (units: readonly (readonly number[])[], noise: 'gaussian' | 'laplace') => {
  const all: number[] = []
  for (let i = 0; i < RELEASES; i++) {
    const [value] = await composeRelease({
      method: { clipping: 'joint', noise, sides: 'two' },
      stage,
      round: 0,
      state: initialState(1),
      units,
      oracle: odd,
      random: (length) => randomFillSync(new Uint8Array(length)),
    })
    all.push(value!)
  }
  return all
}

/** Chi-square of counts against all alike. */
const chiSquare = (counts: readonly number[], total: number) =>
  counts.reduce((sum, count) => sum + (count - total / counts.length) ** 2 / (total / counts.length), 0)

describe.each(['gaussian', 'laplace'] as const)('what is released under %s noise', (noise) => {
  it('is an integer in both of two neighbouring worlds, whose low digits tell nothing', async () => {
    const worlds = { without: await releases([], noise), with: await releases([[0]], noise) }
    for (const [world, values] of Object.entries(worlds)) {
      expect(values.every(Number.isSafeInteger), world).toBe(true)
      // Floats added to a float would leave gaps in what can come out; these digits are all alike likely in both worlds.
      for (const modulus of [2, 16, 64]) {
        const counts = Array.from({ length: modulus }, () => 0)
        for (const value of values) counts[((value % modulus) + modulus) % modulus]!++
        // Mean modulus - 1, variance twice that: seven deviations.
        expect(chiSquare(counts, RELEASES), `${world} by ${modulus}`).toBeLessThan(
          modulus - 1 + 7 * Math.sqrt(2 * modulus),
        )
      }
    }
  })
})
