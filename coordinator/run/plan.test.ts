import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { epsilonByRound } from '../../shared/privacy/index.ts'
import { parseRequest, smallRequest } from '../../test/rehearsal/request.ts'
import { epsilonCurve, planRun, roundUp } from './plan.ts'

const datasets = [{ id: 'north', units: 1000, unit: 'record' as const }]
const given = { datasets, seed: '0'.repeat(16) }
const stage = { rounds: 20, learningRate: 0.1, radius: 0.01, directions: 4, clip: 1, samplingRate: 0.05 }
const plan = (change: object) =>
  planRun(parseRequest({ ...smallRequest({ model: 'a'.repeat(64), datasets: ['north'] }), ...change }), given)

describe('the chosen noise', () => {
  it('pays for all rounds and spares, with little left over', () => {
    const stages = [stage, { ...stage, rounds: 30, samplingRate: 0.1 }]
    const { spec, epsilon, epsilonWithSpares } = plan({ stages, budget: { epsilon: 2, delta: 1e-5 } })
    expect(spec.spareCharges).toBe(4)
    expect(epsilonWithSpares).toBeLessThanOrEqual(2)
    expect(epsilonWithSpares).toBeGreaterThan(1.99)
    expect(epsilon).toBeLessThan(epsilonWithSpares)
    expect(spec.stages[0]?.noiseMultiplier).toBe(spec.stages[1]?.noiseMultiplier)
  })

  it('is rounded up, never down', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-3, max: 1e6, noNaN: true }), (value) => {
        const rounded = roundUp(value, 5)
        expect(rounded).toBeGreaterThanOrEqual(value)
        expect(rounded).toBeLessThanOrEqual(value * 1.0002)
        expect(rounded.toPrecision(5)).toBe(Number(rounded).toPrecision(5))
        expect(Number(rounded.toPrecision(5))).toBe(rounded)
      }),
    )
  })
})

describe('the curve', () => {
  it('is epsilon by round, thinned to 200 points', () => {
    const { events } = plan({ stages: [stage, { ...stage, rounds: 5 }] })
    expect(epsilonCurve(events, 1e-5)).toEqual(epsilonByRound(events, 1e-5))
    const long = epsilonCurve([{ event: events[0]!.event, count: 1000 }], 1e-5)
    expect(long).toHaveLength(200)
    expect(long).toEqual([...long].sort((a, b) => a - b))
  })
})
