import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type EventCount, gaussianEvent } from './event.ts'
import { epsilonBounds } from './pld/bounds.ts'
import { ScheduleFilter } from './schedule.ts'

const of = (noiseMultiplier: number, count: number, samplingRate = 0.06): EventCount => ({
  event: gaussianEvent({ noiseMultiplier, samplingRate }),
  count,
})
const envelope = [of(1, 60), of(2, 40)]
const whole = epsilonBounds(envelope, 1e-5)

describe('ScheduleFilter', () => {
  test('allows the envelope at its own epsilon and every part of it, and not a release more', () => {
    const filter = new ScheduleFilter(envelope, { epsilon: whole.epsilon, delta: 1e-5 })
    expect(filter.epsilon).toBe(whole.epsilon)
    expect(filter.allows([])).toBe(true)
    expect(filter.allows([of(1, 10)])).toBe(true)
    expect(filter.allows([of(1, 60), of(2, 39), of(2, 1)])).toBe(true)
    expect(filter.allows([of(1, 61)])).toBe(false)
    expect(filter.allows([of(2, 41)])).toBe(false)
    expect(filter.allows([of(1, 1), of(0.8, 1)])).toBe(false)
  })

  test('does not trade one event for another, though the budget would pay for either', () => {
    // Releases of the one or of the other, each within 4: who chose by what the first released would breach delta.
    const budget = { epsilon: 4, delta: 1e-5 }
    const [many, dear] = [(count: number) => of(20, count, 1), of(0.1, 1, 8e-6)]
    const filter = new ScheduleFilter([many(296), dear], budget)
    expect(epsilonBounds([many(342)], 1e-5).epsilon).toBeLessThanOrEqual(4)
    expect(filter.allows([many(296), dear])).toBe(true)
    expect(filter.allows([many(342)])).toBe(false)
  })

  test('an envelope that the budget does not pay for allows nothing', () => {
    const filter = new ScheduleFilter(envelope, { epsilon: whole.lower * 0.99, delta: 1e-5 })
    expect(filter.allows([of(1, 1)])).toBe(false)
  })

  test('property: what it allows is within the budget, whatever it was asked before', () => {
    const counts = fc.tuple(fc.nat(80), fc.nat(60))
    fc.assert(
      fc.property(fc.array(counts, { minLength: 1, maxLength: 4 }), (questions) => {
        const budget = { epsilon: whole.epsilon, delta: 1e-5 }
        const asked = new ScheduleFilter(envelope, budget)
        for (const [a, b] of questions) {
          const history = [of(1, a), of(2, b)]
          expect(asked.allows(history)).toBe(a <= 60 && b <= 40)
          if (asked.allows(history)) expect(epsilonBounds(history, 1e-5).lower).toBeLessThanOrEqual(budget.epsilon)
        }
      }),
      { numRuns: 15 },
    )
  })

  test('refuses an impossible budget', () => {
    const make = (epsilon: number, delta: number) => () => new ScheduleFilter(envelope, { epsilon, delta })
    expect(make(0, 1e-5)).toThrow(expect.objectContaining({ code: 'invalid_epsilon' }))
    expect(make(1, 1)).toThrow(expect.objectContaining({ code: 'invalid_delta' }))
  })
})
