import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fixedStream } from '../../test/privacy/fixed-stream.ts'
import { bernoulliExp, drawWithin, rangeOf, roundedLaplaces } from './laplace.ts'
import { BLOCK_BYTES, type RandomBytes } from './randomness.ts'

const code = (name: string) => expect.objectContaining({ code: name })

/** P(round X = k) for a Laplace variable X of that scale. */
const mass = (scale: number, k: number) =>
  k === 0 ? -Math.expm1(-1 / (2 * scale)) : (Math.exp(-(Math.abs(k) - 0.5) / scale) * -Math.expm1(-1 / scale)) / 2

/** P(X < x). */
const below = (x: number) => (x < 0 ? Math.exp(x) / 2 : 1 - Math.exp(-x) / 2)

/**
 * The chi-square statistic of counts against probabilities, as a standard normal variable (Wilson and Hilferty); bins
 * expected below 10 are merged.
 */
const chiSquareZ = (counts: number[], probabilities: number[]) => {
  const total = counts.reduce((sum, count) => sum + count, 0)
  const bins: [number, number][] = [[0, 0]]
  counts.forEach((count, i) => {
    const bin = bins.at(-1)!
    bin[0] += count
    bin[1] += probabilities[i]! * total
    if (bin[1] >= 10) bins.push([0, 0])
  })
  // The last one has not reached 10.
  const [count, expected] = bins.pop()!
  bins.at(-1)![0] += count
  bins.at(-1)![1] += expected
  const statistic = bins.reduce((sum, [seen, expected]) => sum + (seen - expected) ** 2 / expected, 0)
  const freedom = bins.length - 1
  const spread = 2 / (9 * freedom)
  return (Math.cbrt(statistic / freedom) - 1 + spread) / Math.sqrt(spread)
}
/** A false alarm has a chance of about 1e-6. */
const CHI_SQUARE_Z_MAX = 4.8

const DRAWS = 200_000
const SCALES = [0.05, 0.5, 1, 3.7, 1000]
// By a second implementation of the algorithms in exact fractions (Python), on the same bytes.
const KNOWN = [27, -4769, 2981, 1515, 777, 462, -881, -286, -60, -721, -255, 1104]
const KNOWN_LARGE = [518778146012, 853198789060, -1144219472829, 357403177179]
const KNOWN_SMALL = [5, -11, 5, 0, -14, -1, 0, 1, 3, 0, 2, -8, 0, 3, 2, 2]

describe('the reference functions of this test', () => {
  test.each(SCALES)('scale %d: the masses sum to 1 and each is that of its interval', (scale) => {
    const reach = Math.ceil(50 * scale)
    let sum = mass(scale, 0)
    for (let k = 1; k <= reach; k++) sum += 2 * mass(scale, k)
    expect(sum).toBeCloseTo(1, 12)
    for (const k of [-3, -1, 0, 1, 2]) {
      expect(mass(scale, k)).toBeCloseTo(below((k + 0.5) / scale) - below((k - 0.5) / scale), 12)
    }
  })

  test.each(SCALES)('scale %d: one step changes a mass by e^(1/b) exactly, and by less at zero', (scale) => {
    for (const k of [1, 2, 7]) {
      expect(Math.log(mass(scale, k)) - Math.log(mass(scale, k + 1))).toBeCloseTo(1 / scale, 9)
    }
    const atZero = Math.log(mass(scale, 0)) - Math.log(mass(scale, 1))
    expect(Math.abs(atZero)).toBeLessThan(1 / scale)
  })

  test('the statistic as a normal variable agrees with published quantiles', () => {
    const even = new Array<number>(21).fill(1 / 21)
    // Bins of 1000 expected with a statistic of 0.11 x^2, of twenty degrees of freedom.
    const zOf = (statistic: number) => {
      const x = Math.sqrt(statistic / 0.11)
      return chiSquareZ(
        even.map((_, i) => 1000 + (i === 0 ? 10 * x : i <= 10 ? -x : 0)),
        even,
      )
    }
    expect(zOf(19.337)).toBeCloseTo(0, 1)
    expect(zOf(45.315)).toBeCloseTo(3.09, 1)
  })
})

describe('bernoulliExp', () => {
  class Exhausted extends Error {}

  /** Whether the primitive ends on exactly these words, and with what; null where it asks for more. */
  const decide = (p: bigint, q: bigint, script: readonly number[]): boolean | null => {
    let at = 0
    const word = () => {
      if (at === script.length) throw new Exhausted()
      return script[at++]!
    }
    try {
      return bernoulliExp(p, rangeOf(q), { word })
    } catch (error) {
      if (error instanceof Exhausted) return null
      throw error
    }
  }

  /** Words that stand for the q outcomes of a uniform draw below q: the upper bits of a word count. */
  const outcomes = (q: bigint) => {
    const bits = (q - 1n).toString(2).length
    return Array.from({ length: Number(q) }, (_, value) => value * 2 ** (32 - bits))
  }

  /** Probability, times `whole`, of ending in true within `depth` steps: every sequence of outcomes is played. */
  const playOut = (p: bigint, q: bigint, depth: number) => {
    let whole = 1n
    for (let k = 1n; k <= BigInt(depth); k++) whole *= k * q
    // The first draw is below q (step 1), and then each step k draws below k and below q.
    const chanceOf = (script: readonly number[], weight: bigint): bigint => {
      const decision = decide(p, q, script)
      if (decision !== null) return decision ? weight : 0n
      if (script.length === 2 * depth - 1) return 0n
      const k = (script.length + 1) / 2 + 1
      const words = script.length % 2 === 0 ? outcomes(q) : Array.from({ length: k }, (_, value) => value)
      return words.reduce((sum, next) => sum + chanceOf([...script, next], weight / BigInt(words.length)), 0n)
    }
    return { chance: chanceOf([], whole), whole }
  }

  /** The series of exp(-p/q) up to the power n, n odd: numerator over q^n n!. */
  const series = (p: bigint, q: bigint, n: number) => {
    let numerator = 0n
    let factorial = 1n
    for (let k = BigInt(n); k >= 0n; k--) {
      // From the last term to the first: n!/k! q^(n-k) (-p)^k.
      numerator += factorial * q ** (BigInt(n) - k) * (-p) ** k
      if (k > 0n) factorial *= k
    }
    return { numerator, denominator: q ** BigInt(n) * factorial }
  }

  test.each<[bigint, bigint]>([
    [0n, 3n],
    [1n, 2n],
    [1n, 3n],
    [2n, 3n],
    [3n, 5n],
    [4n, 5n],
    [7n, 8n],
  ])('%d/%d: all outcomes together end in true as often as the series of exp says, as a fraction', (p, q) => {
    const depth = 5
    const { chance, whole } = playOut(p, q, depth)
    const { numerator, denominator } = series(p, q, depth)
    // Through step n, n odd, the decided part is sum over odd k of g^(k-1)/(k-1)! - g^k/k!: the series up to g^n.
    expect(chance * denominator).toBe(numerator * whole)
  })

  test('the series is that of exp', () => {
    const { numerator, denominator } = series(3n, 5n, 25)
    expect(Number((numerator * 10n ** 20n) / denominator) / 1e20).toBeCloseTo(Math.exp(-0.6), 14)
  })

  test('exp(-1) draws nothing but the divisors', () => {
    // Step 2 passed (0 of 2), step 3 passed (3 is 0 of 3), step 4 not: an even step, so false; step 5: true.
    expect(decide(1n, 1n, [0, 3, 5])).toBe(false)
    expect(decide(1n, 1n, [0, 3, 4, 7])).toBe(true)
    expect(decide(1n, 1n, [1])).toBe(false)
    expect(decide(7n, 7n, [1])).toBe(false)
  })

  test.each([0.001, 0.3, 0.9, 1])('rate exp(-%d) of many draws', (gamma) => {
    const range = rangeOf(1000n)
    const p = BigInt(gamma * 1000)
    const bytes = randomBytes(4 * 1_000_000)
    let at = 0
    const words = { word: () => bytes.readUInt32LE(4 * at++) }
    let hits = 0
    for (let i = 0; i < 100_000; i++) if (bernoulliExp(p, range, words)) hits++
    const rate = Math.exp(-gamma)
    expect(Math.abs(hits / 100_000 - rate)).toBeLessThan(5 * Math.sqrt((rate * (1 - rate)) / 100_000))
  })
})

describe('drawWithin', () => {
  const draw = (size: bigint, script: number[]) => drawWithin(rangeOf(size), { word: () => script.shift()! })

  test('takes the most significant bits first and draws what lies beyond again', () => {
    expect(draw(2n ** 53n, [0x80000001, 0xffffffff])).toBe((0x80000001n << 21n) | 0x1fffffn)
    expect(draw(5n, [0xa0000000, 0xe0000000, 0x80000000])).toBe(4n)
    expect(draw(2n ** 32n, [7])).toBe(7n)
    expect(draw(2n ** 32n + 1n, [0x80000000, 2 ** 31, 0, 2 ** 31])).toBe(1n)
    expect(draw(1n, [0x80000000, 0])).toBe(0n)
  })

  test('each of few integers comes equally often', () => {
    const counts = new Array<number>(11).fill(0)
    const bytes = randomBytes(4 * DRAWS)
    let at = 0
    const words = { word: () => bytes.readUInt32LE(4 * at++) }
    for (let i = 0; i < DRAWS / 2; i++) counts[Number(drawWithin(rangeOf(11n), words))]!++
    expect(chiSquareZ(counts, new Array<number>(11).fill(1 / 11))).toBeLessThan(CHI_SQUARE_Z_MAX)
  })
})

describe('roundedLaplaces', () => {
  test.each(SCALES)('scale %d: chi-square against the exact rounded Laplace', (scale) => {
    const reach = Math.ceil(40 * scale)
    const counts = new Array<number>(2 * reach + 1).fill(0)
    // Of the smallest scale, one draw in 22,000 is not 0.
    const count = scale < 0.1 ? 5 * DRAWS : DRAWS
    for (const draw of roundedLaplaces({ count, scale }, randomBytes)) counts[draw + reach]!++
    const masses = counts.map((_, i) => mass(scale, i - reach))
    const bySize = (of: number[]) => [of[reach]!, ...of.slice(reach + 1).map((v, k) => v + of[reach - 1 - k]!)]
    expect(chiSquareZ(bySize(counts), bySize(masses))).toBeLessThan(CHI_SQUARE_Z_MAX)
    if (scale >= 0.1) expect(chiSquareZ(counts, masses)).toBeLessThan(CHI_SQUARE_Z_MAX)
  })

  test.each([1e6, 3.7e10, 2 ** 40])('scale %d: Kolmogorov-Smirnov against the continuous Laplace', (scale) => {
    const draws = roundedLaplaces({ count: DRAWS, scale }, randomBytes).sort()
    let gap = 0
    draws.forEach((draw, i) => {
      const at = below(draw / scale)
      gap = Math.max(gap, at - i / DRAWS, (i + 1) / DRAWS - at)
    })
    // P(sqrt(n) D > 2.7) = 9e-7; a rounding moves the distribution function by less than 1e-6.
    expect(Math.sqrt(DRAWS) * gap).toBeLessThan(2.7)
  })

  test('low digits of large draws are uniform: which integers can come does not tell the sum they are added to', () => {
    const counts = new Array<number>(64).fill(0)
    for (const draw of roundedLaplaces({ count: DRAWS, scale: 1.5e6 }, randomBytes)) counts[((draw % 64) + 64) % 64]!++
    expect(chiSquareZ(counts, new Array<number>(64).fill(1 / 64))).toBeLessThan(CHI_SQUARE_Z_MAX)
  })

  test('every integer near the middle comes, whatever the sum', () => {
    const draws = new Set(roundedLaplaces({ count: DRAWS, scale: 20 }, randomBytes))
    for (const sum of [0, 1, -7]) for (let y = -80; y <= 80; y++) expect(draws.has(y - sum)).toBe(true)
  })

  test('pure privacy: a step of the sum changes each output by e^(1/b) at most, and beyond zero by just that', () => {
    const scale = 4
    const seen = new Map<number, number>()
    for (const draw of roundedLaplaces({ count: DRAWS, scale }, randomBytes)) seen.set(draw, (seen.get(draw) ?? 0) + 1)
    for (let output = -12; output <= 12; output++) {
      const [a, b] = [seen.get(output)!, seen.get(output - 1)!]
      const loss = Math.log(a / b)
      // Five standard errors of a log ratio of counts.
      const error = 5 * Math.sqrt(1 / a + 1 / b)
      expect(Math.abs(loss)).toBeLessThan(1 / scale + error)
      if (output > 1 || output < 0) expect(Math.abs(loss + Math.sign(output - 0.5) / scale)).toBeLessThan(error)
    }
  })

  test('moments: those of the masses, and a variance of 2 b^2 + 1/12', () => {
    const scale = 12.5
    const draws = roundedLaplaces({ count: DRAWS, scale }, randomBytes)
    /** Of the size of a draw. */
    const moment = (power: number) => {
      let sum = 0
      for (let k = 1; k < 1500; k++) sum += 2 * mass(scale, k) * k ** power
      return sum
    }
    const expected = [0, moment(2), 0, moment(4)]
    expect(expected[1]).toBeCloseTo(2 * scale ** 2 + 1 / 12, 2)
    expected.forEach((value, i) => {
      const mean = draws.reduce((sum, draw) => sum + draw ** (i + 1), 0) / DRAWS
      const error = Math.sqrt((moment(2 * i + 2) - value ** 2) / DRAWS)
      expect(Math.abs(mean - value)).toBeLessThan(5 * error)
    })
  })

  test('signs are even and independent of the sizes', () => {
    const draws = roundedLaplaces({ count: DRAWS, scale: 3.7 }, randomBytes)
    for (const size of [1, 2, 5, 10]) {
      const of = draws.filter((draw) => Math.abs(draw) === size)
      const positive = of.filter((draw) => draw > 0).length
      expect(Math.abs(positive - of.length / 2)).toBeLessThan(2.5 * Math.sqrt(of.length))
    }
  })

  test('successive draws are independent: pairs of classes at the product of their chances, no correlation', () => {
    const scale = 2
    const draws = roundedLaplaces({ count: DRAWS, scale }, randomBytes)
    const classOf = (draw: number) => (draw === 0 ? 0 : (Math.abs(draw) > 2 ? 1 : 2) + (draw > 0 ? 2 : 0))
    const near = mass(scale, 1) + mass(scale, 2)
    const far = (1 - mass(scale, 0)) / 2 - near
    const chances = [mass(scale, 0), far, near, far, near]
    const counts = new Array<number>(25).fill(0)
    // Pairs that do not overlap, so that the counts are multinomial.
    for (let i = 1; i < DRAWS; i += 2) counts[classOf(draws[i - 1]!) * 5 + classOf(draws[i]!)]!++
    const products = chances.flatMap((a) => chances.map((b) => a * b))
    expect(chiSquareZ(counts, products)).toBeLessThan(CHI_SQUARE_Z_MAX)
    const variance = draws.reduce((sum, x) => sum + x * x, 0) / DRAWS
    for (const lag of [1, 2, 16]) {
      const sum = draws.reduce((total, x, i) => total + x * (draws[i - lag] ?? 0), 0)
      expect(Math.abs(sum / DRAWS / variance)).toBeLessThan(5 / Math.sqrt(DRAWS))
    }
  })

  test('known answer on a fixed byte stream', () => {
    expect([...roundedLaplaces({ count: 12, scale: 1000.25 }, fixedStream(1))]).toEqual(KNOWN)
    expect([...roundedLaplaces({ count: 4, scale: 2 ** 40 }, fixedStream(2))]).toEqual(KNOWN_LARGE)
    expect([...roundedLaplaces({ count: 16, scale: 3.7 }, fixedStream(3))]).toEqual(KNOWN_SMALL)
  })

  test('the bytes of the generator decide everything: same bytes, same draws; there is no seed to give', () => {
    const request = { count: 50, scale: 3e5 }
    expect(roundedLaplaces(request, fixedStream(9))).toEqual(roundedLaplaces(request, fixedStream(9)))
    expect(roundedLaplaces({ ...request, seed: 1, round: 2 } as typeof request, fixedStream(9))).toEqual(
      roundedLaplaces(request, fixedStream(9)),
    )
    expect(roundedLaplaces(request, randomBytes)).not.toEqual(roundedLaplaces(request, randomBytes))
    expect(roundedLaplaces.length).toBe(2)
  })

  test('property: any scale gives safe integers, without negative zero', () => {
    const scales = fc.oneof(
      fc.double({ min: Number.MIN_VALUE, max: 2 ** 45, noNaN: true }),
      fc.double({ min: 0.01, max: 100, noNaN: true }),
      fc.constantFrom(Number.MIN_VALUE, 2 ** -1022, 0.5, 1, 2, 2 ** 40, 2 ** 45),
    )
    fc.assert(
      fc.property(scales, (scale) => {
        for (const draw of roundedLaplaces({ count: 20, scale }, randomBytes)) {
          expect(Number.isSafeInteger(draw) && !Object.is(draw, -0)).toBe(true)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('a scale far below the grid rounds to 0', () => {
    for (const scale of [Number.MIN_VALUE, 1e-300, 1e-3]) {
      expect(roundedLaplaces({ count: 50, scale }, randomBytes).every((draw) => Object.is(draw, 0))).toBe(true)
    }
  })

  test('beyond the safe integers it throws instead of rounding', () => {
    for (const scale of [2 ** 80, 1e300, Number.MAX_VALUE]) {
      expect(() => roundedLaplaces({ count: 1, scale }, randomBytes)).toThrow(code('noise_out_of_range'))
    }
  })

  test('the words asked for do not grow with the scale', () => {
    const bytesAt = (scale: number) => {
      let bytes = 0
      const counting: RandomBytes = (length) => {
        bytes += length
        return randomBytes(length)
      }
      roundedLaplaces({ count: 20_000, scale }, counting)
      return bytes / 20_000
    }
    for (const scale of [0.01, 1, 1e6, 2 ** 40]) expect(bytesAt(scale)).toBeLessThan(100)
  })

  test('a generator that is stuck, short, or fails ends in an error and wipes what it gave', () => {
    const given: Uint8Array[] = []
    const stuck: RandomBytes = (length) => {
      const block = new Uint8Array(length).fill(0xa5)
      given.push(block)
      return block
    }
    const short: RandomBytes = (length) => randomBytes(length - 1)
    const failing: RandomBytes = () => {
      throw new Error('no entropy')
    }
    for (const random of [stuck, short, failing]) {
      expect(() => roundedLaplaces({ count: 5, scale: 5 }, random)).toThrow(code('rng_failure'))
    }
    expect(given.at(-1)!.length).toBe(BLOCK_BYTES)
    expect(given.at(-1)!.every((byte) => byte === 0)).toBe(true)
  })

  test('a periodic generator whose every draw is to be drawn again ends in an error, not in an endless loop', () => {
    let calls = 0
    const periodic: RandomBytes = (length) => new Uint8Array(length).fill(++calls % 2 === 0 ? 0xff : 0xfe)
    expect(() => roundedLaplaces({ count: 1, scale: 5 }, periodic)).toThrow(code('rng_failure'))
  })

  test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses the scale %d', (scale) => {
    expect(() => roundedLaplaces({ count: 1, scale }, randomBytes)).toThrow(code('invalid_noise'))
  })

  test('refuses a count that is none', () => {
    expect(() => roundedLaplaces({ count: -1, scale: 1 }, randomBytes)).toThrow(code('invalid_count'))
    expect(roundedLaplaces({ count: 0, scale: 1 }, randomBytes)).toHaveLength(0)
  })
})
