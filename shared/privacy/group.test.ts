import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type EventCount, gaussianEvent, laplaceEvent } from './event.ts'
import { groupEvents, groupGuarantee, groupSpend } from './group.ts'
import { spend } from './meter.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const history = (noiseMultiplier: number, samplingRate: number, count: number): EventCount[] => [
  { event: gaussianEvent({ noiseMultiplier, samplingRate }), count },
]

describe('groupGuarantee', () => {
  test('one unit is the guarantee itself; without delta only epsilon grows', () => {
    expect(groupGuarantee({ epsilon: 1.7, delta: 1e-5 }, 1)).toEqual({ epsilon: 1.7, delta: 1e-5 })
    expect(groupGuarantee({ epsilon: 0.5, delta: 0 }, 4)).toEqual({ epsilon: 2, delta: 0 })
    expect(groupGuarantee({ epsilon: 800, delta: 0 }, 3)).toEqual({ epsilon: 2400, delta: 0 })
  })

  test('property: delta is the sum that k steps make, never below it', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 5, noNaN: true }), fc.integer({ min: 2, max: 20 }), (epsilon, units) => {
        const sum = Array.from({ length: units }, (_, i) => Math.exp(i * epsilon)).reduce((a, b) => a + b)
        const { delta } = groupGuarantee({ epsilon, delta: 1e-60 }, units)
        expect(delta).toBeGreaterThanOrEqual(1e-60 * sum * (1 - 1e-14))
        expect(delta).toBeLessThanOrEqual(1e-60 * sum * (1 + 1e-11))
      }),
    )
  })

  test.each([5e-324, 1e-300, 1e-17])('tiny epsilon %d: delta times k', (epsilon) => {
    expect(groupGuarantee({ epsilon, delta: 1e-9 }, 7).delta / 7e-9).toBeCloseTo(1, 11)
  })

  test('says delta 1 where it promises nothing, and never NaN', () => {
    expect(groupGuarantee({ epsilon: 300, delta: 1e-5 }, 4)).toEqual({ epsilon: 1200, delta: 1 })
    expect(groupGuarantee({ epsilon: 800, delta: 1e-300 }, 2)).toEqual({ epsilon: 1600, delta: 1 })
    const nothing = { epsilon: Number.POSITIVE_INFINITY, delta: 1e-5 }
    expect(groupGuarantee(nothing, 2)).toEqual({ epsilon: Number.POSITIVE_INFINITY, delta: 1 })
  })

  test('is tight: randomised response of k equal bits reaches k epsilon', () => {
    const epsilon = Math.log(3)
    const ratio = (0.75 / 0.25) ** 2
    expect(groupGuarantee({ epsilon, delta: 0 }, 2).epsilon).toBeCloseTo(Math.log(ratio), 12)
  })

  test.each([
    [{ epsilon: -1, delta: 0 }, 2, 'invalid_epsilon'],
    [{ epsilon: Number.NaN, delta: 0 }, 2, 'invalid_epsilon'],
    [{ epsilon: 1, delta: -1e-9 }, 2, 'invalid_delta'],
    [{ epsilon: 1, delta: 1.5 }, 2, 'invalid_delta'],
    [{ epsilon: 1, delta: 0 }, 0, 'invalid_group'],
    [{ epsilon: 1, delta: 0 }, 1.5, 'invalid_group'],
  ])('refuses %j for %d units', (guarantee, units, expected) => {
    expect(() => groupGuarantee(guarantee, units)).toThrow(code(expected))
  })
})

/** Composite Simpson over [from, to]: plain, and independent of what is tested. Kinks leave about 1e-7. */
const integral = (f: (x: number) => number, [from, to]: [number, number], panels = 40_000) => {
  const h = (to - from) / panels
  let sum = f(from) + f(to)
  for (let i = 1; i < panels; i++) sum += (i % 2 === 1 ? 4 : 2) * f(from + i * h)
  return (sum * h) / 3
}

const KINKS = 1e-6

type Density = (x: number) => number
const gaussianAt =
  (sd: number) =>
  (mean: number): Density =>
  (x) =>
    Math.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * Math.sqrt(2 * Math.PI))
const laplaceAt =
  (scale: number) =>
  (mean: number): Density =>
  (x) =>
    Math.exp(-Math.abs(x - mean) / scale) / (2 * scale)

const hockeyStick = (p: Density, q: Density, epsilon: number) =>
  integral((x) => Math.max(0, p(x) - Math.exp(epsilon) * q(x)), [-60, 60])

/** The sum's density when each unit joins the batch at this rate and moves the sum by its own contribution. */
const mixture = (contributions: readonly number[], rate: number, at: (mean: number) => Density): Density => {
  const parts = Array.from({ length: 2 ** contributions.length }, (_, subset) => {
    const inside = contributions.map((_, i) => ((subset >> i) & 1) === 1)
    const weight = inside.reduce((product, joins) => product * (joins ? rate : 1 - rate), 1)
    const density = at(contributions.reduce((sum, value, i) => sum + (inside[i] ? value : 0), 0))
    return { weight, density }
  })
  return (x) => parts.reduce((sum, { weight, density }) => sum + weight * density(x), 0)
}

describe('groupEvents', () => {
  test('unsampled: the noise multiplier over k, exactly, the rest as it was', () => {
    const { event } = history(3, 1, 1)[0]!
    expect(groupEvents([{ event, count: 5 }], 3)).toEqual([{ event: { ...event, noiseMultiplier: 1 }, count: 5 }])
    expect(groupEvents(history(2, 0.3, 7), 1)).toEqual(history(2, 0.3, 7))
    expect(groupEvents([{ event: laplaceEvent({ noiseMultiplier: 2, samplingRate: 1 }), count: 1 }], 4)).toEqual([
      { event: laplaceEvent({ noiseMultiplier: 0.5, samplingRate: 1 }), count: 1 },
    ])
  })

  test.each([0, 1e-300, 1e-12, 0.01, 0.999, 1])('at rate %d: the chance that one of k is drawn', (rate) => {
    const sampled = groupEvents(history(1, rate, 1), 3)[0]!.event.samplingRate
    expect(sampled).toBeGreaterThanOrEqual(rate)
    expect(sampled).toBeLessThanOrEqual(1)
    const expected = 3 * rate - 3 * rate * rate + rate * rate * rate
    expect(Math.abs(sampled - expected)).toBeLessThanOrEqual(4e-16 * expected)
  })

  const contributions = [
    [1, 1, 1],
    [1, 0.5, -0.3],
    [1, -1, 0.9],
  ]
  const mechanisms = [
    ['gaussian', gaussianAt, 1.2],
    ['gaussian', gaussianAt, 3],
    ['laplace', laplaceAt, 2],
  ] as const

  test.each(mechanisms)('its %s pair dominates a sampled group, in both directions and for replacements', (...row) => {
    const [mechanism, family, noiseMultiplier] = row
    for (const samplingRate of [0.05, 0.4]) {
      const event = { mechanism, noiseMultiplier, samplingRate, neighbours: 'add-remove' } as const
      const { event: group } = groupEvents([{ event, count: 1 }], 3)[0]!
      const single = family(group.noiseMultiplier)
      const nobody = single(0)
      const bound = mixture([1], group.samplingRate, single)
      const replaced = mixture([-1], group.samplingRate, single)
      for (const list of contributions) {
        // In units of k sensitivities, as the group's event is.
        const here = mixture(list, samplingRate, (mean) => single(mean / 3))
        const other = mixture(list, samplingRate, (mean) => single(-mean / 3))
        for (const epsilon of [-0.2, 0, 0.1, 0.5, 1.5]) {
          expect(hockeyStick(here, nobody, epsilon)).toBeLessThanOrEqual(hockeyStick(bound, nobody, epsilon) + KINKS)
          expect(hockeyStick(nobody, here, epsilon)).toBeLessThanOrEqual(hockeyStick(nobody, bound, epsilon) + KINKS)
          expect(hockeyStick(here, other, epsilon)).toBeLessThanOrEqual(hockeyStick(bound, replaced, epsilon) + KINKS)
        }
      }
    }
  })

  test('the raised rate is needed: noise over k alone does not dominate', () => {
    const [noise, rate] = [0.5, 0.05]
    const here = mixture([1, 1, 1], rate, gaussianAt(noise))
    const tooLittle = mixture([3], rate, gaussianAt(noise))
    const nobody = gaussianAt(noise)(0)
    expect(hockeyStick(here, nobody, 0)).toBeGreaterThan(1.5 * hockeyStick(tooLittle, nobody, 0))
  })

  test('refuses a size that is none, and noise that vanishes', () => {
    expect(() => groupEvents([], 0)).toThrow(code('invalid_group'))
    expect(() => groupEvents([], 2 ** 53)).toThrow(code('invalid_group'))
    expect(() => groupEvents(history(5e-324, 1, 1), 2)).toThrow(code('invalid_event'))
  })
})

describe('groupSpend', () => {
  test('one unit is the spend itself', () => {
    const { epsilon } = spend(history(1, 0.06, 100), 1e-5)
    expect(groupSpend(history(1, 0.06, 100), { units: 1, delta: 1e-5 }).epsilon).toBe(epsilon)
  })

  test('unsampled it is the exact event; at small rates the generic bound, and that is less', () => {
    const unsampled = history(10, 1, 4)
    const delta = 1e-5
    expect(groupSpend(unsampled, { units: 3, delta }).epsilon).toBe(spend(groupEvents(unsampled, 3), delta).epsilon)
    const sampled = history(1, 0.01, 1000)
    const { epsilon } = groupSpend(sampled, { units: 2, delta })
    expect(epsilon).toBeLessThan(spend(groupEvents(sampled, 2), delta).epsilon)
    expect(epsilon).toBeGreaterThan(2 * spend(sampled, delta).epsilon)
  })

  test('property: grows with the group', () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 3, 10), fc.constantFrom(0.01, 0.2, 1), (noise, rate) => {
        const of = (units: number) => groupSpend(history(noise, rate, 20), { units, delta: 1e-6 }).epsilon
        for (const units of [1, 2, 4, 8]) expect(of(units + 1)).toBeGreaterThanOrEqual(of(units))
      }),
    )
  })

  test('an accountant without a finite answer leaves none', () => {
    const nothing = () => ({ epsilon: Number.POSITIVE_INFINITY })
    expect(groupSpend(history(1, 1, 1), { units: 2, delta: 1e-5 }, nothing).epsilon).toBe(Number.POSITIVE_INFINITY)
  })
})
