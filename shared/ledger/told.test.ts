import { describe, expect, it } from 'vitest'
import type { RunSpec } from '../api/spec.ts'
import { toldOf } from './told.ts'

const stage = {
  ...{ rounds: 1, learningRate: 0.1, radius: 0.01, directions: 1, clip: 1, grid: 0.5, noiseMultiplier: 1 },
  ...{ samplingRate: 0.1, prox: 0, lossShare: 0.2, lossBound: 2, clipShare: 0.5 },
}
const under = (aggregation: RunSpec['aggregation']) =>
  ({ clipping: 'joint', noise: 'gaussian', aggregation }) as unknown as RunSpec

describe('what reports tell', () => {
  const honest = [1, 2].map((steps) => ({ integers: [9, steps, 2 * steps], units: 100 }))
  const liar = { integers: [9, 1e9, -1e9], units: 100 }

  it('is pooled under the mean', () => {
    const { privateLoss, clippedShare } = toldOf(under({ rule: 'mean' }), stage, honest)
    // 3 steps of 0.5 over 0.2 of the clip, times 2 nats; 6 steps over half the clip; 20 expected units.
    expect(privateLoss).toBeCloseTo(((3 * 0.5) / 0.2 / 20) * 2, 12)
    expect(clippedShare).toBeCloseTo((6 * 0.5) / 0.5 / 20, 12)
  })

  it('is no further moved than honest datasets allow under the median', () => {
    const { privateLoss, clippedShare } = toldOf(under({ rule: 'median' }), stage, [...honest, liar])
    const alone = (loss: number) => ((loss * 0.5) / 0.2 / 10) * 2
    expect([alone(1), alone(2)]).toContainEqual(expect.closeTo(privateLoss!, 12))
    expect(clippedShare).toBeCloseTo((2 * 0.5) / 0.5 / 10, 12)
  })

  it('is nothing where nothing has a share', () => {
    expect(toldOf(under({ rule: 'mean' }), { ...stage, lossShare: 0, clipShare: 0 }, honest)).toEqual({})
    const loss = toldOf(under({ rule: 'mean' }), { ...stage, clipShare: 0 }, honest)
    expect(Object.keys(loss)).toEqual(['privateLoss'])
    const { clippedShare } = toldOf(under({ rule: 'mean' }), { ...stage, lossShare: 0 }, honest)
    // The coordinate behind the differences is then that of the clipped units.
    expect(clippedShare).toBeCloseTo((3 * 0.5) / 0.5 / 20, 12)
  })
})
