import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { scheduleOf } from '../../../shared/api/index.ts'
import { smallSpec } from '../../../test/rehearsal/request.ts'
import { bytes, lower, span, upper } from './figures.ts'
import { lossBand, runningMean, WINDOW } from './smoothing.ts'
import { eventsAt, sparesLeft } from './spending.ts'

describe('figures of epsilon', () => {
  it('never show an upper bound smaller, nor a lower bound larger, and hardly change either', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-9, max: 1e6, noNaN: true }), (epsilon) => {
        const [above, below] = [Number(upper(epsilon)), Number(lower(epsilon))]
        return above >= epsilon && below <= epsilon && above <= epsilon * 1.002 && below >= epsilon * 0.998
      }),
    )
    expect([upper(0), lower(0), upper(Number.POSITIVE_INFINITY)]).toEqual(['0', '0', '∞'])
    expect([upper(4), lower(4), upper(3.8961), lower(3.8969)]).toEqual(['4', '4', '3.897', '3.896'])
  })

  it('have units', () => {
    expect([bytes(904), bytes(1536), span(0.15), span(90), span(7200)]).toEqual([
      '904 bytes',
      '1.5 KiB',
      '0.15 s',
      '1.5 min',
      '2 h',
    ])
  })
})

describe('running means', () => {
  it('are those of the last rounds, of what is known of them', () => {
    const values = fc.array(fc.option(fc.double({ min: -10, max: 10, noNaN: true })), { maxLength: 60 })
    fc.assert(
      fc.property(values, (losses) => {
        const means = runningMean(losses)
        return losses.every((_, i) => {
          const known = losses.slice(Math.max(0, i + 1 - WINDOW), i + 1).filter((value) => value !== null)
          if (known.length === 0) return means[i] === null
          return Math.abs(means[i]! - known.reduce((a, b) => a + b, 0) / known.length) < 1e-9
        })
      }),
    )
  })

  it('have a band as wide as the noise of the rounds in them', () => {
    const { mean, half, low, high } = lossBand({ privateLoss: Array(40).fill(0.5), lossDeviation: Array(40).fill(0.2) })
    expect(mean.at(-1)).toBeCloseTo(0.5, 12)
    expect(half[0]).toBeCloseTo(1.96 * 0.2, 12)
    expect(half.at(-1)).toBeCloseTo((1.96 * 0.2) / Math.sqrt(WINDOW), 12)
    expect(high.at(-1)! - low.at(-1)!).toBeCloseTo(2 * half.at(-1)!, 12)
    expect(lossBand({ privateLoss: [0.5], lossDeviation: [null] }).low).toEqual([null])
  })
})

describe('what a dataset is charged by a round', () => {
  const spec = smallSpec(['north'])
  it('is the schedule where no lease is lost', () => {
    expect(eventsAt({ spec, opened: 5, recharged: [] }, 5)).toEqual(scheduleOf(spec))
    expect(eventsAt({ spec, opened: 5, recharged: [] }, 2)).toEqual([{ ...scheduleOf(spec)[0], count: 2 }])
    expect(eventsAt({ spec, opened: 0, recharged: [] }, 0)).toEqual([])
  })
  it('counts a lease that was issued again in the round it is of', () => {
    const question = { spec, opened: 5, recharged: [1, 1, 4] }
    expect(eventsAt(question, 1).map(({ count }) => count)).toEqual([1])
    expect(eventsAt(question, 2).map(({ count }) => count)).toEqual([4])
    expect(eventsAt(question, 5).map(({ count }) => count)).toEqual([5, 3])
  })
})

describe('spare charges that are left', () => {
  const stage = { rounds: 100, learningRate: 0.1, radius: 0.01, directions: 4, clip: 1 }
  const given = { spareCharges: 10, budget: { epsilon: 8, delta: 1e-5 } }
  const two = smallSpec(['north'], {
    ...given,
    stages: [
      { ...stage, samplingRate: 0.1 },
      { ...stage, samplingRate: 0.05 },
    ],
  })
  const one = smallSpec(['north'], { ...given, stages: [{ ...stage, samplingRate: 0.1 }] })
  it('are those of the mechanism of the round', () => {
    expect(sparesLeft({ spec: one, opened: 50, recharged: [3, 3, 7] }, 50)).toEqual({ left: 7, of: 10 })
    const lost = { spec: two, opened: 150, recharged: [3, 3, 7, 8, 9, 120] }
    expect(sparesLeft(lost, 50)).toEqual({ left: 0, of: 5 })
    expect(sparesLeft(lost, 150)).toEqual({ left: 4, of: 5 })
    // After the last round they are those of the last stage.
    expect(sparesLeft(lost, 200)).toEqual({ left: 4, of: 5 })
  })
})
