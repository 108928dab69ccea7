import { randomFillSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { composeRelease } from '../../gpu-worker/release.ts'
import type { RandomBytes } from '../../shared/privacy/index.ts'
import { initialState, type Stage } from '../../shared/zo/index.ts'

const stage: Stage = {
  ...{ rounds: 1, learningRate: 0.1, radius: 0.5, directions: 40, clip: 1, grid: 2 ** -20 },
  ...{ noiseMultiplier: 1, samplingRate: 0.5, prox: 0, lossShare: 0, lossBound: 2 },
}
const fresh: RandomBytes = (length) => randomFillSync(new Uint8Array(length))

/** A generator that is good for some calls. */
const failsAfter = (calls: number, failing: RandomBytes): RandomBytes => {
  let called = 0
  return (length) => (called++ < calls ? fresh(length) : failing(length))
}

const kept = new Uint8Array(4096).fill(7)
const BROKEN: Record<string, RandomBytes> = {
  'all zeros': (length) => new Uint8Array(length),
  'the same bytes again': (length) => kept.slice(0, length),
  'too few bytes': (length) => fresh(length - 1),
  'nothing but an error': () => {
    throw new Error('no entropy')
  },
}

describe.each(Object.entries(BROKEN))('a generator that gives %s', (_, broken) => {
  it.each([0, 1, 2])('lets nothing leave the worker, from call %i on', async (calls) => {
    let asked = 0
    const release = composeRelease({
      method: { clipping: 'joint', noise: 'gaussian', sides: 'two' },
      stage,
      round: 0,
      state: initialState(1),
      units: Array.from({ length: 500 }, (_, unit) => [unit]),
      oracle: {
        losses: async (lines, { directions }) => {
          asked++
          return new Float32Array(lines.length * directions * 2)
        },
      },
      random: failsAfter(calls, broken),
    })
    await expect(release).rejects.toMatchObject({ code: 'rng_failure' })
    expect(asked, 'the data were not even looked at').toBe(0)
  })
})
