import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gaussianEvent, laplaceEvent } from './event.ts'
import { epsilonBounds } from './pld/bounds.ts'
import { calibratePure, pureEpsilon } from './pure.ts'

const costs = (b: number, q: number, steps = 1) => Math.log(1 + q * (Math.exp(steps / b) - 1))

describe('pure epsilon', () => {
  it('is the sum of what each release costs alone, rounded up', () => {
    const history = [
      { event: laplaceEvent({ noiseMultiplier: 2, samplingRate: 0.1 }), count: 30 },
      { event: laplaceEvent({ noiseMultiplier: 0.5, samplingRate: 1 }), count: 2 },
    ]
    const exact = 30 * costs(2, 0.1) + 2 * 2
    expect(pureEpsilon(history)).toBeGreaterThanOrEqual(exact)
    expect(pureEpsilon(history)).toBeLessThan(exact * (1 + 1e-9))
  })

  it('covers both ways: a unit that comes and a unit that goes', () => {
    // The largest ratio of the densities of (1-q) L(0) + q L(1) and L(0), either way, over places on the line.
    for (const [b, q] of [
      [0.7, 0.2],
      [3, 0.01],
      [1, 1],
    ] as const) {
      const density = (x: number, at: number) => Math.exp(-Math.abs(x - at) / b)
      let largest = 0
      for (let x = -5; x <= 6; x += 0.01) {
        const mixed = (1 - q) * density(x, 0) + q * density(x, 1)
        largest = Math.max(largest, Math.abs(Math.log(mixed / density(x, 0))))
      }
      const one = pureEpsilon([{ event: laplaceEvent({ noiseMultiplier: b, samplingRate: q }), count: 1 }])
      expect(one).toBeGreaterThanOrEqual(largest)
      expect(one).toBeLessThan(largest * 1.001)
    }
  })

  it('counts a unit that is replaced as two steps, and a Gaussian release as without bound', () => {
    const replaced = laplaceEvent({ noiseMultiplier: 2, samplingRate: 1, neighbours: 'replace-one' })
    expect(pureEpsilon([{ event: replaced, count: 3 }])).toBeCloseTo(3, 9)
    const gaussian = gaussianEvent({ noiseMultiplier: 5, samplingRate: 0.1 })
    expect(pureEpsilon([{ event: gaussian, count: 1 }])).toBe(Number.POSITIVE_INFINITY)
    expect(pureEpsilon([{ event: gaussian, count: 0 }])).toBe(0)
    expect(pureEpsilon([{ event: gaussianEvent({ noiseMultiplier: 5, samplingRate: 0 }), count: 9 }])).toBe(0)
  })

  it('property: is no less than what (epsilon, delta) says of the same releases', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.5, max: 20, noNaN: true }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        fc.integer({ min: 1, max: 50 }),
        (noiseMultiplier, samplingRate, count) => {
          const history = [{ event: laplaceEvent({ noiseMultiplier, samplingRate }), count }]
          expect(epsilonBounds(history, 1e-6).lower).toBeLessThanOrEqual(pureEpsilon(history))
        },
      ),
      { numRuns: 20 },
    )
  })
})

/** Less is not looked for: it hides nothing. */
const LEAST_NOISE = 2 ** -9 * 1.0001

describe('calibrated to pure epsilon', () => {
  it('property: costs no more than asked, and hardly less, whatever the ratios of the stages', () => {
    const stage = fc.record({
      samplingRate: fc.double({ min: 0.01, max: 1, noNaN: true }),
      rounds: fc.integer({ min: 1, max: 1000 }),
      noiseRatio: fc.double({ min: 1, max: 50, noNaN: true }),
    })
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 50, noNaN: true }),
        fc.array(stage, { minLength: 1, maxLength: 4 }),
        (targetEpsilon, stages) => {
          const noise = calibratePure({ targetEpsilon, stages })
          const spent = (factor: number) =>
            pureEpsilon(
              stages.map(({ samplingRate, rounds, noiseRatio }) => ({
                event: laplaceEvent({ noiseMultiplier: noise * noiseRatio * factor, samplingRate }),
                count: rounds,
              })),
            )
          expect(spent(1)).toBeLessThanOrEqual(targetEpsilon)
          if (noise > LEAST_NOISE) expect(spent(0.9999)).toBeGreaterThan(targetEpsilon * 0.999)
        },
      ),
    )
  })

  it('refuses what no noise can meet', () => {
    const stages = [{ samplingRate: 1, rounds: 1_000_000 }]
    expect(() => calibratePure({ targetEpsilon: 1e-9, stages })).toThrow(
      expect.objectContaining({ code: 'unreachable_target' }),
    )
    expect(() => calibratePure({ targetEpsilon: 0, stages })).toThrow(
      expect.objectContaining({ code: 'unreachable_target' }),
    )
  })
})
