import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NOISE_EXACT_MIN, renyiDivergences } from './divergence.ts'

const at = (noiseMultiplier: number, samplingRate: number, order: number, method?: 'best' | 'quadrature') =>
  renyiDivergences({ noiseMultiplier, samplingRate }, [order], method)[0]!

const relativeError = (value: number, reference: number) => Math.abs(value / reference - 1)

// [noise, rate, order, divergence]: trapezoid sums in 60-digit arithmetic (mpmath), doubles taken exactly.
const REFERENCE = [
  [0.5, 0.01, 1.01, 0.00136876420213349],
  [0.5, 0.01, 3.7, 1.111161717226892],
  [0.5, 0.2, 10.9, 20.02799260146145],
  [20, 0.001, 1.1, 1.376717080501952e-9],
  [20, 0.001, 2.5, 3.128913418702554e-9],
  [1000, 1e-6, 3.3, 1.65000082500242e-18],
  [1, 0.01, 1.5, 0.0001272537433274498],
  [4, 0.2, 7.7, 0.01055422090097751],
  [0.7, 0.999, 1.3, 1.324547336055575],
  [1e5, 1e-4, 1.05, 5.250000000262451e-19],
  [20, 0.001, 64, 8.011251480312633e-8],
  [0.3, 0.05, 5.5, 26.89410499898957],
  [1, 0.06, 2, 0.006166760965817097],
  [2.5, 0.06, 16, 0.005893028451151124],
  [0.05, 1e-3, 1.05, 65.699530292906],
  [1, 1e-12, 1.01, 8.677323233694963e-25],
  [8, 0.5, 10.9, 0.02218765702435548],
  [1, 0.01, 1.02, 8.552934889508885e-5],
] as const

/** Direction "add", D(N(0,s^2) || mixture), by a plain Riemann sum. */
const addDirection = (noise: number, rate: number, order: number) => {
  const step = Math.min(0.1, noise / 8)
  let sum = 0
  for (let t = -14; t < 14; t += step) {
    const a = 1 + rate * Math.expm1(t / noise - 1 / (2 * noise * noise))
    sum += step * Math.exp(-t * t * 0.5 + (1 - order) * Math.log(a))
  }
  return Math.log(sum / Math.sqrt(2 * Math.PI)) / (order - 1)
}

const noises = fc.double({ min: 0.06, max: 1e4, noNaN: true })
const rates = fc.double({ min: 1e-9, max: 0.9999, noNaN: true })
const reals = fc.double({ min: 1.01, max: 64, noNaN: true })

describe('renyiDivergences', () => {
  test.each(REFERENCE)(
    'noise %d, rate %d, order %d: within 1e-12 of 60-digit arithmetic',
    (noise, rate, order, value) => {
      expect(relativeError(at(noise, rate, order), value)).toBeLessThan(1e-12)
      expect(relativeError(at(noise, rate, order, 'quadrature'), value)).toBeLessThan(1e-12)
    },
  )

  test('no sampling: A/(2 s^2); rate 0: nothing', () => {
    expect(at(2, 1, 5)).toBe(5 / 8)
    expect(at(0.01, 1, 1.01)).toBeCloseTo(5050, 9)
    expect(at(2, 0, 5)).toBe(0)
  })

  test('the series at integer orders equals the integral, to 1e-10', () => {
    for (const noise of [0.05, 0.1, 0.5, 1, 4, 20, 1000]) {
      for (const rate of [1e-9, 1e-3, 0.06, 0.5, 0.999]) {
        for (const order of [2, 3, 5, 16, 64, 256, 1024]) {
          const series = at(noise, rate, order)
          const integral = at(noise, rate, order, 'quadrature')
          expect(relativeError(series, integral), `${noise} ${rate} ${order}`).toBeLessThan(1e-10)
        }
      }
    }
  })

  test('property: between 0 and the unsampled divergence, growing with rate and order, falling with noise', () => {
    fc.assert(
      fc.property(noises, rates, reals, (noise, rate, order) => {
        const value = at(noise, rate, order)
        expect(value).toBeGreaterThan(0)
        expect(value).toBeLessThanOrEqual((order / noise / noise / 2) * (1 + 1e-10))
        expect(at(noise, Math.min(1, rate * 1.01), order)).toBeGreaterThan(value)
        expect(at(noise, rate, order * 1.01)).toBeGreaterThan(value)
        expect(at(noise * 1.01, rate, order)).toBeLessThan(value)
      }),
    )
  })

  test('the direction "remove" is the larger one', () => {
    for (const noise of [0.5, 0.7, 1, 2, 8]) {
      for (const rate of [0.01, 0.06, 0.3, 0.9]) {
        for (const order of [1.1, 1.7, 2, 4.5, 12]) {
          expect(at(noise, rate, order) * (1 + 1e-9)).toBeGreaterThan(addDirection(noise, rate, order))
        }
      }
    }
  })

  test('below NOISE_EXACT_MIN the answer is a bound, so the divergence only jumps up', () => {
    const below = NOISE_EXACT_MIN * (1 - 1e-9)
    for (const order of [1.01, 1.5, 2, 7.3])
      expect(at(below, 0.001, order)).toBeGreaterThan(at(NOISE_EXACT_MIN, 0.001, order))
  })

  test('stays finite and positive at the extremes', () => {
    for (const noise of [0.05, 1, 1e6, 1e12]) {
      for (const rate of [Number.MIN_VALUE, 1e-200, 1e-12, 1 - 2 ** -53]) {
        for (const order of [1.01, 1.5, 2, 10.9, 2048, 2048.5]) {
          const value = at(noise, rate, order)
          expect(Number.isFinite(value) && value >= 0, `${noise} ${rate} ${order}`).toBe(true)
        }
      }
    }
  })
})
