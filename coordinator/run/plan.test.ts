import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { epsilonBounds, spend } from '../../shared/privacy/index.ts'
import { parseRequest, smallRequest } from '../../test/rehearsal/request.ts'
import { planRun, roundUp, spendOf } from './plan.ts'

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
    expect(epsilonWithSpares.epsilon).toBeLessThanOrEqual(2)
    expect(epsilonWithSpares.epsilon).toBeGreaterThan(1.995)
    expect(epsilon.epsilon).toBeLessThan(epsilonWithSpares.lower)
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

describe('the spend', () => {
  it('is the certified interval of the whole schedule, below what Renyi divergences give', () => {
    const planned = plan({ stages: [stage, { ...stage, rounds: 5 }] })
    const { epsilon, epsilonLower, epsilonRdp } = spendOf(planned)
    expect({ epsilon, lower: epsilonLower }).toEqual(epsilonBounds(planned.events, 1e-5))
    expect(epsilonRdp).toBe(spend(planned.events, 1e-5).epsilon)
    expect(epsilon).toBeLessThan(epsilonRdp)
  })

  it('by round ends at the whole, never falls, and is thinned to 50 points', () => {
    const planned = plan({ stages: [stage, { ...stage, rounds: 80 }] })
    const { epsilon, epsilonByRound } = spendOf(planned)
    expect(epsilonByRound).toHaveLength(50)
    expect(epsilonByRound.at(-1)).toEqual({ round: 100, epsilon })
    const values = epsilonByRound.map((point) => point.epsilon)
    expect(values).toEqual([...values].sort((a, b) => a - b))
    const { round, epsilon: half } = epsilonByRound[24]!
    const { event } = planned.events[0]!
    expect(round).toBe(50)
    const bounds = epsilonBounds([{ event, count: 50 }], 1e-5)
    expect(half).toBeLessThanOrEqual(bounds.epsilon)
    expect(half).toBeGreaterThanOrEqual(bounds.lower)
  })
})
