import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { affordableRounds, calibrateNoise, epsilonByRound, NOISE_MIN, ROUNDS_MAX } from './calibration.ts'
import { type EventCount, gaussianEvent } from './event.ts'
import { spend } from './meter.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const event = gaussianEvent({ noiseMultiplier: 1.1, samplingRate: 0.06 })

const spendAt = (
  noise: number,
  delta: number,
  stages: { samplingRate: number; rounds: number; noiseRatio?: number }[],
) =>
  spend(
    stages.map(({ samplingRate, rounds, noiseRatio = 1 }) => ({
      event: gaussianEvent({ noiseMultiplier: noise * noiseRatio, samplingRate }),
      count: rounds,
    })),
    delta,
  ).epsilon

describe('calibrateNoise', () => {
  test('property: satisfies the target, and 2e-6 less noise does not', () => {
    const stages = fc.array(
      fc.record({
        samplingRate: fc.double({ min: 1e-3, max: 1, noNaN: true }),
        rounds: fc.integer({ min: 1, max: 2000 }),
        noiseRatio: fc.double({ min: 0.5, max: 2, noNaN: true }),
      }),
      { minLength: 1, maxLength: 3 },
    )
    const target = fc.double({ min: 0.05, max: 50, noNaN: true })
    fc.assert(
      fc.property(stages, target, (list, targetEpsilon) => {
        const { noiseMultiplier, epsilon } = calibrateNoise({ targetEpsilon, delta: 1e-5, stages: list })
        expect(epsilon).toBeLessThanOrEqual(targetEpsilon)
        expect(spendAt(noiseMultiplier, 1e-5, list)).toBe(epsilon)
        expect(spendAt(noiseMultiplier * (1 - 2e-6), 1e-5, list)).toBeGreaterThan(targetEpsilon)
      }),
      { numRuns: 40 },
    )
  })

  test('with one given order only', () => {
    const request = { targetEpsilon: 4, delta: 1e-5, stages: [{ samplingRate: 0.06, rounds: 300 }] }
    const free = calibrateNoise(request)
    const fixed = calibrateNoise({ ...request, orders: [free.order] })
    expect(fixed.noiseMultiplier / free.noiseMultiplier).toBeCloseTo(1, 5)
    expect(calibrateNoise({ ...request, orders: [30] }).noiseMultiplier).toBeGreaterThan(free.noiseMultiplier)
  })

  test('proposes the least noise where any will do', () => {
    expect(calibrateNoise({ targetEpsilon: 1, delta: 1e-5, stages: [] }).noiseMultiplier).toBe(NOISE_MIN)
    const idle = [
      { samplingRate: 0, rounds: 10 },
      { samplingRate: 1, rounds: 0 },
    ]
    expect(calibrateNoise({ targetEpsilon: 1, delta: 1e-5, stages: idle })).toMatchObject({
      noiseMultiplier: NOISE_MIN,
      epsilon: 0,
    })
  })

  test('answers fast enough for an API call', () => {
    const request = { targetEpsilon: 8, delta: 1e-5, stages: [{ samplingRate: 0.06, rounds: 300 }] }
    calibrateNoise(request)
    const start = performance.now()
    calibrateNoise(request)
    expect(performance.now() - start).toBeLessThan(1000)
  })

  const stages = [{ samplingRate: 0.06, rounds: 300 }]
  test.each([
    [{ targetEpsilon: 0, delta: 1e-5, stages }, 'invalid_epsilon'],
    [{ targetEpsilon: -1, delta: 1e-5, stages }, 'invalid_epsilon'],
    [{ targetEpsilon: 1, delta: 0, stages }, 'invalid_delta'],
    [{ targetEpsilon: 1, delta: 1, stages }, 'invalid_delta'],
    [{ targetEpsilon: 1, delta: 1e-5, stages: [{ samplingRate: 1.5, rounds: 1 }] }, 'invalid_stages'],
    [{ targetEpsilon: 1, delta: 1e-5, stages: [{ samplingRate: Number.NaN, rounds: 1 }] }, 'invalid_stages'],
    [{ targetEpsilon: 1, delta: 1e-5, stages: [{ samplingRate: 0.1, rounds: 1, noiseRatio: 0 }] }, 'invalid_stages'],
    [{ targetEpsilon: 1, delta: 1e-5, stages: [{ samplingRate: 0.1, rounds: 1.5 }] }, 'invalid_count'],
    [{ targetEpsilon: 1, delta: 1e-5, stages, orders: [] }, 'invalid_orders'],
    [{ targetEpsilon: 1e-6, delta: 1e-12, stages: [{ samplingRate: 1, rounds: 1e9 }] }, 'unreachable_target'],
    // Orders up to 8 cannot prove an epsilon this small, whatever the noise.
    [
      { targetEpsilon: 0.1, delta: 1e-12, stages: [{ samplingRate: 1, rounds: 1e6 }], orders: [2, 8] },
      'unreachable_target',
    ],
  ])('refuses %j', (request, expected) => {
    expect(() => calibrateNoise(request)).toThrow(code(expected))
  })
})

describe('affordableRounds', () => {
  test('property: so many rounds fit and one more does not', () => {
    const noise = fc.double({ min: 0.6, max: 8, noNaN: true })
    const rate = fc.double({ min: 1e-3, max: 1, noNaN: true })
    const target = fc.double({ min: 0.1, max: 20, noNaN: true })
    fc.assert(
      fc.property(noise, rate, target, fc.nat(50), (noiseMultiplier, samplingRate, epsilon, past) => {
        const next = gaussianEvent({ noiseMultiplier, samplingRate })
        const history = [{ event, count: past }]
        const rounds = affordableRounds({ event: next, budget: { epsilon, delta: 1e-5 }, history })
        const spendAfter = (count: number) => spend([...history, { event: next, count }], 1e-5).epsilon
        if (rounds > 0) expect(spendAfter(rounds)).toBeLessThanOrEqual(epsilon)
        expect(spendAfter(rounds + 1)).toBeGreaterThan(epsilon)
      }),
      { numRuns: 40 },
    )
  })

  test('agrees with calibration: the noise for 300 rounds affords 300 rounds', () => {
    const { noiseMultiplier } = calibrateNoise({
      targetEpsilon: 8,
      delta: 1e-5,
      stages: [{ samplingRate: 0.06, rounds: 300 }],
    })
    const calibrated = gaussianEvent({ noiseMultiplier, samplingRate: 0.06 })
    expect(affordableRounds({ event: calibrated, budget: { epsilon: 8, delta: 1e-5 } })).toBe(300)
  })

  test('is 0 for a spent budget and ROUNDS_MAX for a mechanism that costs nothing', () => {
    const history = [{ event, count: 10_000 }]
    expect(affordableRounds({ event, budget: { epsilon: 1, delta: 1e-5 }, history })).toBe(0)
    const free = gaussianEvent({ noiseMultiplier: 1, samplingRate: 0 })
    expect(affordableRounds({ event: free, budget: { epsilon: 1, delta: 1e-5 } })).toBe(ROUNDS_MAX)
    expect(affordableRounds({ event: free, budget: { epsilon: 1, delta: 1e-5 }, history })).toBe(0)
  })

  test('refuses an impossible budget', () => {
    expect(() => affordableRounds({ event, budget: { epsilon: 0, delta: 1e-5 } })).toThrow(code('invalid_epsilon'))
    expect(() => affordableRounds({ event, budget: { epsilon: 1, delta: 2 } })).toThrow(code('invalid_delta'))
  })
})

describe('epsilonByRound', () => {
  const stages: EventCount[] = [
    { event, count: 5 },
    { event: gaussianEvent({ noiseMultiplier: 2, samplingRate: 0.1 }), count: 3 },
    { event, count: 2 },
  ]

  test('is exactly the spend of each prefix, and never falls', () => {
    const curve = epsilonByRound(stages, 1e-5)
    const rounds = stages.flatMap(({ event: each, count }) =>
      Array.from({ length: count }, () => ({ event: each, count: 1 })),
    )
    expect(curve).toEqual(rounds.map((_, i) => spend(rounds.slice(0, i + 1), 1e-5).epsilon))
    expect(curve.every((epsilon, i) => i === 0 || epsilon >= curve[i - 1]!)).toBe(true)
  })

  test('has no entry without rounds and refuses too many', () => {
    expect(epsilonByRound([], 1e-5)).toEqual([])
    expect(() => epsilonByRound([{ event, count: 1e6 }], 1e-5)).toThrow(code('invalid_stages'))
  })
})
