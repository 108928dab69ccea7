import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type EventCount, gaussianEvent } from './event.ts'
import { epsilonBounds } from './pld/bounds.ts'
import { ScheduleFilter } from './schedule.ts'

const of = (noiseMultiplier: number, count: number, samplingRate = 0.06): EventCount => ({
  event: gaussianEvent({ noiseMultiplier, samplingRate }),
  count,
})
const schedule = [of(1, 60), of(2, 40)]
const whole = epsilonBounds(schedule, 1e-5)

describe('ScheduleFilter', () => {
  test('allows the schedule at its own epsilon and every part of it, and not a release more', () => {
    const filter = new ScheduleFilter(schedule, { epsilon: whole.epsilon, delta: 1e-5 })
    expect(filter.allows([])).toBe(true)
    expect(filter.allows([of(1, 10)])).toBe(true)
    expect(filter.allows([of(1, 60), of(2, 39), of(2, 1)])).toBe(true)
    expect(filter.allows([of(1, 62), of(2, 40)])).toBe(false)
    expect(filter.allows([of(1, 60), of(2, 40), of(0.8, 1)])).toBe(false)
  })

  test('refuses what does not fit even where the schedule does not fit, and allows the part that does', () => {
    const filter = new ScheduleFilter(schedule, { epsilon: whole.lower / 2, delta: 1e-5 })
    expect(filter.allows(schedule)).toBe(false)
    expect(filter.allows([of(1, 5)])).toBe(true)
    expect(filter.allows([of(1, 60)])).toBe(false)
  })

  test('leaves room for repeated rounds as long as the whole fits', () => {
    const room = epsilonBounds([of(1, 63), of(2, 40)], 1e-5).epsilon
    const filter = new ScheduleFilter(schedule, { epsilon: room, delta: 1e-5 })
    expect(filter.allows([of(1, 63)])).toBe(true)
    expect(filter.allows([of(1, 63), of(2, 40)])).toBe(true)
    expect(filter.allows([of(1, 66), of(2, 40)])).toBe(false)
  })

  test('property: its answer does not depend on what it was asked before, and agrees with the accountant', () => {
    const counts = fc.tuple(fc.nat(80), fc.nat(60))
    fc.assert(
      fc.property(fc.array(counts, { minLength: 1, maxLength: 4 }), (questions) => {
        const budget = { epsilon: whole.epsilon, delta: 1e-5 }
        const asked = new ScheduleFilter(schedule, budget)
        for (const [a, b] of questions) {
          const history = [of(1, a), of(2, b)]
          const answer = asked.allows(history)
          expect(answer).toBe(new ScheduleFilter(schedule, budget).allows(history))
          if (answer) expect(epsilonBounds(history, 1e-5).lower).toBeLessThanOrEqual(budget.epsilon)
          else expect(epsilonBounds(history, 1e-5).epsilon).toBeGreaterThan(budget.epsilon)
        }
      }),
      { numRuns: 15 },
    )
  })

  test('refuses an impossible budget', () => {
    const make = (epsilon: number, delta: number) => () => new ScheduleFilter(schedule, { epsilon, delta })
    expect(make(0, 1e-5)).toThrow(expect.objectContaining({ code: 'invalid_epsilon' }))
    expect(make(1, 1)).toThrow(expect.objectContaining({ code: 'invalid_delta' }))
  })
})
