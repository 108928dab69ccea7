import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  ELEMENTARY_ERROR,
  exp,
  expm1,
  log,
  log1p,
  normalTail,
  quarterWave,
  ROTATION_ERROR,
  ROTATION_MAX,
  rotation,
  TAIL_ERROR,
  WAVE_ERROR,
  WAVE_POINTS_MAX,
} from './elementary.ts'

/** x, the correctly rounded result, and what is missing to the exact one. */
type Row = [number, number, number]
/** k, n, then cos and sin of 2 pi k/n, each rounded and with what is missing. */
type WaveRow = [number, number, number, number, number, number]
type Vectors = Record<'exp' | 'expm1' | 'log' | 'log1p' | 'normalTail', Row[]> & { wave: WaveRow[] }

const vectors: Vectors = JSON.parse(
  readFileSync(new URL('../../test/vectors/elementary.json', import.meta.url), 'utf8'),
)
const LEAST_NORMAL = 2 ** -1022
const LEAST = 2 ** -1074

const FUNCTIONS = [
  ['exp', exp, ELEMENTARY_ERROR, 400],
  ['expm1', expm1, ELEMENTARY_ERROR, 400],
  ['log', log, ELEMENTARY_ERROR, 400],
  ['log1p', log1p, ELEMENTARY_ERROR, 400],
  ['normalTail', normalTail, TAIL_ERROR, 500],
] as const

describe.each(FUNCTIONS)('%s against 60-digit values', (name, compute, bound, least) => {
  const normal = vectors[name].filter(([, value]) => value === 0 || Math.abs(value) >= LEAST_NORMAL)
  const subnormal = vectors[name].filter((row) => !normal.includes(row))
  const errors = normal.map(([x, value, rest]) => {
    const error = Math.abs(compute(x) - value - rest)
    return error === 0 ? 0 : error / Math.abs(value)
  })

  test('is within half the documented error', () => {
    expect(vectors[name].length).toBeGreaterThan(least)
    expect(Math.max(...errors)).toBeLessThanOrEqual(bound / 2)
  })

  test('is mostly within one rounding, so no piece of the range has lost digits', () => {
    const good = errors.filter((error) => error <= (bound / ELEMENTARY_ERROR) * 2 ** -53)
    expect(good.length / errors.length).toBeGreaterThan(0.9)
  })

  test('is within one unit where the result is subnormal', () => {
    const units = subnormal.map(([x, value]) => Math.abs(compute(x) - value) / LEAST)
    expect(Math.max(0, ...units)).toBeLessThanOrEqual(1)
  })
})

const INFINITY = Number.POSITIVE_INFINITY
const SPECIAL = [Number.NaN, INFINITY, -INFINITY, 0, -0, 1, -1, 5e-324, -5e-324, -2, 1e308, -1e308, 1e-300, -1e-300]

describe.each([
  ['exp', exp, Math.exp],
  ['expm1', expm1, Math.expm1],
  ['log', log, Math.log],
  ['log1p', log1p, Math.log1p],
] as const)('%s and the engine', (_name, compute, engine) => {
  const relative = (x: number) => Math.abs(compute(x) / engine(x) - 1)

  test.each(SPECIAL)('agree at %s', (x) => {
    if (Number.isFinite(engine(x)) && engine(x) !== 0) expect(relative(x)).toBeLessThan(1e-15)
    else expect(compute(x)).toBe(engine(x))
  })

  test('property: agree to 1e-15', () => {
    fc.assert(
      fc.property(fc.oneof(fc.double(), fc.double({ min: -700, max: 700 })), (x) => {
        const expected = engine(x)
        if (Number.isFinite(expected)) {
          expect(Math.abs(compute(x) - expected)).toBeLessThanOrEqual(1e-15 * Math.abs(expected) + LEAST)
        } else expect(compute(x)).toBe(expected)
      }),
      { numRuns: 3000 },
    )
  })

  test('property: never falls over a step of 1e-14', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-300, max: 700, noNaN: true }), fc.boolean(), (size, negative) => {
        const x = negative && engine !== Math.log ? -size : size
        const next = x + Math.abs(x) * 1e-14
        expect(compute(next) >= compute(x) || Number.isNaN(engine(x))).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('the ends of the range', () => {
  test('exp overflows and underflows where the largest and least doubles lie', () => {
    expect(exp(709.782712893384)).toBeLessThan(INFINITY)
    expect(exp(709.7827128933841)).toBe(INFINITY)
    expect(exp(-745.1332191019411)).toBe(LEAST)
    expect(exp(-745.14)).toBe(0)
    expect(expm1(710)).toBe(INFINITY)
  })

  test('expm1 meets -1 and log1p leaves tiny values alone', () => {
    expect(expm1(-39)).toBe(-1)
    expect(expm1(-1e300)).toBe(-1)
    for (const x of [1e-17, -1e-17, 5e-324, -0]) {
      expect(log1p(x)).toBe(x)
      expect(expm1(x)).toBe(x)
    }
  })

  test('every power of two has its multiple of ln 2 as logarithm', () => {
    const off = Array.from({ length: 2098 }, (_, i) => Math.abs(log(2 ** (i - 1074)) - (i - 1074) * Math.LN2))
    expect(off[1074]).toBe(0)
    expect(Math.max(...off.map((error, i) => error / Math.max(1, Math.abs(i - 1074))))).toBeLessThan(ELEMENTARY_ERROR)
    expect(log(Number.MAX_VALUE)).toBe(Math.log(Number.MAX_VALUE))
  })
})

describe('identities', () => {
  const moderate = fc.double({ min: -300, max: 300, noNaN: true })

  test('property: log undoes exp, log1p undoes expm1', () => {
    fc.assert(
      fc.property(moderate, (x) => {
        expect(Math.abs(log(exp(x)) - x)).toBeLessThanOrEqual(3 * ELEMENTARY_ERROR * Math.max(1, Math.abs(x)))
        const small = x / 300
        expect(Math.abs(log1p(expm1(small)) - small)).toBeLessThanOrEqual(1e-15 * Math.abs(small))
      }),
    )
  })

  test('property: exp turns sums of eighths into products', () => {
    const eighths = fc.integer({ min: -2000, max: 2000 }).map((n) => n / 8)
    fc.assert(
      fc.property(eighths, eighths, (a, b) => {
        expect(Math.abs(exp(a + b) / (exp(a) * exp(b)) - 1)).toBeLessThanOrEqual(4 * ELEMENTARY_ERROR)
      }),
    )
  })
})

describe('normalTail', () => {
  test('at the special values', () => {
    expect(normalTail(0)).toBe(0.5)
    expect(normalTail(-0)).toBe(0.5)
    expect([INFINITY, -INFINITY, Number.NaN, 39, 1e308, -1e308].map(normalTail)).toEqual([0, 1, Number.NaN, 0, 0, 1])
  })

  test('property: both tails make one', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 40, noNaN: true }), (t) => {
        expect(normalTail(t) + normalTail(-t)).toBe(1)
      }),
    )
  })

  test('property: never grows over a step of 1e-13, and shrinks over one of 1e-3 until it is 0', () => {
    fc.assert(
      fc.property(fc.double({ min: -39, max: 39, noNaN: true }), (t) => {
        expect(normalTail(t + 1e-13)).toBeLessThanOrEqual(normalTail(t))
        if (t > -7 && t < 38) expect(normalTail(t + 1e-3)).toBeLessThan(normalTail(t))
      }),
      { numRuns: 1000 },
    )
  })
})

describe('quarterWave', () => {
  test('is within half the documented error', () => {
    const waves = new Map(vectors.wave.map(([, n]) => [n, quarterWave(n)]))
    const errors = vectors.wave.flatMap(([k, n, cos, cosRest, sin, sinRest]) => {
      const wave = waves.get(n)!
      return [Math.abs(wave.cos[k]! - cos - cosRest), Math.abs(wave.sin[k]! - sin - sinRest)]
    })
    expect(errors.length).toBeGreaterThan(500)
    expect(Math.max(...errors)).toBeLessThanOrEqual(WAVE_ERROR / 2)
  })

  test.each([4, 8, 64, 4096])('agrees with the engine at every one of %i points', (n) => {
    const { cos, sin } = quarterWave(n)
    const off = Array.from({ length: n }, (_, k) => {
      const angle = (2 * Math.PI * k) / n
      return Math.max(Math.abs(cos[k]! - Math.cos(angle)), Math.abs(sin[k]! - Math.sin(angle)))
    })
    expect([cos.length, sin.length]).toEqual([n, n])
    // The engine is given a rounded angle, up to 2 pi with a relative error of 2^-52.
    expect(Math.max(...off)).toBeLessThanOrEqual(2e-15)
  })

  test('is exactly symmetric, and has no -0', () => {
    const n = 1024
    const { cos, sin } = quarterWave(n)
    for (let k = 0; k < n; k++) {
      expect(sin[(k + n / 4) % n]).toBe(cos[k])
      if (sin[k] !== 0) expect(sin[n - k]).toBe(-sin[k]!)
    }
    expect([...cos, ...sin].some((value) => Object.is(value, -0))).toBe(false)
  })

  test('a longer wave holds the shorter one, bit for bit', () => {
    const [short, long] = [quarterWave(256), quarterWave(4096)]
    expect(short.cos).toEqual(long.cos.filter((_, k) => k % 16 === 0))
    expect(short.sin).toEqual(long.sin.filter((_, k) => k % 16 === 0))
  })

  test.each([0, 1, 2, 3, 6, 12, 4.5, -8, 2 ** 32, 2 * WAVE_POINTS_MAX, Number.NaN, INFINITY])('refuses %d', (n) => {
    expect(() => quarterWave(n)).toThrow(expect.objectContaining({ code: 'invalid_count' }))
  })
})

/** FNV-1a over the low, then the high word of each value. */
const checksum = (values: Iterable<number>) => {
  const view = new DataView(new ArrayBuffer(8))
  let hash = 0x811c9dc5
  for (const value of values) {
    view.setFloat64(0, value, true)
    hash = Math.imul(hash ^ view.getUint32(0, true), 0x01000193)
    hash = Math.imul(hash ^ view.getUint32(4, true), 0x01000193)
  }
  return hash >>> 0
}

/** 2000 exact points from -1 up to 1, from a linear congruential generator. */
const points = () => {
  let state = 1
  return Array.from({ length: 2000 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return state / 2 ** 31
  })
}

describe('rotation', () => {
  const at = (angle: number) => {
    const point = new Float64Array(2)
    rotation(angle, point)
    return point
  }

  test('property: agrees with the engine, itself right to half an ulp, within the documented error', () => {
    const sizes = fc.oneof(
      fc.double({ min: -ROTATION_MAX, max: ROTATION_MAX, noNaN: true }),
      fc.double({ min: -7, max: 7, noNaN: true }),
      // Next to quarter turns everything cancels but the last part of pi/2.
      fc.integer({ min: -63_661, max: 63_661 }).map((k) => (k * Math.PI) / 2),
    )
    fc.assert(
      fc.property(sizes, (angle) => {
        const [x, y] = at(angle)
        expect(Math.abs(x! - Math.cos(angle))).toBeLessThanOrEqual(ROTATION_ERROR)
        expect(Math.abs(y! - Math.sin(angle))).toBeLessThanOrEqual(ROTATION_ERROR)
      }),
      { numRuns: 5000 },
    )
  })

  test('is within half the documented error of the 60-digit waves', () => {
    for (const [k, n, cos, cosRest, sin, sinRest] of vectors.wave) {
      const angle = (2 * Math.PI * k) / n
      const [x, y] = at(angle)
      // The angle itself is rounded three times, up to 2 pi.
      expect(Math.abs(x! - cos - cosRest)).toBeLessThanOrEqual(ROTATION_ERROR / 2 + 4 * 2 ** -52 * angle)
      expect(Math.abs(y! - sin - sinRest)).toBeLessThanOrEqual(ROTATION_ERROR / 2 + 4 * 2 ** -52 * angle)
    }
  })

  test('is exact at 0, and NaN beyond its range', () => {
    expect([...at(0)]).toEqual([1, 0])
    for (const angle of [2 * ROTATION_MAX, -2 * ROTATION_MAX, INFINITY, Number.NaN]) {
      expect([...at(angle)]).toEqual([Number.NaN, Number.NaN])
    }
  })

  test('2000 values hash to the pinned number', () => {
    expect(checksum(points().flatMap((u) => [...at(u * (u < 0 ? 10 : ROTATION_MAX))]))).toBe(1290807570)
  })
})

describe('the same bits everywhere', () => {
  test('10,000 values and a wave hash to the pinned numbers', () => {
    const hashes = {
      exp: checksum(points().map((u) => exp(u * (u < 0 ? 745 : 709)))),
      expm1: checksum(points().map((u) => expm1(u * u * u * 45))),
      log: checksum(points().map((u) => log((1 + u) * (u < 0 ? 1 : 1e300)))),
      log1p: checksum(points().map((u) => log1p(u < 0 ? u : u * u * u * 1e6))),
      normalTail: checksum(points().map((u) => normalTail(u < 0 ? u * 9 : u * 38.5))),
      wave: checksum([...quarterWave(1024).cos, ...quarterWave(1024).sin]),
    }
    expect(hashes).toEqual({
      exp: 4144351138,
      expm1: 4016409135,
      log: 2211068535,
      log1p: 2568619877,
      normalTail: 3479351839,
      wave: 562381237,
    })
  })

  test('the source calls only operations that ECMAScript defines to the bit', () => {
    const source = readFileSync(new URL('./elementary.ts', import.meta.url), 'utf8')
    const code = source.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
    const called = new Set(Array.from(code.matchAll(/Math\.(\w+)/g), ([, name]) => name))
    expect([...called].sort()).toEqual(['abs', 'floor', 'sqrt'])
    expect(code).not.toContain(' ** ')
  })
})
