import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type MechanismEvent, mechanismEvent } from '../event.ts'
import { deltaAbove, deltaBelow, epsilonAbove, epsilonBelow } from './answer.ts'
import { type ComposedLoss, compose, type EnclosedReleases } from './compose.ts'
import { enclose } from './discretise.ts'
import { dominatingPairs } from './pair.ts'

const logUniform = (min: number, max: number) =>
  fc.double({ min: Math.log(min), max: Math.log(max), noNaN: true }).map(Math.exp)

const FINE = { outside: 1e-12, pointsMax: 2 ** 20 }

const stage = fc.record({
  mechanism: fc.constantFrom('gaussian' as const, 'laplace' as const),
  noiseMultiplier: logUniform(0.4, 5),
  samplingRate: fc.oneof(fc.constant(1), logUniform(1e-3, 1)),
})

const enclosedStage = (
  event: MechanismEvent,
  { step, direction, count }: { step: number; direction: number; count: number },
): EnclosedReleases => {
  const pairs = dominatingPairs(event)
  return { loss: enclose(pairs[direction % pairs.length]!, step, { top: 1e-13, bottom: 1e-13 })!, count }
}

interface Points {
  start: number
  masses: Float64Array
}

/** Every sum of a loss of one with a loss of the other, in plain doubles. */
const convolved = (a: Points, b: Points): Points => {
  const masses = new Float64Array(a.masses.length + b.masses.length - 1)
  for (const [i, p] of a.masses.entries()) for (const [j, q] of b.masses.entries()) masses[i + j]! += p * q
  return { start: a.start + b.start, masses }
}

/** The composition without transform, tilt or window. */
const plain = (releases: readonly EnclosedReleases[], side: 'upper' | 'lower') => {
  const all = releases.flatMap(({ loss, count }) =>
    Array.from({ length: count }, () => ({
      start: loss.lattice.offset + loss.first * loss.lattice.step,
      masses: loss[side],
    })),
  )
  const { start, masses } = all.slice(1).reduce(convolved, all[0]!)
  const { step } = releases[0]!.loss.lattice
  const infinite = -Math.expm1(releases.reduce((sum, { loss, count }) => sum + count * Math.log1p(-loss.infinite), 0))
  return function deltaAt(epsilon: number) {
    const finite = masses.reduce((sum, mass, i) => sum + mass * Math.max(0, -Math.expm1(epsilon - start - i * step)), 0)
    return side === 'upper' ? finite + infinite : finite
  }
}

const composition = fc
  .record({
    stages: fc.array(fc.record({ parameters: stage, count: fc.integer({ min: 1, max: 2 }) }), {
      minLength: 1,
      maxLength: 2,
    }),
    step: logUniform(0.02, 0.3),
    direction: fc.integer({ min: 0, max: 1 }),
    neighbours: fc.constantFrom('add-remove' as const, 'replace-one' as const),
  })
  .map(({ stages, step, direction, neighbours }) =>
    stages.map(({ parameters, count }) =>
      enclosedStage(mechanismEvent({ ...parameters, neighbours }), {
        step,
        direction,
        count: count + (stages.length === 1 ? 1 : 0),
      }),
    ),
  )

const gaussianReleases = (count: number, step = 0.01) => [
  enclosedStage(mechanismEvent({ noiseMultiplier: 2, samplingRate: 0.2 }), { step, direction: 0, count }),
]

const sane = (loss: ComposedLoss) => {
  expect(loss.upper.every((mass) => mass >= 0)).toBe(true)
  expect(loss.lower.every((mass) => mass >= 0)).toBe(true)
}

describe('composition by tilted transforms', () => {
  test('property: two to four releases, against sums over all their losses', () => {
    fc.assert(
      fc.property(
        composition,
        logUniform(0.05, 30),
        fc.double({ min: 0, max: 6, noNaN: true }),
        (releases, tilt, epsilon) => {
          const composed = compose(releases, tilt, FINE)
          fc.pre(composed !== null)
          sane(composed!)
          const above = plain(releases, 'upper')
          const below = plain(releases, 'lower')
          // Losses are rounded: the sums of the test by as much as those under test.
          const near = 1e-12 * (1 + epsilon)
          const slack = 1 + 1e-12
          const { value } = deltaAbove(composed!, epsilon)
          const lower = deltaBelow(composed!, epsilon)
          expect(value * slack).toBeGreaterThanOrEqual(above(epsilon + near))
          expect(lower).toBeLessThanOrEqual(below(epsilon - near) * slack)
        },
      ),
      { numRuns: 250 },
    )
  })

  test('property: at a tilt that fits, both sides are the sums to nine digits', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 3 }), logUniform(0.5, 20), (count, tilt) => {
        const releases = gaussianReleases(count, 0.05)
        const composed = compose(releases, tilt, FINE)!
        const epsilon = composed.centre
        const [above, below] = [plain(releases, 'upper')(epsilon), plain(releases, 'lower')(epsilon)]
        expect(Math.abs(deltaAbove(composed, epsilon).value / above - 1)).toBeLessThan(1e-9)
        expect(Math.abs(deltaBelow(composed, epsilon) / below - 1)).toBeLessThan(1e-9)
      }),
      { numRuns: 30 },
    )
  })

  test('a window that leaves mass out owes it: bounds hold with a tenth of the tilted mass outside', () => {
    for (const outside of [1e-1, 1e-2, 1e-4]) {
      for (const tilt of [0.5, 3, 12]) {
        for (const count of [2, 3]) {
          const releases = gaussianReleases(count, 0.02)
          const composed = compose(releases, tilt, { ...FINE, outside })!
          const [above, below] = [plain(releases, 'upper'), plain(releases, 'lower')]
          for (let epsilon = 0; epsilon < 4; epsilon += 0.13) {
            expect(deltaAbove(composed, epsilon).value).toBeGreaterThanOrEqual(above(epsilon) * (1 - 1e-11))
            expect(deltaBelow(composed, epsilon)).toBeLessThanOrEqual(below(epsilon) * (1 + 1e-11))
          }
        }
      }
    }
  })

  test('a transform shorter than the distribution of one release wraps it without losing mass', () => {
    const releases = gaussianReleases(2, 2e-4)
    const composed = compose(releases, 40, { ...FINE, outside: 0.3 })!
    expect(composed.upper.length).toBeLessThan(releases[0]!.loss.upper.length)
    const tilted = composed.upper.reduce((sum, mass) => sum + mass, 0)
    expect(tilted).toBeGreaterThanOrEqual(1 - 1e-12)
    expect(tilted).toBeLessThan(1 + 1e-6)
  })

  test('mass at infinite loss adds up, and delta never falls below it', () => {
    const event = mechanismEvent({ noiseMultiplier: 1, samplingRate: 0.5 })
    const loss = enclose(dominatingPairs(event)[0]!, 0.01, { top: 1e-4, bottom: 1e-9 })!
    const composed = compose([{ loss, count: 10 }], 2, FINE)!
    expect(composed.infinite).toBeCloseTo(10 * loss.infinite, 18)
    expect(deltaAbove(composed, 1000).value).toBeGreaterThanOrEqual(1 - (1 - loss.infinite) ** 10)
    expect(epsilonAbove(composed, composed.infinite * 0.9).value).toBe(Number.POSITIVE_INFINITY)
  })

  test('four quarters are the whole, whatever the grouping', () => {
    const [whole] = gaussianReleases(1000)
    const quarters = Array.from({ length: 4 }, () => ({ loss: whole!.loss, count: 250 }))
    for (const tilt of [0.5, 2, 5]) {
      const [one, four] = [compose([whole!], tilt, FINE)!, compose(quarters, tilt, FINE)!]
      const epsilon = one.centre
      expect(Math.abs(deltaAbove(four, epsilon).value / deltaAbove(one, epsilon).value - 1)).toBeLessThan(1e-8)
      expect(Math.abs(deltaBelow(four, epsilon) / deltaBelow(one, epsilon) - 1)).toBeLessThan(1e-8)
    }
  })

  test('property: halving the step raises no upper bound and lowers no lower one, but for rounding', () => {
    // Releases without a crowd have lattices through 0, so that every point of the coarser one is one of the finer.
    const unsampled = stage.map((parameters) =>
      mechanismEvent({ ...parameters, mechanism: 'gaussian', samplingRate: 1 }),
    )
    fc.assert(
      fc.property(unsampled, fc.integer({ min: 2, max: 2000 }), logUniform(1e-10, 1e-3), (event, count, delta) => {
        const mean = count / (2 * event.noiseMultiplier ** 2)
        const deviation = Math.sqrt(2 * mean)
        const tilt = 4 / deviation
        const step = 0.4 / event.noiseMultiplier
        const [coarse, fine] = [step, step / 2].map(
          (h) => compose([enclosedStage(event, { step: h, direction: 0, count })], tilt, FINE)!,
        )
        fc.pre(mean < 300)
        expect(epsilonAbove(fine!, delta).value).toBeLessThanOrEqual(
          epsilonAbove(coarse!, delta).value + 1e-9 * deviation,
        )
        expect(epsilonBelow(fine!, delta)).toBeGreaterThanOrEqual(epsilonBelow(coarse!, delta) - 1e-9 * deviation)
      }),
      { numRuns: 40 },
    )
  })

  test('epsilon and delta of one composed loss are each other’s inverses', () => {
    for (const tilt of [0.1, 0.3, 0.6]) {
      const composed = compose(gaussianReleases(500), tilt, FINE)!
      const epsilon = composed.centre
      const above = deltaAbove(composed, epsilon).value
      const below = deltaBelow(composed, epsilon)
      expect(epsilonAbove(composed, above).value).toBeCloseTo(epsilon, 6)
      expect(epsilonBelow(composed, below)).toBeCloseTo(epsilon, 6)
    }
  })

  test('a window of more points than allowed is refused', () => {
    expect(compose(gaussianReleases(1e6), 2, { outside: 1e-9, pointsMax: 1024 })).toBeNull()
  })
})
