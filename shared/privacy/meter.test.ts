import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type EventCount, gaussianEvent } from './event.ts'
import { fitsSchedule, RdpMeter, spend } from './meter.ts'

const stage = (noiseMultiplier: number, samplingRate: number, count: number): EventCount => ({
  event: gaussianEvent({ noiseMultiplier, samplingRate }),
  count,
})
const charges = fc.array(
  fc
    .record({ noise: fc.constantFrom(0.8, 1, 1.5, 3), rate: fc.constantFrom(0, 0.01, 0.06, 1), count: fc.nat(200) })
    .map(({ noise, rate, count }) => stage(noise, rate, count)),
  { maxLength: 8 },
)
const code = (name: string) => expect.objectContaining({ code: name })

describe('spend', () => {
  test('nothing released, nothing spent', () => {
    expect(spend([], 1e-5).epsilon).toBe(0)
    expect(spend([stage(1, 0, 1000), stage(1, 0.5, 0)], 1e-5).epsilon).toBe(0)
  })

  test('property: the order and the grouping of releases change no bit', () => {
    fc.assert(
      fc.property(charges, (list) => {
        const { epsilon } = spend(list, 1e-5)
        const split = list.flatMap(({ event, count }) => [
          { event, count: Math.floor(count / 2) },
          { event, count: Math.ceil(count / 2) },
        ])
        expect(spend([...list].reverse(), 1e-5).epsilon).toBe(epsilon)
        expect(spend(split, 1e-5).epsilon).toBe(epsilon)
      }),
    )
  })

  test('refuses counts that leave the safe integers together', () => {
    const half = stage(1, 0.1, 2 ** 52)
    expect(() => spend([half, half], 1e-5)).toThrow(code('invalid_count'))
    expect(() => spend([stage(1, 0.1, -1), stage(1, 0.1, 5)], 1e-5)).toThrow(code('invalid_count'))
  })

  test('refuses a mixture of relations, in the meter too', () => {
    const other = { event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 1, neighbours: 'replace-one' }), count: 1 }
    expect(() => spend([stage(1, 1, 1), other], 1e-5)).toThrow(code('mixed_neighbours'))
    expect(spend([stage(1, 1, 0), other], 1e-5)).toEqual(spend([other], 1e-5))
    expect(() => new RdpMeter([stage(1, 1, 1)]).wouldSpend(other.event, 1e-5)).toThrow(code('mixed_neighbours'))
  })
})

describe('RdpMeter', () => {
  test('property: round by round, dry run, and rebuilt from its entries all agree exactly', () => {
    fc.assert(
      fc.property(charges, (list) => {
        const meter = new RdpMeter()
        for (const { event, count } of list) {
          const expected = meter.wouldSpend(event, 1e-5, count)
          meter.add(event, count)
          expect(meter.epsilon(1e-5)).toEqual(expected)
        }
        expect(meter.epsilon(1e-5)).toEqual(spend(list, 1e-5))
        const restored: EventCount[] = JSON.parse(JSON.stringify(meter.entries()))
        expect(new RdpMeter(restored).epsilon(1e-5)).toEqual(meter.epsilon(1e-5))
      }),
    )
  })

  test('a dry run changes nothing; adding never lowers', () => {
    const meter = new RdpMeter([stage(1, 0.06, 10)])
    const before = meter.epsilon(1e-5).epsilon
    meter.wouldSpend(stage(1, 1, 1).event, 1e-5)
    expect(meter.epsilon(1e-5).epsilon).toBe(before)
    meter.add(stage(3, 0.01, 1).event)
    expect(meter.epsilon(1e-5).epsilon).toBeGreaterThanOrEqual(before)
  })

  test('keeps one entry per distinct event, and changes to what it gave out do not reach it', () => {
    const meter = new RdpMeter()
    const { event } = stage(1, 0.06, 1)
    meter.add(event)
    meter.add(event, 4)
    meter.add(stage(2, 0.06, 1).event)
    const entries = meter.entries()
    expect(entries.map(({ count }) => count)).toEqual([5, 1])
    entries.length = 0
    Object.assign(meter.entries()[0]!, { count: 0 })
    expect(meter.entries()[0]!.count).toBe(5)
  })

  test('holds a copy of the events that it was given', () => {
    const mutable = { ...stage(1, 0.06, 1).event }
    const meter = new RdpMeter([{ event: mutable, count: 5 }])
    const before = meter.epsilon(1e-5).epsilon
    Object.assign(mutable, { noiseMultiplier: 1e6 })
    expect(meter.epsilon(1e-5).epsilon).toBe(before)
  })
})

describe('fitsSchedule', () => {
  const next = stage(1, 0.06, 1)

  test('says yes up to the budget, itself included, and no just below it', () => {
    const { epsilon } = spend([{ ...next, count: 100 }], 1e-5)
    const history = [{ ...next, count: 99 }]
    expect(fitsSchedule({ history, next, budget: { epsilon, delta: 1e-5 } })).toEqual({
      ok: true,
      epsilonAfter: epsilon,
    })
    const short = epsilon * (1 - Number.EPSILON)
    expect(fitsSchedule({ history, next, budget: { epsilon: short, delta: 1e-5 } })).toEqual({
      ok: false,
      epsilonAfter: epsilon,
    })
    expect(new RdpMeter(history).canSpend(next, { epsilon: short, delta: 1e-5 }).ok).toBe(false)
  })

  test('property: a run that obeys it never ends above the budget, at any order grid', () => {
    fc.assert(
      fc.property(charges, fc.constantFrom([8], [1.5, 3, 20], undefined), (list, orders) => {
        const budget = { epsilon: 3, delta: 1e-6 }
        const meter = new RdpMeter([], orders)
        for (const charge of list) if (meter.canSpend(charge, budget).ok) meter.add(charge.event, charge.count)
        expect(meter.epsilon(budget.delta).epsilon).toBeLessThanOrEqual(budget.epsilon)
        expect(spend(meter.entries(), budget.delta, orders).epsilon).toBeLessThanOrEqual(budget.epsilon)
      }),
      { numRuns: 50 },
    )
  })

  test('one order never allows more than the grid that holds it', () => {
    const question = { history: [{ ...next, count: 200 }], next, budget: { epsilon: 4, delta: 1e-5 } }
    expect(fitsSchedule({ ...question, orders: [8] }).epsilonAfter).toBeGreaterThanOrEqual(
      fitsSchedule(question).epsilonAfter,
    )
  })

  test.each([
    [{ epsilon: 0, delta: 1e-5 }, 'invalid_epsilon'],
    [{ epsilon: Number.NaN, delta: 1e-5 }, 'invalid_epsilon'],
    [{ epsilon: Number.POSITIVE_INFINITY, delta: 1e-5 }, 'invalid_epsilon'],
    [{ epsilon: 1, delta: 0 }, 'invalid_delta'],
    [{ epsilon: 1, delta: 1 }, 'invalid_delta'],
  ])('refuses the budget %j', (budget, expected) => {
    expect(() => fitsSchedule({ history: [], next, budget })).toThrow(code(expected))
  })
})
