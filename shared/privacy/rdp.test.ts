import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { gaussianEvent, mechanismEvent } from './event.ts'
import { addRounds, epsilonFromRdp, RDP_ORDERS, rdpCurve } from './rdp.ts'

const event = gaussianEvent({ noiseMultiplier: 1, samplingRate: 0.06 })

const epsilonOf = (noiseMultiplier: number, samplingRate: number, count: number, delta: number) => {
  const start = new Float64Array(RDP_ORDERS.length)
  return epsilonFromRdp(addRounds(start, gaussianEvent({ noiseMultiplier, samplingRate }), count), delta)
}

const code = (name: string) => expect.objectContaining({ code: name })

describe('RDP_ORDERS', () => {
  test('increases from 1.001 to 262144, at most a quarter per step beyond 2, holding every tenth up to 10.9', () => {
    expect(RDP_ORDERS.every((order, i) => i === 0 || order > RDP_ORDERS[i - 1]!)).toBe(true)
    expect([RDP_ORDERS[0], RDP_ORDERS.at(-1)]).toEqual([1.001, 262144])
    for (const [i, order] of RDP_ORDERS.entries())
      if (order > 2) expect(order).toBeLessThanOrEqual(1.25 * RDP_ORDERS[i - 1]!)
    for (const order of [1.1, 2, 3.3, 10.9, 11, 63, 64, 128, 256, 512, 1024]) expect(RDP_ORDERS).toContain(order)
    expect(Object.isFrozen(RDP_ORDERS)).toBe(true)
  })

  // One unsampled Gaussian release stands for any number of them; noise is chosen to give each epsilon.
  test.each([
    [1e-4, 1e-8],
    [1e-4, 1e-5],
    [1e-3, 1e-8],
    [1e-2, 1e-12],
    [0.1, 1e-12],
    [1, 1e-5],
    [10, 1e-5],
    [100, 1e-3],
    [100, 1e-12],
  ])(
    'the best order for epsilon %d at delta %d is inside, and within a hundredth of the best real one',
    (target, delta) => {
      const exactAt = (order: number, rho: number) =>
        rho * order + Math.log1p(-1 / order) - Math.log(delta * order) / (order - 1)
      let [low, high] = [1e-14, 1e4]
      const answer = (rho: number) =>
        epsilonFromRdp(
          Float64Array.from(RDP_ORDERS, (order) => rho * order),
          delta,
        )
      while (high / low > 1 + 1e-9) {
        const rho = Math.sqrt(low * high)
        if (answer(rho).epsilon < target) low = rho
        else high = rho
      }
      const { epsilon, atEnd } = answer(high)
      expect(atEnd).toBe(false)
      const best = Math.min(...Array.from({ length: 4000 }, (_, i) => exactAt(1 + Math.exp(i / 180 - 8), high)))
      expect(epsilon).toBeLessThan(best * 1.01)
    },
  )
})

describe('rdpCurve', () => {
  test('is the same cold, warm, evicted and on explicit orders', () => {
    const cold = rdpCurve(event)
    expect(rdpCurve(event)).toEqual(cold)
    for (let i = 0; i < 600; i++) rdpCurve(gaussianEvent({ noiseMultiplier: 5 + i / 1000, samplingRate: 0.06 }))
    expect(rdpCurve(event)).toEqual(cold)
    expect(rdpCurve(event, [...RDP_ORDERS])).toEqual(cold)
  })

  test('is that of the whole event: relation and mechanism count', () => {
    const at = (mechanism: 'gaussian' | 'laplace', neighbours: 'add-remove' | 'zero-out' | 'replace-one') =>
      rdpCurve(mechanismEvent({ mechanism, neighbours, noiseMultiplier: 1, samplingRate: 0.06 }))
    expect(at('gaussian', 'zero-out')).toEqual(rdpCurve(event))
    const curves = [
      rdpCurve(event),
      at('gaussian', 'replace-one'),
      at('laplace', 'add-remove'),
      at('laplace', 'replace-one'),
    ]
    expect(new Set(curves.map((curve) => curve[30])).size).toBe(4)
  })

  test('is a copy: writing to it changes no later answer', () => {
    const before = rdpCurve(event)
    rdpCurve(event).fill(0)
    expect(rdpCurve(event)).toEqual(before)
  })

  test.each([[[]], [[1]], [[2, 2]], [[3, 2]], [[Number.NaN]], [[2, Number.POSITIVE_INFINITY]]])(
    'refuses orders %j',
    (orders) => {
      expect(() => rdpCurve(event, orders)).toThrow(code('invalid_orders'))
      expect(() => epsilonFromRdp(new Float64Array(orders.length), 1e-5, orders)).toThrow(code('invalid_orders'))
    },
  )
})

describe('addRounds', () => {
  test('adds count times the curve, to a new array', () => {
    const start = new Float64Array(RDP_ORDERS.length).fill(0.5)
    const sum = addRounds(start, event, 3)
    expect(sum[40]).toBe(0.5 + 3 * rdpCurve(event)[40]!)
    expect(start.every((value) => value === 0.5)).toBe(true)
  })

  test('no round adds nothing, even of an infinite divergence', () => {
    const start = new Float64Array(RDP_ORDERS.length)
    const open = gaussianEvent({ noiseMultiplier: 1e-200, samplingRate: 1 })
    expect(addRounds(start, open, 0)).toEqual(start)
    expect(epsilonFromRdp(addRounds(start, open, 1), 1e-5).epsilon).toBe(Number.POSITIVE_INFINITY)
  })

  test('refuses a curve on other orders, and a count that is none', () => {
    expect(() => addRounds(new Float64Array(3), event, 1)).toThrow(code('invalid_curve'))
    expect(() => addRounds(new Float64Array(RDP_ORDERS.length), event, 1.5)).toThrow(code('invalid_count'))
  })
})

// [mechanism, neighbours, noise, rate, rounds, delta, epsilon, order]: the formula in 40-digit arithmetic (mpmath).
const REFERENCE = [
  ['gaussian', 'add-remove', 1, 1, 1, 1e-5, 4.728507067217623, 5.4],
  ['gaussian', 'add-remove', 4, 1, 100, 1e-6, 15.327984026539918, 3],
  ['gaussian', 'add-remove', 0.7, 0.06, 300, 1e-5, 17.05112092527661, 2.1],
  ['gaussian', 'add-remove', 20, 0.001, 10000, 1e-8, 0.02310276458464094, 1024],
  ['gaussian', 'add-remove', 8, 0.004, 40, 1e-5, 0.009703884105691944, 640],
  ['gaussian', 'add-remove', 50, 0.01, 10, 1e-6, 0.001880612901505608, 5120],
  ['gaussian', 'add-remove', 0.3, 1, 500, 1e-5, 3132.9991152010502, 1.07],
  ['gaussian', 'add-remove', 2000, 0.01, 10, 1e-8, 5.082481645246176e-5, 229376],
  ['gaussian', 'replace-one', 0.8, 0.005, 500, 1e-5, 2.115520818662329, 6.3],
  ['laplace', 'add-remove', 1, 0.01, 1000, 1e-5, 1.2302273434540594, 15],
  ['laplace', 'replace-one', 2, 0.05, 100, 1e-6, 2.029272725421771, 13],
] as const

describe('epsilonFromRdp', () => {
  test.each(REFERENCE)(
    '%s, %s, noise %d, rate %d, %d rounds, delta %d: never below the exact formula, and within 1e-7',
    (mechanism, neighbours, noiseMultiplier, samplingRate, rounds, delta, exact, order) => {
      const released = mechanismEvent({ mechanism, neighbours, noiseMultiplier, samplingRate })
      const answer = epsilonFromRdp(addRounds(new Float64Array(RDP_ORDERS.length), released, rounds), delta)
      expect(answer.epsilon).toBeGreaterThanOrEqual(exact)
      expect(answer.epsilon).toBeLessThanOrEqual(exact * (1 + 1e-7))
      expect(answer.order).toBe(order)
    },
  )

  test('a list that was changed after a call is read anew, and a frozen one gives the same bits', () => {
    const list = [2, 20, 30]
    const curve = Float64Array.of(3, 1, 2)
    const before = epsilonFromRdp(curve, 1e-5, list)
    expect(epsilonFromRdp(curve, 1e-5, Object.freeze([...list]))).toEqual(before)
    list[1] = 25
    expect(epsilonFromRdp(curve, 1e-5, list).order).toBe(25)
    list[1] = 40
    expect(() => epsilonFromRdp(curve, 1e-5, list)).toThrow(code('invalid_orders'))
  })

  test('is 0 without releases, and where delta alone covers the divergence', () => {
    expect(epsilonFromRdp(new Float64Array(RDP_ORDERS.length), 1e-5)).toMatchObject({ epsilon: 0, atEnd: false })
    expect(epsilonFromRdp(Float64Array.of(9.99e-11), 1e-5, [2]).epsilon).toBe(0)
    expect(epsilonFromRdp(Float64Array.of(1.01e-10), 1e-5, [2]).epsilon).toBeGreaterThan(0)
  })

  test('says when the best order is an end of the grid', () => {
    expect(epsilonOf(0.05, 1, 1e5, 1e-5).atEnd).toBe(true)
    expect(epsilonOf(1, 0.06, 300, 1e-5).atEnd).toBe(false)
    expect(epsilonFromRdp(Float64Array.of(1, 1, 9), 1e-5, [2, 20, 30])).toMatchObject({ order: 20, atEnd: false })
    expect(epsilonFromRdp(Float64Array.of(1, 1), 1e-5, [2, 20])).toMatchObject({ order: 20, atEnd: true })
  })

  test.each([0, 1, -1, Number.NaN, 2])('refuses delta %d', (delta) => {
    expect(() => epsilonFromRdp(new Float64Array(RDP_ORDERS.length), delta)).toThrow(code('invalid_delta'))
  })

  test('refuses what is no curve', () => {
    expect(() => epsilonFromRdp(new Float64Array(2), 1e-5)).toThrow(code('invalid_curve'))
    expect(() => epsilonFromRdp(Float64Array.of(Number.NaN), 1e-5, [2])).toThrow(code('invalid_curve'))
    expect(() => epsilonFromRdp(Float64Array.of(-1e-9), 1e-5, [2])).toThrow(code('invalid_curve'))
  })

  test('property: never falls when rounds or rate grow, never grows when noise or delta do', () => {
    const noise = fc.double({ min: 0.3, max: 50, noNaN: true })
    const rate = fc.double({ min: 1e-5, max: 0.9, noNaN: true })
    const delta = fc.double({ min: 1e-12, max: 0.1, noNaN: true })
    fc.assert(
      fc.property(noise, rate, fc.integer({ min: 1, max: 10_000 }), delta, (s, q, rounds, d) => {
        const { epsilon } = epsilonOf(s, q, rounds, d)
        expect(epsilonOf(s, q, rounds + 1, d).epsilon).toBeGreaterThanOrEqual(epsilon)
        expect(epsilonOf(s, q * 1.1, rounds, d).epsilon).toBeGreaterThanOrEqual(epsilon)
        expect(epsilonOf(s * 1.01, q, rounds, d).epsilon).toBeLessThanOrEqual(epsilon)
        expect(epsilonOf(s, q, rounds, d * 1.01).epsilon).toBeLessThanOrEqual(epsilon)
      }),
      { numRuns: 60 },
    )
  })

  test('property: monotone in the curve to the last bit', () => {
    const value = fc.double({ min: 0, max: 100, noNaN: true })
    fc.assert(
      fc.property(value, value, fc.constantFrom(...RDP_ORDERS), (a, b, order) => {
        const at = (rdp: number) => epsilonFromRdp(Float64Array.of(rdp), 1e-5, [order]).epsilon
        expect(at(Math.min(a, b))).toBeLessThanOrEqual(at(Math.max(a, b)))
      }),
    )
  })
})
