import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type EventCount, gaussianEvent, laplaceEvent } from './event.ts'
import { filterOrders, RdpFilter } from './filter.ts'
import { spend } from './meter.ts'
import { ODOMETER_ORDERS, odometer } from './odometer.ts'
import { RDP_ORDERS, rdpCurve } from './rdp.ts'

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
const deltas = fc.constantFrom(1e-3, 1e-5, 1e-8)
const code = (name: string) => expect.objectContaining({ code: name })

describe('odometer', () => {
  test('its orders are known ones and share all of delta', () => {
    for (const { order } of ODOMETER_ORDERS) expect(RDP_ORDERS).toContain(order)
    expect(ODOMETER_ORDERS.reduce((sum, { share }) => sum + share, 0)).toBe(1)
  })

  test('property: at least the spend, and as it says, the least over its orders', () => {
    fc.assert(
      fc.property(charges, deltas, (history, delta) => {
        const { epsilon } = odometer(history, delta)
        expect(epsilon).toBeGreaterThanOrEqual(spend(history, delta).epsilon)
        if (history.every(({ event, count }) => event.samplingRate * count === 0)) return
        for (const { order, share } of ODOMETER_ORDERS) {
          const price = Math.log1p(-1 / order) - Math.log(order * delta * share) / (order - 1)
          const exact = history.reduce((sum, { event, count }) => {
            return sum + (count === 0 ? 0 : count * rdpCurve(event, [order])[0]!)
          }, price)
          expect(epsilon).toBeLessThanOrEqual(Math.max(0, exact) + 1e-8 * (1 + Math.abs(exact)))
        }
      }),
      { numRuns: 20 },
    )
  })

  test('property: never falls as releases are added, and order and grouping change no bit', () => {
    fc.assert(
      fc.property(charges, deltas, (history, delta) => {
        const readings = history.map((_, i) => odometer(history.slice(0, i + 1), delta).epsilon)
        for (let i = 1; i < readings.length; i++) expect(readings[i]).toBeGreaterThanOrEqual(readings[i - 1]!)
        const twice = history.flatMap((entry) => [entry, { ...entry, count: 0 }])
        if (history.length > 0) expect(odometer(twice.reverse(), delta).epsilon).toBe(readings.at(-1))
      }),
    )
  })

  test('is 0 where nothing was sampled, and small but not 0 after the faintest release', () => {
    expect(odometer([], 1e-5)).toEqual({ epsilon: 0 })
    expect(odometer([stage(1, 0, 9), stage(1, 1, 0)], 1e-5)).toEqual({ epsilon: 0 })
    const { epsilon } = odometer([stage(1e6, 1e-9, 1)], 1e-5)
    expect(epsilon).toBeGreaterThan(0)
    expect(epsilon).toBeLessThan(0.01)
  })

  test('reads Infinity, never NaN, where the noise hides nothing', () => {
    expect(odometer([stage(1e-200, 1, 1)], 1e-5).epsilon).toBe(Number.POSITIVE_INFINITY)
  })

  test('with the orders and shares of a budget it is the filter', () => {
    const budget = { epsilon: 2, delta: 1e-6 }
    const history = [stage(2, 0.05, 40), { event: laplaceEvent({ noiseMultiplier: 9, samplingRate: 1 }), count: 3 }]
    expect(odometer(history, budget.delta, filterOrders(budget)).epsilon).toBe(new RdpFilter(budget, history).epsilon())
  })

  test('refuses a mixture of relations, and a delta that is none', () => {
    const other = { event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 1, neighbours: 'zero-out' }), count: 1 }
    expect(() => odometer([stage(1, 1, 1), other], 1e-5)).toThrow(code('mixed_neighbours'))
    expect(() => odometer([], 0)).toThrow(code('invalid_delta'))
  })
})

/** Standard normal variates of a fixed seed, by Box and Muller over a 32-bit mixer. */
const normals = (seed: number) => {
  let state = seed
  const uniform = () => {
    state = (state + 0x9e3779b9) | 0
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (((z ^ (z >>> 15)) >>> 0) + 0.5) / 2 ** 32
  }
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())
}

/** The promise itself, by simulation: an adversary that picks the next noise from the loss so far, and when to stop. */
test('holds against an adversary that steers and stops by what it saw', () => {
  const delta = 0.01
  const runs = 20_000
  const curve = new Map<number, EventCount['event']>()
  for (const noise of [1, 3]) curve.set(noise, gaussianEvent({ noiseMultiplier: noise, samplingRate: 1 }))
  // Readings by the counts of the two events: there are few.
  const readings = new Map<string, number>()
  const read = (counts: Map<number, number>) => {
    const history = [...counts].map(([noise, count]) => ({ event: curve.get(noise)!, count }))
    const key = [...counts].sort().join()
    const known = readings.get(key) ?? odometer(history, delta).epsilon
    readings.set(key, known)
    return known
  }
  const random = normals(7)
  let excess = 0
  for (let run = 0; run < runs; run++) {
    const counts = new Map<number, number>()
    let loss = 0
    let worst = 0
    for (let step = 0; step < 12; step++) {
      const noise = loss > 0.5 ? 1 : 3
      // Loss of a Gaussian at distance 1 under the first of the pair: N(1/(2 s^2), 1/s^2).
      loss += 0.5 / noise / noise + random() / noise
      counts.set(noise, (counts.get(noise) ?? 0) + 1)
      worst = 1 - Math.exp(Math.min(0, read(counts) - loss))
      if (worst > 0) break
    }
    excess += worst
  }
  expect(excess / runs).toBeGreaterThan(0)
  expect(excess / runs).toBeLessThan(delta)
})

test('the price of reading at any time: the odometer against the spend of a schedule fixed beforehand', () => {
  const bins: [string, number][] = [
    ['0.05-0.5', 0.5],
    ['0.5-2', 2],
    ['2-10', 10],
    ['10-50', 50],
  ]
  const prices = new Map<string, number[]>(bins.map(([name]) => [name, []]))
  for (const noise of [0.6, 0.8, 1, 1.5, 2, 4, 10])
    for (const rate of [0.001, 0.003, 0.01, 0.05, 0.2, 1])
      for (const count of [1, 10, 100, 300, 1000, 3000, 10_000])
        for (const delta of [1e-5, 1e-6, 1e-8]) {
          const history = [stage(noise, rate, count)]
          const { epsilon } = spend(history, delta)
          const bin = bins.find(([, end]) => epsilon < end)
          if (bin && epsilon >= 0.05) prices.get(bin[0])!.push(odometer(history, delta).epsilon / epsilon - 1)
        }
  const rows = [...prices].map(([epsilon, list]) => {
    const sorted = list.toSorted((a, b) => a - b)
    const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!
    return { epsilon, settings: sorted.length, median: at(0.5), p90: at(0.9), worst: at(1) }
  })
  console.table(rows)
  for (const { worst } of rows) expect(worst).toBeLessThan(1)
  for (const { median } of rows.slice(1)) expect(median).toBeLessThan(0.3)
})
