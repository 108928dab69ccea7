import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { fixedStream } from '../../test/privacy/fixed-stream.ts'
import { roundedNormals } from './normal.ts'
import type { RandomBytes } from './randomness.ts'

const code = (name: string) => expect.objectContaining({ code: name })

const logGamma = (z: number): number => {
  if (z < 12) return logGamma(z + 1) - Math.log(z)
  const correction = 1 / (12 * z) - 1 / (360 * z ** 3) + 1 / (1260 * z ** 5) - 1 / (1680 * z ** 7)
  return (z - 0.5) * Math.log(z) - z + Math.log(2 * Math.PI) / 2 + correction
}

/** Upper regularised incomplete gamma function Q(a, x): series below a + 1, continued fraction above. */
const upperGamma = (a: number, x: number): number => {
  const front = Math.exp(a * Math.log(x) - x - logGamma(a))
  if (x < a + 1) {
    let term = 1 / a
    let sum = term
    for (let n = 1; term > sum * 1e-17; n++) {
      term *= x / (a + n)
      sum += term
    }
    return 1 - front * sum
  }
  let fraction = 0
  for (let n = 400; n > 0; n--) fraction = (n * (n - a)) / (x + 2 * n + 1 - a - fraction)
  return front / (x + 1 - a - fraction)
}

/** P(N(0,1) > z), from erfc(y) = Q(1/2, y^2). */
const survival = (z: number): number => {
  if (z === 0) return 0.5
  const tail = upperGamma(0.5, (z * z) / 2) / 2
  return z > 0 ? tail : 1 - tail
}

/** What can not happen is not merged with what can. */
const NEVER = 1e-9

/** p-value of the chi-square test of counts against probabilities; bins expected below 10 are merged, the last ones too. */
const chiSquareP = (counts: number[], probabilities: number[]) => {
  const total = counts.reduce((sum, count) => sum + count, 0)
  const bins: { expected: number; seen: number }[] = []
  let open = { expected: 0, seen: 0 }
  counts.forEach((count, i) => {
    open = { expected: open.expected + probabilities[i]! * total, seen: open.seen + count }
    if (open.expected < 10) return
    bins.push(open)
    open = { expected: 0, seen: 0 }
  })
  const last = bins.at(-1)
  if (last && open.expected > NEVER) {
    last.expected += open.expected
    last.seen += open.seen
  } else bins.push(open)
  const statistic = bins.reduce((sum, { expected, seen }) => {
    return expected === 0 && seen === 0 ? sum : sum + (seen - expected) ** 2 / expected
  }, 0)
  return upperGamma((bins.length - 1) / 2, statistic / 2)
}

const DRAWS = 100_000
// By a second implementation of the algorithms in exact fractions (Python), on the same bytes.
const KNOWN = [-216, 18, 1319, -95, -452, 1668, -250, -83, 192, 322, -897, -708]
const KNOWN_LARGE = [1008833481442, 1616138062454, 607530953389, 20170043216]

describe('the reference functions of this test', () => {
  test('survival and chi-square agree with published values', () => {
    expect(survival(1.959963984540054)).toBeCloseTo(0.025, 12)
    expect(survival(-1)).toBeCloseTo(0.841344746068543, 12)
    expect(upperGamma(5, 9.154)).toBeCloseTo(0.05, 3)
    expect(upperGamma(0.5, 1.920729410347062)).toBeCloseTo(0.05, 10)
  })
})

describe('roundedNormals', () => {
  test.each([0.05, 0.3, 0.7, 1, 3.3, 17.25])(
    'deviation %d: chi-square against the exact rounded normal',
    (deviation) => {
      const reach = Math.ceil(7 * deviation)
      const counts = new Array<number>(2 * reach + 1).fill(0)
      for (const draw of roundedNormals({ count: DRAWS, deviation }, randomBytes)) counts[draw + reach]!++
      const edge = (x: number) => survival((x - 0.5) / deviation)
      const probabilities = counts.map((_, i) => edge(i - reach) - edge(i - reach + 1))
      expect(chiSquareP(counts, probabilities)).toBeGreaterThan(1e-6)
    },
  )

  test.each([1.5e6, 3.7e10])('deviation %d: chi-square by bins of a twentieth of a deviation', (deviation) => {
    const counts = new Array<number>(160).fill(0)
    const width = Math.round(deviation / 20)
    const bin = (draw: number) => Math.min(159, Math.max(0, Math.floor(draw / width) + 80))
    for (const draw of roundedNormals({ count: DRAWS, deviation }, randomBytes)) counts[bin(draw)]!++
    const edge = (i: number) => (i <= 0 ? 1 : i >= 160 ? 0 : survival(((i - 80) * width - 0.5) / deviation))
    const probabilities = counts.map((_, i) => edge(i) - edge(i + 1))
    expect(chiSquareP(counts, probabilities)).toBeGreaterThan(1e-6)
  })

  test('low digits of large draws are uniform', () => {
    const counts = new Array<number>(64).fill(0)
    for (const draw of roundedNormals({ count: DRAWS, deviation: 1.5e6 }, randomBytes))
      counts[((draw % 64) + 64) % 64]!++
    expect(chiSquareP(counts, new Array<number>(64).fill(1 / 64))).toBeGreaterThan(1e-6)
  })

  test('moments: mean 0, variance s^2 + 1/12, kurtosis 3, successive draws uncorrelated', () => {
    const deviation = 12.5
    const draws = roundedNormals({ count: DRAWS, deviation }, randomBytes)
    const mean = (of: (draw: number, i: number) => number) =>
      draws.reduce((sum, draw, i) => sum + of(draw, i), 0) / DRAWS
    const root = Math.sqrt(DRAWS)
    const sd = Math.sqrt(deviation ** 2 + 1 / 12)
    // Five standard errors each: chance of a false alarm about 6e-7.
    expect(Math.abs(mean((x) => x / sd))).toBeLessThan(5 / root)
    expect(Math.abs(mean((x) => (x / sd) ** 2) - 1)).toBeLessThan((5 * Math.SQRT2) / root)
    expect(Math.abs(mean((x) => (x / sd) ** 3))).toBeLessThan((5 * Math.sqrt(15)) / root)
    expect(Math.abs(mean((x) => (x / sd) ** 4) - 3)).toBeLessThan((5 * Math.sqrt(96)) / root)
    expect(Math.abs(mean((x, i) => (x * (draws[i - 1] ?? 0)) / sd ** 2))).toBeLessThan(5 / root)
  })

  test('known answer on a fixed byte stream', () => {
    expect([...roundedNormals({ count: 12, deviation: 1000.25 }, fixedStream(1))]).toEqual(KNOWN)
    expect([...roundedNormals({ count: 4, deviation: 2 ** 40 }, fixedStream(2))]).toEqual(KNOWN_LARGE)
  })

  test('the bytes of the generator decide everything: same bytes, same draws; there is no seed to give', () => {
    const request = { count: 50, deviation: 3e5 }
    expect(roundedNormals(request, fixedStream(9))).toEqual(roundedNormals(request, fixedStream(9)))
    expect(roundedNormals({ ...request, seed: 1, round: 2 } as typeof request, fixedStream(9))).toEqual(
      roundedNormals(request, fixedStream(9)),
    )
    expect(roundedNormals(request, randomBytes)).not.toEqual(roundedNormals(request, randomBytes))
    expect(roundedNormals.length).toBe(2)
  })

  test('a deviation far below the grid rounds to 0, without negative zero', () => {
    for (const deviation of [Number.MIN_VALUE, 1e-300, 1e-3]) {
      expect(roundedNormals({ count: 50, deviation }, randomBytes).every((draw) => Object.is(draw, 0))).toBe(true)
    }
  })

  test('beyond the safe integers it throws instead of rounding', () => {
    for (const deviation of [2 ** 80, 1e300]) {
      expect(() => roundedNormals({ count: 1, deviation }, randomBytes)).toThrow(code('noise_out_of_range'))
    }
  })

  test('a periodic generator ends in an error, not in an endless loop', () => {
    let calls = 0
    const periodic: RandomBytes = (length) => new Uint8Array(length).fill(++calls % 2 === 0 ? 1 : 2)
    expect(() => roundedNormals({ count: 1e6, deviation: 5 }, periodic)).toThrow(code('rng_failure'))
  })

  test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses the deviation %d', (deviation) => {
    expect(() => roundedNormals({ count: 1, deviation }, randomBytes)).toThrow(code('invalid_noise'))
  })

  test('refuses a count that is none', () => {
    expect(() => roundedNormals({ count: -1, deviation: 1 }, randomBytes)).toThrow(code('invalid_count'))
    expect(roundedNormals({ count: 0, deviation: 1 }, randomBytes)).toHaveLength(0)
  })
})
