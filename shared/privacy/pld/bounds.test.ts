import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PrivacyError, type PrivacyErrorCode } from '../error.ts'
import {
  type EventCount,
  gaussianEvent,
  laplaceEvent,
  type MechanismEvent,
  mechanismEvent,
  type Neighbours,
} from '../event.ts'
import { spend } from '../meter.ts'
import { deltaBounds, epsilonBounds } from './bounds.ts'
import { dominatingPairs } from './pair.ts'
import { singleDelta } from './single.ts'

const logUniform = (min: number, max: number) =>
  fc.double({ min: Math.log(min), max: Math.log(max), noNaN: true }).map(Math.exp)
const count = logUniform(1, 5000).map(Math.round)
const delta = logUniform(1e-12, 1e-2)
const stage = fc.record({
  mechanism: fc.constantFrom('gaussian' as const, 'laplace' as const),
  noiseMultiplier: logUniform(0.3, 30),
  samplingRate: fc.oneof(fc.constant(1), logUniform(1e-4, 1), logUniform(1e-4, 1)),
  count,
})
type Stage = typeof stage extends fc.Arbitrary<infer T> ? T : never
const relation = fc.constantFrom<Neighbours>('add-remove', 'zero-out', 'replace-one')
const stages = fc.array(stage, { minLength: 1, maxLength: 3 })

const historyOf = (list: readonly Stage[], neighbours: Neighbours): EventCount[] =>
  list.map(({ count: times, ...parameters }) => ({
    event: mechanismEvent({ ...parameters, neighbours }),
    count: times,
  }))

/** Wider than the default, for speed: the soundness of an interval does not hang on its width. */
const ROUGH = { tolerance: 0.05 }
/** Last digits: both sides of an interval are rounded outwards by less. */
const DIGITS = 1e-11

const asked = fc.record({ stages, neighbours: relation, delta }).map(({ stages: list, neighbours, delta: target }) => ({
  list,
  neighbours,
  history: historyOf(list, neighbours),
  delta: target,
}))

/** The same question with one number changed, for which the answer may only be larger or equal. */
const dearer = fc.constantFrom<(list: readonly Stage[]) => Stage[]>(
  (list) => list.map((entry) => ({ ...entry, noiseMultiplier: entry.noiseMultiplier / 1.2 })),
  (list) => list.map((entry) => ({ ...entry, samplingRate: Math.min(1, entry.samplingRate * 1.2) })),
  (list) => list.map((entry) => ({ ...entry, count: Math.ceil(entry.count * 1.2) })),
)

const code = (wanted: PrivacyErrorCode, field: RegExp) => (thrown: unknown) =>
  thrown instanceof PrivacyError && thrown.code === wanted && field.test(thrown.message)
const thrownBy = (call: () => unknown): unknown => {
  try {
    return call()
  } catch (error) {
    return error
  }
}

/** A narrow interval of Gaussian noise: near its ends delta is neither 0 nor 1. */
const tellable = (history: readonly EventCount[], { epsilon, lower }: { epsilon: number; lower: number }) =>
  history.every(({ event }) => event.mechanism === 'gaussian') &&
  epsilon < 50 &&
  lower > 1e-3 &&
  epsilon - lower <= 0.051 * epsilon

/** What holds of every answer: an interval, not above the Renyi accountant. That it comes at all is the test's time limit. */
const expectAnswer = (history: readonly EventCount[], target: number) => {
  const { epsilon, lower } = epsilonBounds(history, target)
  expect(lower).toBeGreaterThanOrEqual(0)
  expect(lower).toBeLessThan(Number.POSITIVE_INFINITY)
  expect(lower).toBeLessThanOrEqual(epsilon)
  expect(epsilon).toBeLessThanOrEqual(spend(history, target).epsilon * (1 + DIGITS))
}

describe('intervals of epsilon and delta', () => {
  test('property: an interval, not above the Renyi accountant', () => {
    fc.assert(
      fc.property(asked, ({ history, delta: target }) => {
        const { epsilon, lower } = epsilonBounds(history, target, ROUGH)
        expect(lower).toBeGreaterThanOrEqual(0)
        expect(lower).toBeLessThanOrEqual(epsilon)
        expect(epsilon).toBeLessThanOrEqual(spend(history, target).epsilon * (1 + DIGITS))
      }),
      { numRuns: 25 },
    )
  })

  test('property: a finer interval lies within reach of a rougher one, and is as narrow as asked', () => {
    const common = fc.record({
      noiseMultiplier: logUniform(0.5, 10),
      samplingRate: logUniform(1e-2, 1),
      count: logUniform(50, 5000).map(Math.round),
    })
    fc.assert(
      fc.property(common, delta, ({ count: times, ...parameters }, target) => {
        const history = [{ event: gaussianEvent(parameters), count: times }]
        const [rough, fine] = [epsilonBounds(history, target, ROUGH), epsilonBounds(history, target)]
        expect(fine.lower).toBeLessThanOrEqual(rough.epsilon)
        expect(rough.lower).toBeLessThanOrEqual(fine.epsilon)
        fc.pre(fine.epsilon < 300 && fine.epsilon > 1e-3)
        expect(fine.epsilon - fine.lower).toBeLessThanOrEqual(1.001e-3 * fine.epsilon)
      }),
      { numRuns: 40 },
    )
  })

  test('property: stages in another order, or in parts, give the same bits', () => {
    fc.assert(
      fc.property(asked, fc.integer({ min: 0, max: 5000 }), ({ history, delta: target }, part) => {
        const parts = history.flatMap(({ event, count: times }) => {
          const some = Math.min(times, part)
          return [
            { event, count: times - some },
            { event, count: some },
          ]
        })
        expect(epsilonBounds([...parts].reverse(), target, ROUGH)).toEqual(epsilonBounds(history, target, ROUGH))
      }),
      { numRuns: 12 },
    )
  })

  test('property: less noise, a higher rate and more releases never lower epsilon', () => {
    fc.assert(
      fc.property(asked, dearer, ({ list, neighbours, history, delta: target }, change) => {
        const less = epsilonBounds(history, target, ROUGH)
        const more = epsilonBounds(historyOf(change(list), neighbours), target, ROUGH)
        expect(less.lower).toBeLessThanOrEqual(more.epsilon)
        // An upper bound that is no wider than asked for may be above the dearer one's by that width.
        if (less.epsilon - less.lower <= 0.0501 * less.epsilon) {
          expect(less.epsilon).toBeLessThanOrEqual(more.epsilon * 1.06)
        }
      }),
      { numRuns: 20 },
    )
  }, 240_000)

  test.each([ROUGH, {}])('two point masses at nearly the same loss end in an interval, %j', (options) => {
    const noises = [1, 29.999999999999922]
    const history = noises.map((noiseMultiplier) => ({
      event: laplaceEvent({ noiseMultiplier, samplingRate: 1 }),
      count: 1,
    }))
    const { epsilon, lower } = epsilonBounds(history, 9.651580848849407e-9, options)
    // All the loss there is.
    expect(epsilon).toBeCloseTo(1 + 1 / 30, 6)
    expect(lower).toBeGreaterThan(1)
  })

  test('property: epsilon falls as delta rises, delta falls as epsilon rises', () => {
    fc.assert(
      fc.property(asked, logUniform(1.05, 50), ({ history, delta: target }, times) => {
        const [strict, lax] = [
          epsilonBounds(history, target, ROUGH),
          epsilonBounds(history, Math.min(0.9, target * times), ROUGH),
        ]
        expect(lax.lower).toBeLessThanOrEqual(strict.epsilon)
        fc.pre(tellable(history, strict))
        const at = [strict.epsilon, strict.epsilon * 1.1].map((epsilon) => deltaBounds(history, epsilon, ROUGH))
        for (const { delta: above, lower } of at) expect(lower).toBeLessThanOrEqual(above)
        expect(at[1]!.lower).toBeLessThanOrEqual(at[0]!.delta)
      }),
      { numRuns: 10 },
    )
  }, 240_000)

  test('property: epsilon and delta contradict each other nowhere', () => {
    fc.assert(
      fc.property(asked, ({ history, delta: target }) => {
        const { epsilon, lower } = epsilonBounds(history, target, ROUGH)
        fc.pre(tellable(history, { epsilon, lower }))
        // At the upper bound delta is reached; below the lower bound it is not.
        expect(deltaBounds(history, epsilon, ROUGH).lower).toBeLessThanOrEqual(target * (1 + 1e-9))
        expect(deltaBounds(history, lower, ROUGH).delta).toBeGreaterThanOrEqual(target * (1 - 1e-9))
      }),
      { numRuns: 10 },
    )
  }, 240_000)

  test('property: one release is its closed form, to the last digits', () => {
    fc.assert(
      fc.property(stage, relation, logUniform(1e-3, 20), (parameters, neighbours, epsilon) => {
        const [entry] = historyOf([{ ...parameters, count: 1 }], neighbours)
        const bounds = deltaBounds([entry!], epsilon)
        const exact = Math.max(...dominatingPairs(entry!.event).map((pair) => singleDelta(pair, epsilon).delta))
        // Unsampled noise is merged first, which rounds it; a delta of 1e-200 feels that a thousandfold.
        expect(Math.abs(bounds.delta - exact)).toBeLessThanOrEqual(1e-11 * exact)
        expect(bounds.delta - bounds.lower).toBeLessThan(1e-9 * bounds.delta + 1e-13)
        const two = [entry!, { event: { ...entry!.event, samplingRate: 0 }, count: 7 }]
        expect(deltaBounds(two, epsilon)).toEqual(bounds)
      }),
    )
  })

  test('property: at epsilon 0 both directions have the same delta, the total variation', () => {
    fc.assert(
      fc.property(stage, (parameters) => {
        const [entry] = historyOf([parameters], 'add-remove')
        const [remove, add] = dominatingPairs(entry!.event).map((pair) => singleDelta(pair, 0))
        expect(remove!.lower).toBeLessThanOrEqual(add!.delta)
        expect(add!.lower).toBeLessThanOrEqual(remove!.delta)
        expect(Math.abs(remove!.delta - add!.delta)).toBeLessThan(1e-13)
      }),
    )
  })

  test('unsampled Gaussian releases compose in closed form: four of noise 2 are one of noise 1', () => {
    const four = epsilonBounds([{ event: gaussianEvent({ noiseMultiplier: 2, samplingRate: 1 }), count: 4 }], 1e-5)
    const one = epsilonBounds([{ event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 1 }), count: 1 }], 1e-5)
    expect(four).toEqual(one)
    expect(one.epsilon / one.lower - 1).toBeLessThan(1e-10)
  })

  test('two releases, against a double integral over both losses', () => {
    const [s, q, epsilon] = [0.8, 0.1, 0.7]
    const density = (x: number, centre: number) =>
      Math.exp(-((x - centre) ** 2) / (2 * s * s)) / (s * Math.sqrt(2 * Math.PI))
    const [from, step, points] = [-8 * s, (1 + 16 * s) / 4000, 4001]
    const xs = Array.from({ length: points }, (_, i) => from + i * step)
    const q0 = xs.map((x) => density(x, 0) * step)
    const p1 = xs.map((x) => ((1 - q) * density(x, 0) + q * density(x, 1)) * step)
    let exact = 0
    for (let i = 0; i < points; i++)
      for (let j = 0; j < points; j++) exact += Math.max(0, p1[i]! * p1[j]! - Math.exp(epsilon) * q0[i]! * q0[j]!)
    const history = [{ event: gaussianEvent({ noiseMultiplier: s, samplingRate: q }), count: 2 }]
    const bounds = deltaBounds(history, epsilon)
    expect(bounds.delta).toBeGreaterThanOrEqual(exact * (1 - 1e-5))
    expect(bounds.lower).toBeLessThanOrEqual(exact * (1 + 1e-5))
    expect(bounds.delta / bounds.lower - 1).toBeLessThan(1.1e-3)
  })

  test.each<[string, EventCount[]]>([
    [
      'hardly any loss beside larger ones',
      [
        { event: gaussianEvent({ noiseMultiplier: 28.47, samplingRate: 1.537e-4 }), count: 463 },
        { event: gaussianEvent({ noiseMultiplier: 0.5238, samplingRate: 0.04154 }), count: 4 },
      ],
    ],
    [
      'Laplace noise of two scales',
      [
        { event: laplaceEvent({ noiseMultiplier: 19.98, samplingRate: 1.823e-3 }), count: 2416 },
        { event: laplaceEvent({ noiseMultiplier: 2.645, samplingRate: 0.9265 }), count: 426 },
      ],
    ],
  ])('%s: the lower bound is not lost', (_, history) => {
    const { epsilon, lower } = epsilonBounds(history, 1e-8, ROUGH)
    expect(lower).toBeGreaterThan(0.8 * epsilon)
  })

  test('events that cost nothing cost nothing', () => {
    const free = [{ event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 0 }), count: 1e6 }]
    expect(epsilonBounds([], 1e-5)).toEqual({ epsilon: 0, lower: 0 })
    expect(epsilonBounds(free, 1e-5)).toEqual({ epsilon: 0, lower: 0 })
    expect(deltaBounds(free, 0)).toEqual({ delta: 0, lower: 0 })
    expect(deltaBounds([], 1)).toEqual({ delta: 0, lower: 0 })
  })
})

describe('extremes', () => {
  const gaussian = (noiseMultiplier: number, samplingRate: number, neighbours: Neighbours = 'add-remove') =>
    gaussianEvent({ noiseMultiplier, samplingRate, neighbours })
  const laplace = (noiseMultiplier: number, samplingRate: number, neighbours: Neighbours = 'add-remove') =>
    laplaceEvent({ noiseMultiplier, samplingRate, neighbours })

  test.each<[string, MechanismEvent, number, number]>([
    ['little noise, twice', gaussian(1e-3, 0.5), 2, 1e-5],
    ['little noise, once', gaussian(1e-3, 1), 1, 1e-5],
    ['much noise, 1e9 times', gaussian(1e6, 0.5), 1e9, 1e-5],
    ['much noise, once', gaussian(1e6, 1), 1, 1e-12],
    ['few units, 1e9 times', gaussian(1, 1e-12), 1e9, 1e-12],
    ['few units, delta 1e-300', gaussian(1, 1e-12), 1e9, 1e-300],
    ['nearly all units', gaussian(1, 1 - 2 ** -53), 100, 1e-5],
    ['nearly all units, delta 1e-300', gaussian(1, 1 - 2 ** -53), 100, 1e-300],
    ['delta 1e-300', gaussian(1, 0.01), 1000, 1e-300],
    ['the least delta', gaussian(1, 0.01), 1000, Number.MIN_VALUE],
    ['delta 0.999', gaussian(1, 0.01), 1000, 0.999],
    ['delta 0.999, little noise', gaussian(0.3, 0.5), 1000, 0.999],
    ['all counts there are', gaussian(1, 0.01), Number.MAX_SAFE_INTEGER, 1e-5],
    ['replaced, nearly all units', gaussian(0.5, 1 - 2 ** -53, 'replace-one'), 10, 1e-5],
    ['replaced, few units', gaussian(1, 1e-12, 'replace-one'), 1e9, 1e-12],
    ['Laplace, little noise', laplace(1e-3, 0.5), 2, 1e-5],
    ['Laplace, little noise, once', laplace(1e-3, 1), 1, 1e-5],
    ['Laplace, much noise', laplace(1e6, 0.5, 'replace-one'), 1e9, 1e-5],
    ['Laplace, little noise, replaced', laplace(1e-3, 0.5, 'replace-one'), 3, 1e-5],
    ['Laplace, few units', laplace(1, 1e-12), 1e9, 1e-12],
    ['Laplace, delta 1e-300', laplace(1, 0.1), 1000, 1e-300],
  ])('%s: an interval, and soon', (_, event, times, target) => expectAnswer([{ event, count: times }], target), 240_000)

  test.each<[string, MechanismEvent, number, number]>([
    ['far beyond what is likely', gaussian(1, 0.01), 1000, 300],
    ['farther', gaussian(1, 0.01), 1000, 1e5],
    ['near the largest loss', laplace(1, 1), 5000, 4999],
    ['beyond the largest loss', laplace(1, 0.1), 100, 1e5],
    ['replaced', gaussian(2, 0.01, 'replace-one'), 1000, 8],
    ['noise that no double can merge', gaussian(1e200, 1), 2, 1],
    ['little but for two modes', gaussian(1, 0.01), 1000, 12],
  ])(
    'delta where hardly any is left, %s: an interval, and soon',
    (_, event, times, epsilon) => {
      const { delta: upper, lower } = deltaBounds([{ event, count: times }], epsilon)
      expect(lower).toBeGreaterThanOrEqual(0)
      expect(upper).toBeGreaterThanOrEqual(lower)
      expect(upper).toBeLessThan(1e-30)
    },
    240_000,
  )

  test('noise so little or so much that its square is no double is an event as any other', () => {
    const none = [{ event: gaussian(1e-170, 1), count: 2 }]
    expect(epsilonBounds(none, 1e-5)).toEqual({ epsilon: Number.POSITIVE_INFINITY, lower: 0 })
    expect(deltaBounds(none, 1).delta).toBe(1)
    expect(epsilonBounds([{ event: gaussian(1e200, 1), count: 2 }], 1e-5).epsilon).toBe(0)
  })

  test('an event that was never released changes nothing, now or later', () => {
    const real = { event: gaussian(1, 0.1), count: 12 }
    const never = { event: gaussian(1e-200, 0.5), count: 0 }
    const clean = epsilonBounds([{ ...real, count: 13 }], 1e-5)
    expect(epsilonBounds([never, { ...real, count: 13 }], 1e-5)).toEqual(clean)
    expect(epsilonBounds([never, real], 1e-5).lower).toBeGreaterThan(1)
    expect(deltaBounds([never, real], 1)).toEqual(deltaBounds([real], 1))
  })

  test('no epsilon is too large to ask for its delta', () => {
    for (const event of [gaussian(1, 1), gaussian(1e6, 1), gaussian(1, 0.1), laplace(1, 1)]) {
      const { delta: upper, lower } = deltaBounds([{ event, count: 1 }], 1e200)
      expect(upper).toBeLessThan(1e-200)
      expect(lower).toBe(0)
    }
  })

  test('the least deltas are left to the Renyi accountant', () => {
    const history = [{ event: gaussian(1, 0.01), count: 1000 }]
    expect(epsilonBounds(history, 1e-300)).toEqual({ epsilon: spend(history, 1e-300).epsilon, lower: 0 })
    expect(epsilonBounds(history, 1e-250).lower).toBeGreaterThan(0)
  })

  test('200 stages: an interval, and soon', () => {
    const history = Array.from({ length: 200 }, (_, i) => ({ event: gaussian(1 + i / 100, 0.01), count: 10 }))
    expectAnswer(history, 1e-5)
  }, 240_000)

  test.each([1e-9, 0.01, 1, 2])('delta at epsilon %d', (epsilon) => {
    for (const event of [gaussian(1, 0.01), laplace(2, 0.05), gaussian(2, 0.02, 'replace-one')]) {
      const { delta: above, lower } = deltaBounds([{ event, count: 1000 }], epsilon)
      expect(above).toBeLessThanOrEqual(1)
      expect(lower).toBeGreaterThanOrEqual(0)
      expect(lower).toBeLessThanOrEqual(above)
    }
  })
})

describe('bad input', () => {
  const history = [{ event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 0.1 }), count: 10 }]

  test.each([0, 1, -1, Number.NaN, 2, Number.POSITIVE_INFINITY])('delta %d', (target) => {
    expect(thrownBy(() => epsilonBounds(history, target))).toSatisfy(code('invalid_delta', /delta/))
  })

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('epsilon %d', (epsilon) => {
    expect(thrownBy(() => deltaBounds(history, epsilon))).toSatisfy(code('invalid_epsilon', /epsilon/))
  })

  test.each([0, -1, 1, 1e-13, Number.NaN, Number.POSITIVE_INFINITY])('tolerance %d', (tolerance) => {
    const refused = code('invalid_tolerance', /tolerance/)
    expect(thrownBy(() => epsilonBounds(history, 1e-5, { tolerance }))).toSatisfy(refused)
    expect(thrownBy(() => deltaBounds(history, 1, { tolerance }))).toSatisfy(refused)
  })

  test.each<[string, EventCount[], PrivacyErrorCode, RegExp]>([
    ['a count', [{ event: history[0]!.event, count: 0.5 }], 'invalid_count', /count/],
    [
      'an event',
      [{ event: { ...history[0]!.event, noiseMultiplier: 0 }, count: 1 }],
      'invalid_event',
      /noiseMultiplier/,
    ],
    [
      'two relations',
      [
        ...history,
        { event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 0.1, neighbours: 'replace-one' }), count: 1 },
      ],
      'mixed_neighbours',
      /neighbours/,
    ],
  ])('%s', (_, wrong, wanted, field) => {
    expect(thrownBy(() => epsilonBounds(wrong, 1e-5))).toSatisfy(code(wanted, field))
    expect(thrownBy(() => deltaBounds(wrong, 1))).toSatisfy(code(wanted, field))
  })
})
