import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CalibrationStage, calibrateNoise, largestRounds, largestSamplingRate, ROUNDS_MAX } from './calibration.ts'
import { type EventCount, gaussianEvent, mechanismEvent } from './event.ts'
import { epsilonBounds } from './pld/bounds.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const event = gaussianEvent({ noiseMultiplier: 1.1, samplingRate: 0.06 })
const epsilonOf = (history: readonly EventCount[], delta: number) => epsilonBounds(history, delta)

const eventsAt = (stages: readonly CalibrationStage[], noise: number): EventCount[] =>
  stages.map(({ mechanism = 'gaussian', samplingRate, rounds, noiseRatio = 1 }) => ({
    event: mechanismEvent({ mechanism, noiseMultiplier: noise * noiseRatio, samplingRate }),
    count: rounds,
  }))

describe('calibrateNoise', () => {
  const stage = fc.record({
    mechanism: fc.constantFrom('gaussian' as const, 'laplace' as const),
    samplingRate: fc.constantFrom(0.01, 0.06, 0.3, 1),
    rounds: fc.integer({ min: 1, max: 400 }),
    noiseRatio: fc.constantFrom(0.5, 1, 2),
  })

  test('property: the answer is within the target, and 0.1 % less noise is not', () => {
    const schedules = fc.array(stage, { minLength: 1, maxLength: 3 })
    const targets = fc.constantFrom(0.3, 1, 4, 9)
    fc.assert(
      fc.property(schedules, targets, fc.constantFrom(1e-5, 1e-8), (stages, targetEpsilon, delta) => {
        const answer = calibrateNoise({ targetEpsilon, delta, stages })
        expect(answer.epsilon).toBeLessThanOrEqual(targetEpsilon)
        expect(answer.lower).toBeLessThanOrEqual(answer.epsilon)
        const exact = epsilonBounds(eventsAt(stages, answer.noiseMultiplier * 0.999), delta, { tolerance: 1e-4 })
        expect(exact.epsilon).toBeGreaterThan(targetEpsilon)
      }),
      { numRuns: 8 },
    )
  })

  test('replacing a unit needs more noise than adding or removing one; leaving one out needs the same', () => {
    const request = { targetEpsilon: 2, delta: 1e-5, stages: [{ samplingRate: 0.02, rounds: 500 }] }
    const { noiseMultiplier } = calibrateNoise(request)
    expect(calibrateNoise({ ...request, neighbours: 'zero-out' }).noiseMultiplier).toBe(noiseMultiplier)
    expect(calibrateNoise({ ...request, neighbours: 'replace-one' }).noiseMultiplier).toBeGreaterThan(
      1.1 * noiseMultiplier,
    )
  })

  const stages = [{ samplingRate: 0.1, rounds: 10 }]
  test.each([
    [{ targetEpsilon: 0, delta: 1e-5, stages }, 'invalid_epsilon'],
    [{ targetEpsilon: Number.NaN, delta: 1e-5, stages }, 'invalid_epsilon'],
    [{ targetEpsilon: 1, delta: 1e-5, stages: [] }, 'invalid_stages'],
    [{ targetEpsilon: 1, delta: 1e-5, stages: [{ samplingRate: 0.5, rounds: 0 }] }, 'invalid_stages'],
    [{ targetEpsilon: 1, delta: 0, stages }, 'invalid_delta'],
    [{ targetEpsilon: 1, delta: 1, stages }, 'invalid_delta'],
    [{ targetEpsilon: 1, delta: 1e-5, stages: [{ samplingRate: 1.1, rounds: 1 }] }, 'invalid_stages'],
    [{ targetEpsilon: 1, delta: 1e-5, stages: [{ samplingRate: Number.NaN, rounds: 1 }] }, 'invalid_stages'],
    [{ targetEpsilon: 1, delta: 1e-5, stages: [{ samplingRate: 0.1, rounds: 1.5 }] }, 'invalid_count'],
    [{ targetEpsilon: 1, delta: 1e-5, stages: [{ samplingRate: 0.1, rounds: 1, noiseRatio: 0 }] }, 'invalid_stages'],
    [{ targetEpsilon: 1e-9, delta: 1e-12, stages: [{ samplingRate: 1, rounds: 1e6 }] }, 'unreachable_target'],
  ])('refuses %j', (request, expected) => {
    expect(() => calibrateNoise(request)).toThrow(code(expected))
  })
})

describe('largestSamplingRate', () => {
  test('property: the answer is within the target, and 0.2 % more is not', () => {
    const noises = fc.double({ min: 0.7, max: 6, noNaN: true })
    fc.assert(
      fc.property(noises, fc.integer({ min: 1, max: 3000 }), fc.constantFrom(0.5, 3), (noise, rounds, target) => {
        const stages = [
          { noiseMultiplier: noise, rounds },
          { noiseMultiplier: 2 * noise, rounds, rateRatio: 0.5 },
        ]
        const { samplingRate, epsilon } = largestSamplingRate({ targetEpsilon: target, delta: 1e-6, stages })
        expect(epsilon).toBeLessThanOrEqual(target)
        if (samplingRate === 1) return
        const more = (ratio: number) => Math.min(1, samplingRate * ratio * 1.002)
        const schedule = stages.map(({ noiseMultiplier, rateRatio = 1 }) => ({
          event: gaussianEvent({ noiseMultiplier, samplingRate: more(rateRatio) }),
          count: rounds,
        }))
        expect(epsilonBounds(schedule, 1e-6, { tolerance: 1e-4 }).lower).toBeGreaterThan(target)
      }),
      { numRuns: 6 },
    )
  })

  test('is 1 where the target is no limit, and refuses ratios that could leave the probabilities', () => {
    const stages = [{ noiseMultiplier: 50, rounds: 2 }]
    expect(largestSamplingRate({ targetEpsilon: 4, delta: 1e-5, stages }).samplingRate).toBe(1)
    const wrong = [{ noiseMultiplier: 1, rounds: 2, rateRatio: 1.5 }]
    expect(() => largestSamplingRate({ targetEpsilon: 4, delta: 1e-5, stages: wrong })).toThrow(code('invalid_stages'))
    const hard = [{ noiseMultiplier: 0.05, rounds: 1e6 }]
    const impossible = { targetEpsilon: 1e-6, delta: 1e-280, stages: hard }
    expect(() => largestSamplingRate(impossible)).toThrow(code('unreachable_target'))
  })
})

describe('largestRounds', () => {
  test('property: so many rounds fit, and 0.3 % more do not', () => {
    // Millions of rounds, where noise is large and the rate small, take seconds for every question asked about them.
    const noise = fc.double({ min: 0.6, max: 2.5, noNaN: true })
    const rate = fc.constantFrom(0.01, 0.06, 0.4)
    const target = fc.double({ min: 0.5, max: 8, noNaN: true })
    fc.assert(
      fc.property(noise, rate, target, fc.nat(20), (noiseMultiplier, samplingRate, epsilon, past) => {
        const next = gaussianEvent({ noiseMultiplier, samplingRate })
        const history = [{ event, count: past }]
        const budget = { epsilon, delta: 1e-5 }
        const rounds = largestRounds({ event: next, budget, history })
        const spendAfter = (count: number) => epsilonOf([...history, { event: next, count }], 1e-5)
        if (rounds > 0) expect(spendAfter(rounds).epsilon).toBeLessThanOrEqual(epsilon)
        expect(spendAfter(Math.ceil(rounds * 1.003) + 1).epsilon).toBeGreaterThan(epsilon)
      }),
      { numRuns: 8 },
    )
  })

  test('agrees with calibration: the noise for 300 rounds affords 300 rounds', () => {
    const stages = [{ samplingRate: 0.06, rounds: 300 }]
    const { noiseMultiplier } = calibrateNoise({ targetEpsilon: 8, delta: 1e-5, stages })
    const calibrated = gaussianEvent({ noiseMultiplier, samplingRate: 0.06 })
    expect(largestRounds({ event: calibrated, budget: { epsilon: 8, delta: 1e-5 } })).toBe(300)
  })

  test('is 0 for a spent budget and ROUNDS_MAX for a mechanism that costs nothing', () => {
    const history = [{ event, count: 10_000 }]
    expect(largestRounds({ event, budget: { epsilon: 1, delta: 1e-5 }, history })).toBe(0)
    const free = gaussianEvent({ noiseMultiplier: 1, samplingRate: 0 })
    expect(largestRounds({ event: free, budget: { epsilon: 1, delta: 1e-5 } })).toBe(ROUNDS_MAX)
    expect(largestRounds({ event: free, budget: { epsilon: 1, delta: 1e-5 }, history })).toBe(0)
  })

  test('refuses an impossible budget', () => {
    expect(() => largestRounds({ event, budget: { epsilon: 0, delta: 1e-5 } })).toThrow(code('invalid_epsilon'))
    expect(() => largestRounds({ event, budget: { epsilon: 1, delta: 2 } })).toThrow(code('invalid_delta'))
  })
})
