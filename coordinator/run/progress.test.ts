import { randomFillSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { RunSpec } from '../../shared/api/index.ts'
import type { RunRecord } from '../../shared/ledger/index.ts'
import { drawNoise } from '../../shared/privacy/index.ts'
import { signalToNoise } from './progress.ts'

const secret = (length: number) => randomFillSync(new Uint8Array(length))
const stage = { rounds: 10, directions: 400, clip: 1, grid: 2 ** -12, noiseMultiplier: 1.5, lossShare: 0 }

describe.each([
  ['gaussian', 'joint'],
  ['laplace', 'per-direction'],
] as const)('the signal in %s noise', (noise, clipping) => {
  const spec = { noise, clipping, stages: [stage] } as unknown as RunSpec
  const close = (signal: number): Extract<RunRecord, { type: 'close' }> => {
    const reports = ['a', 'b', 'c'].map((dataset) => ({
      dataset,
      integers: Array.from(
        drawNoise({ ...stage, mechanism: noise, clipping, count: stage.directions }, secret),
        (value) => value + signal,
      ),
    }))
    return { type: 'close', round: 3, reports } as unknown as Extract<RunRecord, { type: 'close' }>
  }

  it('is nothing where there is none, and its power over that of the noise where there is', () => {
    const many = (signal: number) =>
      Array.from({ length: 12 }, () => signalToNoise(spec, close(signal))).reduce((sum, value) => sum + value, 0) / 12
    expect(Math.abs(many(0))).toBeLessThan(0.15)
    const deviation = Math.sqrt(noise === 'laplace' ? 2 : 1) * (1.5 * 2 ** 12)
    // Three reports: the signal adds up, the noise by its variance.
    const expected = (3 * deviation) ** 2 / (3 * deviation ** 2)
    expect(Math.abs(many(deviation) / expected - 1)).toBeLessThan(0.15)
  })
})
