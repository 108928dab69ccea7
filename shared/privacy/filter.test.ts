import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type EventCount, gaussianEvent, laplaceEvent } from './event.ts'
import { AFFORDABLE_MAX, canSpend, filterOrders, RdpFilter } from './filter.ts'
import { spend } from './meter.ts'
import { RDP_ORDERS } from './rdp.ts'

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
const budgets = fc.record({ epsilon: fc.constantFrom(0.5, 3, 12), delta: fc.constantFrom(1e-5, 1e-8) })
const code = (name: string) => expect.objectContaining({ code: name })
const budget = { epsilon: 3, delta: 1e-6 }

describe('filterOrders', () => {
  test.each([1e-3, 0.1, 0.5, 1, 4, 10, 50, 1000])(
    'at epsilon %d: known orders, increasing, all of delta',
    (epsilon) => {
      for (const delta of [1e-2, 1e-5, 1e-8, 1e-300, Number.MIN_VALUE]) {
        const list = filterOrders({ epsilon, delta })
        for (const { order } of list) expect(RDP_ORDERS).toContain(order)
        expect(list.map(({ order }) => order)).toEqual(
          [...new Set(list.map(({ order }) => order))].sort((a, b) => a - b),
        )
        expect(list.reduce((sum, { share }) => sum + share, 0)).toBe(1)
      }
    },
  )

  test('puts half of delta at the order that buys most unsampled releases', () => {
    const { order, share } = filterOrders(budget).find((entry) => entry.share >= 0.5)!
    expect(share).toBe(0.5)
    const atMost = (list: number[]) => {
      let count = 0
      while (spend([stage(20, 1, count + 1)], budget.delta, list).epsilon <= budget.epsilon) count++
      return count
    }
    expect(atMost([order])).toBe(atMost([...RDP_ORDERS]))
  })
})

describe('canSpend', () => {
  test('property: fits exactly when some order does with its share of delta', () => {
    fc.assert(
      fc.property(charges, budgets, ([next = stage(1, 0.06, 1), ...history], budget) => {
        const each = filterOrders(budget).map(
          ({ order, share }) => spend([...history, next], budget.delta * share, [order]).epsilon,
        )
        const { ok, epsilonAfter } = canSpend({ history, next, budget })
        const least = Math.min(...each)
        // `spend` also knows when epsilon is 0 outright; otherwise the two are one formula.
        if (least > 0) expect(epsilonAfter / least).toBeCloseTo(1, 12)
        expect(ok).toBe(epsilonAfter <= budget.epsilon)
      }),
      { numRuns: 60 },
    )
  })

  test('property: never says less than the least over all orders', () => {
    fc.assert(
      fc.property(charges, budgets, (history, budget) => {
        const filter = new RdpFilter(budget, history)
        expect(filter.epsilon()).toBeGreaterThanOrEqual(spend(history, budget.delta).epsilon)
      }),
    )
  })

  test('says yes up to the budget, itself included, and no just below it', () => {
    const next = stage(1, 0.06, 1)
    const history = [stage(1, 0.06, 99)]
    const orders = filterOrders(budget)
    const { epsilonAfter: epsilon } = canSpend({ history, next, budget, orders })
    expect(canSpend({ history, next, budget: { ...budget, epsilon }, orders }).ok).toBe(true)
    const short = { ...budget, epsilon: epsilon * (1 - Number.EPSILON) }
    expect(canSpend({ history, next, budget: short, orders })).toEqual({ ok: false, epsilonAfter: epsilon })
  })

  test('nothing sampled costs nothing, beside what was spent', () => {
    expect(canSpend({ history: [], next: stage(1, 0, 1000), budget })).toEqual({ ok: true, epsilonAfter: 0 })
    expect(canSpend({ history: [], next: stage(1, 0.5, 0), budget })).toEqual({ ok: true, epsilonAfter: 0 })
    const spent = new RdpFilter(budget, [stage(1, 1, 1000)])
    expect(spent.canSpend(stage(1, 0, 1)).ok).toBe(false)
  })

  test('refuses a mixture of relations', () => {
    const other = { event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 1, neighbours: 'replace-one' }), count: 1 }
    const question = { history: [stage(5, 0.1, 1)], next: other, budget }
    expect(() => canSpend(question)).toThrow(code('mixed_neighbours'))
    expect(canSpend({ ...question, next: { ...other, count: 0 } }).ok).toBe(true)
  })

  test('takes the Laplace mechanism along', () => {
    const next = { event: laplaceEvent({ noiseMultiplier: 4, samplingRate: 0.1 }), count: 10 }
    const alone = canSpend({ history: [], next, budget }).epsilonAfter
    const both = canSpend({ history: [stage(1, 0.06, 50)], next, budget }).epsilonAfter
    expect(alone).toBeGreaterThan(0)
    expect(both).toBeGreaterThan(alone)
  })

  test.each([
    [{ epsilon: 0, delta: 1e-5 }, 'invalid_epsilon'],
    [{ epsilon: Number.NaN, delta: 1e-5 }, 'invalid_epsilon'],
    [{ epsilon: Number.POSITIVE_INFINITY, delta: 1e-5 }, 'invalid_epsilon'],
    [{ epsilon: 1, delta: 0 }, 'invalid_delta'],
    [{ epsilon: 1, delta: 1 }, 'invalid_delta'],
  ])('refuses the budget %j', (wrong, expected) => {
    expect(() => canSpend({ history: [], next: stage(1, 0.06, 1), budget: wrong })).toThrow(code(expected))
  })

  test.each([
    ['no order', []],
    ['an order of 1', [{ order: 1, share: 0.5 }]],
    ['orders that fall', [8, 4].map((order) => ({ order, share: 0.5 }))],
    ['no share', [{ order: 4, share: 0 }]],
    ['more than all of delta', [4, 8].map((order) => ({ order, share: 0.6 }))],
    ['a share that is no number', [{ order: 4, share: Number.NaN }]],
  ])('refuses %s', (_, orders) => {
    expect(() => canSpend({ history: [], next: stage(1, 0.06, 1), budget, orders })).toThrow(code('invalid_orders'))
  })
})

describe('RdpFilter', () => {
  test('property: the order and the grouping of charges change no bit; nor does a restart', () => {
    fc.assert(
      fc.property(charges, (list) => {
        const { epsilonAfter } = canSpend({ history: list, next: stage(1, 0.06, 1), budget })
        const halves = list.flatMap(({ event, count }) => [
          { event, count: Math.floor(count / 2) },
          { event, count: Math.ceil(count / 2) },
        ])
        const filter = new RdpFilter(budget)
        for (const { event, count } of halves.reverse()) filter.add(event, count)
        expect(filter.canSpend(stage(1, 0.06, 1)).epsilonAfter).toBe(epsilonAfter)
        const restored = new RdpFilter(budget, JSON.parse(JSON.stringify(filter.entries())))
        expect(restored.canSpend(stage(1, 0.06, 1)).epsilonAfter).toBe(epsilonAfter)
      }),
    )
  })

  test('property: whoever obeys it, however choosing, ends within the budget by one order and its share', () => {
    fc.assert(
      fc.property(charges, budgets, (list, budget) => {
        const filter = new RdpFilter(budget)
        // The next charge is chosen from the answer to the last, as outputs may steer it.
        for (const charge of list) {
          const smaller = { ...charge, count: Math.floor(charge.count / 10) }
          const taken = [charge, smaller].find((wanted) => filter.canSpend(wanted).ok)
          if (taken) filter.add(taken.event, taken.count)
        }
        const history = filter.entries()
        const fits = filterOrders(budget).some(
          ({ order, share }) => spend(history, budget.delta * share, [order]).epsilon <= budget.epsilon * (1 + 1e-12),
        )
        expect(fits).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  test('property: affords this count and not one more', () => {
    fc.assert(
      fc.property(charges, budgets, (history, budget) => {
        const filter = new RdpFilter(budget, history)
        const { event } = stage(2, 0.05, 1)
        const count = filter.affordable(event)
        if (count > 0) expect(filter.canSpend({ event, count }).ok).toBe(true)
        expect(filter.canSpend({ event, count: count + 1 }).ok).toBe(false)
      }),
      { numRuns: 60 },
    )
  })

  test('counts no further than its limit, and refuses counts that leave the safe integers', () => {
    const filter = new RdpFilter(budget)
    expect(filter.affordable(stage(1, 0, 1).event)).toBe(AFFORDABLE_MAX)
    filter.add(stage(1, 0.1, 1).event, Number.MAX_SAFE_INTEGER)
    expect(() => filter.add(stage(1, 0.1, 1).event, 1)).toThrow(code('invalid_count'))
    expect(() => filter.add(stage(1, 0.1, 1).event, -1)).toThrow(code('invalid_count'))
  })

  test('keeps a copy of the event and of the budget', () => {
    const mutable = { ...stage(1, 0.06, 1).event }
    const own = { ...budget }
    const filter = new RdpFilter(own, [{ event: mutable, count: 5 }])
    const before = filter.epsilon()
    Object.assign(mutable, { noiseMultiplier: 1e6 })
    own.epsilon = 1e6
    expect(filter.epsilon()).toBe(before)
    expect(filter.canSpend(stage(1, 1, 1000)).ok).toBe(false)
  })

  test('answers Infinity, never NaN, where the noise hides nothing', () => {
    const bare = stage(1e-200, 1, 1)
    expect(new RdpFilter(budget).canSpend(bare)).toEqual({ ok: false, epsilonAfter: Number.POSITIVE_INFINITY })
  })
})

/** The longest history of one event whose least epsilon over all orders is within the budget. */
const fullHistory = ({ event }: EventCount, budget: { epsilon: number; delta: number }): EventCount => {
  let low = 0
  let high = 2 ** 24
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (spend([{ event, count: middle }], budget.delta).epsilon <= budget.epsilon) low = middle
    else high = middle
  }
  return { event, count: low }
}

test('the price of adaptivity: epsilon against the least over all orders, for histories that fill the budget', () => {
  const prices = new Map<number, number[]>()
  for (const epsilon of [0.5, 1, 2, 4, 8, 10])
    for (const delta of [1e-5, 1e-6, 1e-8])
      for (const noise of [0.6, 0.8, 1, 1.5, 2, 4])
        for (const rate of [0.001, 0.01, 0.05, 0.2, 1]) {
          const full = fullHistory(stage(noise, rate, 1), { epsilon, delta })
          if (full.count === 0) continue
          const price = new RdpFilter({ epsilon, delta }, [full]).epsilon() / spend([full], delta).epsilon
          prices.set(epsilon, [...(prices.get(epsilon) ?? []), price - 1])
        }
  const rows = [...prices].map(([epsilon, list]) => {
    const sorted = list.toSorted((a, b) => a - b)
    const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!
    return { epsilon, settings: sorted.length, median: at(0.5), p90: at(0.9), worst: at(1) }
  })
  console.table(rows)
  for (const { median, p90, worst } of rows) {
    expect(median).toBeLessThan(0.07)
    expect(p90).toBeLessThan(0.25)
    expect(worst).toBeLessThan(0.4)
  }
})
