/** The contour estimates against reference values, closed forms and identities. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { estimateDelta, estimateEpsilon, RELEASES_MAX } from './contour.ts'
import { normalTail } from './elementary.ts'
import { type EventCount, gaussianEvent, laplaceEvent, type Mechanism, mechanismEvent } from './event.ts'
import { spend } from './meter.ts'

const gaussian = (noiseMultiplier: number, samplingRate: number, count: number): EventCount => ({
  event: gaussianEvent({ noiseMultiplier, samplingRate }),
  count,
})
const relative = (value: number, wanted: number) => Math.abs(value / wanted - 1)

interface Step {
  sigma: number
  q: number
  T: number
}
interface Row {
  id: string
  delta: number
  eps: number
}
interface CurveRow {
  id: string
  eps: number
  delta: number
  stages: { kind: Mechanism; noise: number; q: number; T: number }[]
}
interface Tables {
  single: (Row & Step)[]
  heterogeneous: (Row & { stages: Step[] })[]
  laplace: (Row & { b: number; q: number; T: number })[]
  replace_one: (Row & Step)[]
  curves: CurveRow[]
}

const file = new URL('../../../shared/oracle/accounting.json', import.meta.url)
const present = existsSync(file)
const suite = `reference tables${present ? '' : ' (skipped: shared/oracle/accounting.json is not beside the repository)'}`

describe.skipIf(!present)(suite, () => {
  const tables: Tables = present
    ? JSON.parse(readFileSync(file, 'utf8')).tables
    : { single: [], heterogeneous: [], laplace: [], replace_one: [], curves: [] }
  const ofSteps = (steps: Step[]) => steps.map(({ sigma, q, T }) => gaussian(sigma, q, T))
  const laplaceOf = (row: { b: number; q: number; T: number }): EventCount[] => [
    { event: laplaceEvent({ noiseMultiplier: row.b, samplingRate: row.q }), count: row.T },
  ]
  const replaceOf = ({ sigma, q, T }: Step): EventCount[] => [
    { event: gaussianEvent({ noiseMultiplier: sigma, samplingRate: q, neighbours: 'replace-one' }), count: T },
  ]
  /** name, rows, and how many answers may be null. */
  const cases: [string, (Row & { history: EventCount[] })[], number][] = [
    ['single', tables.single.map((row) => ({ ...row, history: ofSteps([row]) })), 9],
    ['heterogeneous', tables.heterogeneous.map((row) => ({ ...row, history: ofSteps(row.stages) })), 0],
    ['laplace', tables.laplace.map((row) => ({ ...row, history: laplaceOf(row) })), 6],
    ['replace_one', tables.replace_one.map((row) => ({ ...row, history: replaceOf(row) })), 0],
  ]

  test.each(cases)('%s: epsilon within 1e-6 wherever there is an answer', (name, rows, nullsMax) => {
    let [worst, worstId, nulls] = [0, '', 0]
    const start = performance.now()
    for (const { id, history, delta, eps } of rows) {
      const epsilon = estimateEpsilon(history, delta)
      const error = epsilon === null ? 0 : relative(epsilon, eps)
      nulls += epsilon === null ? 1 : 0
      expect(error, id).toBeLessThanOrEqual(1e-6)
      if (error > worst) [worst, worstId] = [error, id]
    }
    const milliseconds = ((performance.now() - start) / rows.length).toFixed(1)
    console.log(
      `${name}: worst ${worstId} off by ${worst.toPrecision(2)}, ${nulls} of ${rows.length} null, ${milliseconds} ms each`,
    )
    expect(rows.length).toBeGreaterThan(10)
    expect(nulls).toBeLessThanOrEqual(nullsMax)
  })

  test('curves: delta within 1e-6 at every epsilon', () => {
    let [worst, worstId] = [0, '']
    for (const { id, eps, delta, stages } of tables.curves) {
      const history = stages.map(({ kind, noise, q, T }) => ({
        event: mechanismEvent({ mechanism: kind, noiseMultiplier: noise, samplingRate: q }),
        count: T,
      }))
      const error = relative(estimateDelta(history, eps) ?? Number.NaN, delta)
      expect(error, id).toBeLessThanOrEqual(1e-6)
      if (error > worst) [worst, worstId] = [error, id]
    }
    console.log(`curves: worst ${worstId} off by ${worst.toPrecision(2)} of ${tables.curves.length}, none null`)
    expect(tables.curves.length).toBe(100)
  })
})

describe('against closed forms', () => {
  /** Balle, Wang 2018, theorem 8, with mu the shift over the noise. */
  const gaussianDelta = (mu: number, epsilon: number) =>
    normalTail(epsilon / mu - mu / 2) - Math.exp(epsilon) * normalTail(epsilon / mu + mu / 2)

  test.each([
    [0.01, 0],
    [0.01, 0.03],
    [1, 0],
    [1, 4],
    [12, 0],
    [12, 100],
    [40, 600],
  ])('unsampled Gaussian releases, mu %d, epsilon %d', (mu, epsilon) => {
    const delta = estimateDelta([gaussian(2 / mu, 1, 2), gaussian(Math.SQRT2 / mu, 1, 1)], epsilon)
    expect(relative(delta ?? Number.NaN, gaussianDelta(mu, epsilon))).toBeLessThan(1e-6)
  })

  /** delta of unsampled Laplace releases, scale 1: the integral by brute force on the transform in closed form. */
  const laplaceDelta = (count: number, epsilon: number, c: number) => {
    const step = 0.005
    let sum = 0
    for (let k = 0; k < 40_000; k++) {
      const t = (k + 0.5) * step
      // E e^(zL) = ((z+1) e^z + z e^-(z+1)) / (2z+1), z = c + it.
      const [grow, fall, x, y] = [Math.exp(c), Math.exp(-c - 1), Math.cos(t), Math.sin(t)]
      const re = grow * ((c + 1) * x - t * y) + fall * (c * x + t * y)
      const im = grow * ((c + 1) * y + t * x) + fall * (t * x - c * y)
      const logSize = 0.5 * Math.log((re * re + im * im) / ((2 * c + 1) ** 2 + 4 * t * t))
      const angle = count * (Math.atan2(im, re) - Math.atan2(2 * t, 2 * c + 1)) - t * epsilon
      const kernel = Math.atan2(t, c) + Math.atan2(t, c + 1)
      const size = Math.exp(count * logSize - c * epsilon) / Math.hypot(c, t) / Math.hypot(c + 1, t)
      sum += size * Math.cos(angle - kernel)
    }
    return (sum * step) / Math.PI
  }

  test.each([
    [60, 30, 0.3],
    [60, 38, 1],
    [200, 90, 0.2],
  ])('%d Laplace releases, epsilon %d', (count, epsilon, c) => {
    const history = [{ event: laplaceEvent({ noiseMultiplier: 1, samplingRate: 1 }), count }]
    const wanted = laplaceDelta(count, epsilon, c)
    expect(relative(estimateDelta(history, epsilon) ?? Number.NaN, wanted)).toBeLessThan(1e-6)
  })

  /** delta of Laplace releases under replacement, by Simpson's rule in x and brute force in t. */
  const replacedLaplaceDelta = (at: { scale: number; rate: number; count: number; epsilon: number; c: number }) => {
    const { scale, rate, count, epsilon, c } = at
    const logRatio = (x: number) => Math.log1p(rate * Math.expm1((Math.abs(x) - Math.abs(x - 1)) / scale))
    const panels = 1000
    const inner = Array.from({ length: panels + 1 }, (_, i) => {
      const x = (2 * i) / panels - 1
      const simpson = i % panels === 0 ? 1 : i % 2 === 1 ? 4 : 2
      return [x, ((simpson * 2) / panels / 3) * (Math.exp(-Math.abs(x) / scale) / 2 / scale)] as const
    })
    const atoms = [-1, 1].map((x) => [x, Math.exp(-1 / scale) / 2] as const)
    const nodes = [...atoms, ...inner].map(([x, base]) => {
      const loss = logRatio(x) - logRatio(-x)
      return [loss, base * Math.exp(logRatio(x) + c * loss)] as const
    })
    const step = (2 * Math.PI) / 40
    let sum = 0
    for (let t = step / 2; t < 150; t += step) {
      const re = nodes.reduce((total, [loss, mass]) => total + mass * Math.cos(t * loss), 0)
      const im = nodes.reduce((total, [loss, mass]) => total + mass * Math.sin(t * loss), 0)
      const angle = count * Math.atan2(im, re) - t * epsilon - Math.atan2(t, c) - Math.atan2(t, c + 1)
      const size = Math.exp(count * Math.log(Math.hypot(re, im)) - c * epsilon)
      sum += (size * Math.cos(angle)) / Math.hypot(c, t) / Math.hypot(c + 1, t)
    }
    return (sum * step) / Math.PI
  }

  test('repro: the integrand comes back after its first fall, by atoms and what lies between them together', () => {
    const [scale, rate, count, epsilon] = [0.43, 0.058, 32, 7.48]
    const event = laplaceEvent({ noiseMultiplier: scale, samplingRate: rate, neighbours: 'replace-one' })
    const wanted = replacedLaplaceDelta({ scale, rate, count, epsilon, c: 3 })
    expect(relative(estimateDelta([{ event, count }], epsilon) ?? Number.NaN, wanted)).toBeLessThan(1e-6)
  })

  test('beyond the greatest loss delta is 0, and without releases too', () => {
    const bounded = [{ event: laplaceEvent({ noiseMultiplier: 1, samplingRate: 0.5 }), count: 3 }]
    expect(estimateDelta(bounded, 3 * Math.log1p(0.5 * Math.expm1(1)) + 1e-9)).toBe(0)
    expect(estimateDelta([], 0)).toBe(0)
    expect(estimateDelta([gaussian(1, 0, 10)], 0)).toBe(0)
    expect(estimateEpsilon([gaussian(1, 0.5, 0)], 1e-5)).toBe(0)
    expect(estimateEpsilon([gaussian(1, 1e-9, 100)], 1e-6)).toBe(0)
  })
})

describe('identities', () => {
  const stage = fc.record({
    noise: fc.double({ min: 0.7, max: 6, noNaN: true }),
    rate: fc.double({ min: 0.005, max: 0.3, noNaN: true }),
    count: fc.integer({ min: 50, max: 3000 }),
  })

  test('property: delta at the epsilon of delta is delta', () => {
    fc.assert(
      fc.property(fc.array(stage, { minLength: 1, maxLength: 3 }), (stages) => {
        const history = stages.map(({ noise, rate, count }) => gaussian(noise, rate, count))
        const epsilon = estimateEpsilon(history, 1e-6)
        const back = epsilon === null ? null : estimateDelta(history, epsilon)
        if (back !== null) expect(relative(back, 1e-6)).toBeLessThan(1e-5)
      }),
      { numRuns: 60 },
    )
  })

  test('property: below the RDP bound, and falling with delta', () => {
    fc.assert(
      fc.property(stage, ({ noise, rate, count }) => {
        const history = [gaussian(noise, rate, count)]
        const [loose, tight] = [estimateEpsilon(history, 1e-4), estimateEpsilon(history, 1e-7)]
        if (loose !== null) expect(loose).toBeLessThan(spend(history, 1e-4).epsilon)
        if (loose !== null && tight !== null) expect(loose).toBeLessThan(tight)
      }),
      { numRuns: 60 },
    )
  })

  test('four quarters in any order are the whole, to the bit', () => {
    const whole = estimateEpsilon([gaussian(1, 0.01, 1000), gaussian(2, 0.05, 300)], 1e-5)
    const parts = [gaussian(1, 0.01, 250), gaussian(2, 0.05, 300), gaussian(1, 0.01, 500), gaussian(1, 0.01, 250)]
    expect(whole).not.toBeNull()
    expect(estimateEpsilon(parts, 1e-5)).toBe(whole)
  })
})

describe('what it does not answer', () => {
  test('null, soon, where the integrand does not fall off', () => {
    const slow = [{ event: laplaceEvent({ noiseMultiplier: 2, samplingRate: 1 }), count: 10 }]
    expect(estimateEpsilon(slow, 1e-5)).toBeNull()
  })

  test('null for too many releases and too little noise', () => {
    expect(estimateEpsilon([gaussian(100, 0.001, RELEASES_MAX + 1)], 1e-5)).toBeNull()
    expect(estimateDelta([gaussian(0.01, 0.5, 2)], 1)).toBeNull()
  })

  test.each([0, 1, -1, Number.NaN])('delta %d is refused', (delta) => {
    expect(() => estimateEpsilon([gaussian(1, 0.1, 10)], delta)).toThrow(
      expect.objectContaining({ code: 'invalid_delta' }),
    )
  })

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('epsilon %d is refused', (epsilon) => {
    expect(() => estimateDelta([gaussian(1, 0.1, 10)], epsilon)).toThrow(
      expect.objectContaining({ code: 'invalid_epsilon' }),
    )
  })

  test('mixed neighbours are refused', () => {
    const replaced = {
      event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 0.1, neighbours: 'replace-one' }),
      count: 1,
    }
    expect(() => estimateEpsilon([gaussian(1, 0.1, 10), replaced], 1e-5)).toThrow(
      expect.objectContaining({ code: 'mixed_neighbours' }),
    )
  })
})

test('the sources call only operations that ECMAScript defines to the bit', () => {
  const folder = new URL('./contour/', import.meta.url)
  const files = [new URL('./contour.ts', import.meta.url), ...readdirSync(folder).map((name) => new URL(name, folder))]
  const code = files.map((url) => readFileSync(url, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')).join('\n')
  const called = new Set(Array.from(code.matchAll(/Math\.(\w+)/g), ([, name]) => name))
  expect([...called].filter((name) => !['abs', 'ceil', 'floor', 'max', 'min', 'sign', 'sqrt'].includes(name!))).toEqual(
    [],
  )
  expect(code).not.toContain(' ** ')
})
