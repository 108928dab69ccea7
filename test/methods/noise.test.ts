import { describe, expect, it } from 'vitest'
import { planRun } from '../../coordinator/run/plan.ts'
import { type RunRequest, unitBoundOf } from '../../shared/api/index.ts'
import {
  calibrateNoise,
  clipUnit,
  epsilonBounds,
  gaussianEvent,
  noiseScale,
  pureEpsilon,
  spend,
} from '../../shared/privacy/index.ts'
import type { Preset } from '../../shared/zo/index.ts'
import { smallRequest } from '../rehearsal/request.ts'

/** That the noise of every method is what its VECTOR costs, and is near to what was published. */
const given = { datasets: [{ id: 'north', units: 1000, unit: 'record' as const }], seed: '0'.repeat(16) }
const { stages: _, ...rest } = smallRequest({ model: 'a'.repeat(64), datasets: ['north'] })
const plan = (more: Partial<RunRequest>) => planRun({ ...rest, ...more }, given)

const small = { samplingRate: 0.05, rounds: 70 }
const PRESETS: Record<string, { preset: Preset; more?: Partial<RunRequest> }> = {
  'dp-zoso, one direction': { preset: { name: 'dp-zoso', ...small } },
  'dp-zoso, eight directions': { preset: { name: 'dp-zoso', ...small, directions: 8 } },
  'dp-zoso, eight directions and a private loss': {
    preset: { name: 'dp-zoso', ...small, directions: 8, lossShare: 0.2 },
  },
  dpzero: { preset: { name: 'dpzero', ...small } },
  'dp-zo': { preset: { name: 'dp-zo', ...small } },
  'dp-zo, Laplace': { preset: { name: 'dp-zo', ...small, noise: 'laplace' } },
  'dp-zo, Laplace, four directions': { preset: { name: 'dp-zo', ...small, noise: 'laplace', directions: 4 } },
  'dp-aggzo': { preset: { name: 'dp-aggzo', ...small } },
  sotto: { preset: { name: 'sotto', ...small } },
  psa: {
    preset: { name: 'psa', samplingRate: 0.05, clip: 2 },
    more: {
      task: { kind: 'preference-pairs', maxTokens: 16, maxCompletionTokens: 8, buckets: [16] },
      space: { kind: 'statistic', activation: 'layer.1', size: 768 },
    },
  },
}

describe.each(Object.entries(PRESETS))('%s', (_name, { preset, more }) => {
  const { spec, events, eventsWithSpares, epsilon } = plan({ preset, ...more })

  it('adds at least its multiplier times the longest vector that one unit can add', () => {
    for (const stage of spec.stages) {
      const bound = { ...stage, ...unitBoundOf(spec) }
      const wild = Float64Array.from({ length: stage.directions }, (_, k) => (k % 2 ? -1e300 : 1e300))
      const { clip, grid, lossShare, lossBound } = stage
      const asked = { clip, grid, ...unitBoundOf(spec) }
      const vector = clipUnit(wild, lossShare > 0 ? { ...asked, lossShare, lossBound, loss: 1e9 } : asked)
      const length = spec.noise === 'laplace' ? vector.reduce((sum, v) => sum + Math.abs(v), 0) : Math.hypot(...vector)
      expect(noiseScale(bound)).toBeGreaterThanOrEqual(stage.noiseMultiplier * length)
      // And no more than that: the bound is met.
      expect(noiseScale(bound)).toBeLessThan(stage.noiseMultiplier * length * 1.001)
    }
  })

  it('charges one event a round, of the multiplier that the noise has, and pays for all of them', () => {
    for (const [at, { event, count }] of events.entries()) {
      const stage = spec.stages[at]!
      expect(count).toBe(stage.rounds)
      expect(event).toEqual({
        mechanism: spec.noise,
        noiseMultiplier: stage.noiseMultiplier,
        samplingRate: 0.05,
        neighbours: 'add-remove',
      })
    }
    expect(epsilon.epsilon).toBeLessThanOrEqual(4)
    expect(epsilonBounds(eventsWithSpares, 1e-5).epsilon).toBeLessThanOrEqual(4)
    if (spec.noise === 'laplace') {
      expect(pureEpsilon(eventsWithSpares)).toBeLessThanOrEqual(4)
      expect(pureEpsilon(eventsWithSpares)).toBeGreaterThan(3.99)
    }
  })
})

describe('the budget between stages', () => {
  const stage = { rounds: 40, learningRate: 0.1, radius: 0.01, directions: 4, clip: 1, samplingRate: 0.05 }

  it('is split by ratios of noise: less noise, more of it', () => {
    const { spec, eventsWithSpares } = plan({
      stages: [stage, { ...stage, noiseRatio: 0.5 }, { ...stage, noiseRatio: 2 }],
    })
    const [first, second, third] = spec.stages.map(({ noiseMultiplier }) => noiseMultiplier) as [number, number, number]
    // Each is rounded up to five digits.
    expect(second / first).toBeCloseTo(0.5, 4)
    expect(third / first).toBeCloseTo(2, 3)
    const { epsilon } = epsilonBounds(eventsWithSpares, 1e-5)
    expect(epsilon).toBeLessThanOrEqual(4)
    expect(epsilon).toBeGreaterThan(3.99)
  })
})

describe('published noise multipliers of DP-AggZO, by a Renyi accountant', () => {
  it.each([
    [0.0416, 1000, 1.9, 3.1],
    [0.0416, 1000, 5.7, 1.36],
    [0.0416, 500, 0.475, 7.6],
  ])('q %f, T %i, epsilon %f: sigma %f', (samplingRate, rounds, epsilon, sigma) => {
    const at = (noiseMultiplier: number) =>
      spend([{ event: gaussianEvent({ noiseMultiplier, samplingRate }), count: rounds }], 1e-5).epsilon
    // Listed to two per cent; their orders are integers.
    expect(at(sigma * 1.03)).toBeLessThan(epsilon)
    expect(at(sigma * 0.97)).toBeGreaterThan(epsilon)
    const ours = calibrateNoise({ targetEpsilon: epsilon, delta: 1e-5, stages: [{ samplingRate, rounds }] })
    expect(ours.noiseMultiplier).toBeLessThan(sigma * 1.02)
  })
})
