import { randomFillSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { composeRelease } from '../../gpu-worker/release.ts'
import type { Method } from '../../shared/api/index.ts'
import { noiseDeviation, poissonSample, roundedNormals } from '../../shared/privacy/index.ts'
import {
  advance,
  coefficients,
  direction,
  directionScale,
  expandPreset,
  initialState,
  type LoraSpace,
  type Preset,
  replayStart,
  type Stage,
  spaceDimension,
} from '../../shared/zo/index.ts'
import { coordinates, type QuadraticUnit, quadraticOracle } from './quadratic.ts'

/**
 * One round of every preset on a quadratic of known constants, against the formulas of the papers, noise taken off again. All
 * numbers are dyadic, so that losses in float32 and integers on the grid are exact, and what is left is the formula.
 */
const seed = '0123456789abcdef'
const D = 16
const RADIUS = 2 ** -4
const GRID = 2 ** -20
const UNITS = 12

const units: QuadraticUnit[] = Array.from({ length: UNITS }, (_, n) => ({
  curvature: 2 ** (n % 3),
  center: Array.from({ length: D }, (_, i) => ((7 * n + 3 * i) % 9) / 8 - 0.5),
  offset: 1,
}))

/** A source of secret bytes that can be given again. */
function recorded() {
  const given: Uint8Array[] = []
  return {
    record: (length: number) => {
      const bytes = randomFillSync(new Uint8Array(length))
      given.push(bytes.slice())
      return bytes
    },
    replay: () => given.shift()!,
  }
}

/** The report of a round without its noise, and the units that were in its batch. */
async function sumOf(stage: Stage, method: Method, space: LoraSpace) {
  const secret = recorded()
  const released = await composeRelease({
    ...{ method, stage, round: 0, state: initialState(D), random: secret.record },
    units: units.map((unit) => [unit]),
    oracle: quadraticOracle({ seed, space }),
  })
  const clipping = method.clipping === 'per-direction' ? 'per-direction' : ('joint' as const)
  const noise = roundedNormals(
    { count: released.length, deviation: noiseDeviation({ ...stage, clipping }) },
    secret.replay,
  )
  const batch = poissonSample(UNITS, stage.samplingRate, secret.replay)
  return { sum: released.map((value, k) => value - noise[k]!), batch }
}

/** <theta - b, z> at theta 0, of a direction with its scale. */
const slope = ({ curvature, center }: QuadraticUnit, z: readonly number[]): number =>
  curvature * center.reduce((sum, b, i) => sum - b * z[i]!, 0)

const directionsOf = (space: LoraSpace, count: number): number[][] =>
  Array.from({ length: count }, (_, k) => {
    const z = direction(seed, { round: 0, k }, space)
    return Array.from(z, (entry) => entry * directionScale(space, z))
  })

const clamp = (value: number, c: number): number => Math.min(c, Math.max(-c, value))

/** sum_i clip(D_i / K) by the paper's own words, in real numbers. */
function expectedSum(batch: readonly number[], z: readonly number[][], { clip }: Stage, method: Method): number[] {
  const total = z.map(() => 0)
  for (const index of batch) {
    const differences = z.map((each) => {
      const unit = units[index]!
      const square = each.reduce((sum, entry) => sum + entry * entry, 0)
      return slope(unit, each) + (method.sides === 'one' ? (unit.curvature * RADIUS * square) / 2 : 0)
    })
    const mean = differences.map((difference) => difference / z.length)
    const length = Math.hypot(...mean)
    const clipped =
      method.clipping === 'joint'
        ? mean.map((value) => value * Math.min(1, clip / length))
        : differences.map((difference) => clamp(difference, clip) / z.length)
    clipped.forEach((value, k) => {
      total[k]! += value
    })
  }
  return total
}

const given = { samplingRate: 0.5, lossShare: 0 as const }
const PRESETS: Record<string, { preset: Preset; tolerance: number }> = {
  'dp-zoso, P directions clipped one by one': {
    preset: { name: 'dp-zoso', ...given, rounds: 7, directions: 4, clip: 2, radius: { start: RADIUS, end: RADIUS } },
    tolerance: 1e-12,
  },
  dpzero: { preset: { name: 'dpzero', ...given, rounds: 3, clip: 2, radius: RADIUS }, tolerance: 1e-12 },
  'dp-zo': { preset: { name: 'dp-zo', ...given, rounds: 3, clip: 2, radius: RADIUS }, tolerance: 1e-12 },
  'dp-aggzo, nobody clipped': {
    preset: { name: 'dp-aggzo', ...given, rounds: 3, directions: 8, clip: 64, radius: RADIUS },
    tolerance: 1e-12,
  },
  // A vector that is scaled down is no more on the grid: each unit may lose a step toward zero in each coordinate.
  'dp-aggzo, everybody clipped': {
    preset: { name: 'dp-aggzo', ...given, rounds: 3, directions: 8, clip: 2 ** -3, radius: RADIUS },
    tolerance: UNITS * GRID,
  },
  'sotto, everybody clipped': {
    preset: { name: 'sotto', ...given, rounds: 3, directions: 8, clip: 2 ** -3, radius: RADIUS },
    tolerance: UNITS * GRID,
  },
}

describe.each(Object.entries(PRESETS))('%s', (_, { preset, tolerance }) => {
  const { stages, clipping, noise, sides } = expandPreset(preset)
  // Signs, so that every number of the round is dyadic; how other directions are drawn and scaled is tested by itself.
  const space = coordinates(D)
  const method = { clipping, noise, sides }
  const stage: Stage = { ...stages[0]!, grid: GRID, noiseMultiplier: 1 }

  it.each(['two', 'one'] as const)('sums what its paper says, %s-sided', async (side) => {
    const own = { ...method, sides: side }
    const { sum, batch } = await sumOf(stage, own, space)
    const expected = expectedSum(batch, directionsOf(space, stage.directions), stage, own)
    expect(batch.length).toBeGreaterThan(0)
    for (const [k, value] of expected.entries()) expect(Math.abs(sum[k]! * GRID - value)).toBeLessThanOrEqual(tolerance)
  })

  it('steps where its paper says', async () => {
    const { sum } = await sumOf(stage, method, space)
    const ghat = coefficients([{ integers: sum, units: UNITS }], stage)
    const z = directionsOf(space, stage.directions)
    for (const [k, value] of ghat.entries())
      expect(Math.abs(value - (sum[k]! * GRID) / (stage.samplingRate * UNITS))).toBeLessThan(1e-12)
    const spec = { seed, space, stages: [{ ...stage, rounds: 2 }] }
    const first = advance(spec, replayStart(spec), { round: 0, coefficients: ghat })
    const { current } = first.state
    for (let i = 0; i < D; i++) {
      const gradient = ghat.reduce((total, value, k) => total + value * z[k]![i]!, 0)
      expect(current[i]!).toBe(Math.fround(0 - stage.learningRate * gradient))
    }
    // The second step is pulled to where the stage began.
    const second = advance(spec, first, { round: 1, coefficients: ghat.map(() => 0) })
    for (let i = 0; i < D; i++) {
      const pulled = current[i]! - stage.learningRate * stage.prox * current[i]!
      expect(second.state.current[i]).toBe(Math.fround(pulled))
    }
  })
})

describe('the sphere and the binomial', () => {
  it.each(['binomial', 'sphere'] as const)(
    '%s: the differences are slopes along the scaled direction',
    async (distribution) => {
      const space = coordinates(D, distribution)
      const stage: Stage = {
        ...expandPreset({ name: 'dpzero', ...given, clip: 64, radius: RADIUS }).stages[0]!,
        grid: GRID,
        noiseMultiplier: 1,
      }
      const method = { clipping: 'per-direction', noise: 'gaussian', sides: 'two' } as const
      const { sum, batch } = await sumOf(stage, method, space)
      const [expected] = expectedSum(batch, directionsOf(space, 1), stage, method)
      // Losses in float32 and one rounding of the perturbed point.
      expect(Math.abs(sum[0]! * GRID - expected!)).toBeLessThan(1e-3 * Math.max(1, Math.abs(expected!)))
      expect(spaceDimension(space)).toBe(D)
      const [z] = directionsOf(space, 1)
      const square = z!.reduce((total, entry) => total + entry * entry, 0)
      if (distribution === 'sphere') expect(square).toBeCloseTo(D, 10)
      else expect(square).toBeGreaterThan(D / 4)
    },
  )
})
