import { randomFillSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { clipJoint, noiseDeviation, poissonSample, roundedNormals } from '../shared/privacy/index.ts'
import {
  groupCount,
  initialState,
  type LoraSpace,
  type Perturbation,
  perturbedFactors,
  type Stage,
  spaceDimension,
} from '../shared/zo/index.ts'
import { composeRelease, type DifferenceOracle, type LossOracle, type ReleaseInput } from './release.ts'

const space: LoraSpace = {
  kind: 'lora',
  rank: 1,
  trained: 'factor',
  sites: [{ name: 'only', inputs: 40, outputs: 4, scale: 1 }],
}
const stage: Stage = {
  rounds: 10,
  learningRate: 0.1,
  radius: 0.01,
  directions: 6,
  clip: 1,
  grid: 2 ** -20,
  noiseMultiplier: 1.5,
  samplingRate: 0.3,
  prox: 0,
  lossShare: 0.2,
  lossBound: 2,
}
const seed = '00000000000000ff'
/** A line is its number; its loss is a smooth function of the factor and of that number. */
const smooth: LossOracle<number> = {
  losses: async (lines, at) => {
    const vectors = perturbedFactors(at, { seed, space })
    const length = at.center.length
    const groups = Array.from({ length: groupCount(at) }, (_, g) => vectors.subarray(g * length, (g + 1) * length))
    return Float32Array.from(
      lines.flatMap((line) =>
        groups.map((factor) => 0.7 + factor.reduce((sum, a, i) => sum + a * Math.sin(line + i), 0) * 0.05),
      ),
    )
  },
}
const secret = (length: number) => randomFillSync(new Uint8Array(length))
const input = (more: Partial<ReleaseInput<number>> = {}): ReleaseInput<number> => ({
  method: { clipping: 'joint', noise: 'gaussian', sides: 'two' },
  stage,
  round: 3,
  state: initialState(spaceDimension(space)),
  units: Array.from({ length: 50 }, (_, unit) => [unit]),
  oracle: smooth,
  random: secret,
  ...more,
})
/** Where the round of `input` takes its losses. */
const around = (): Perturbation => {
  const { state, round } = input()
  return { center: state.current, round, directions: 6, radius: stage.radius, sides: 'two' }
}
/** Records what a CSPRNG gave, so that the same bytes can be given again. */
const recorded = () => {
  const given: Uint8Array[] = []
  const replayed: Uint8Array[] = []
  const record = (length: number) => {
    const bytes = secret(length)
    given.push(bytes.slice())
    replayed.push(bytes.slice())
    return bytes
  }
  const replay = () => replayed.shift()!
  return { record, replay, given }
}

describe('composeRelease', () => {
  it('is the noise plus the clipped vectors of a Poisson batch, computed here by hand from the same secret bytes', async () => {
    const bytes = recorded()
    const released = await composeRelease(input({ random: bytes.record }))
    const deviation = noiseDeviation({ ...stage, clipping: 'joint' })
    const expected = Array.from(roundedNormals({ count: 7, deviation }, bytes.replay))
    for (const unit of poissonSample(50, stage.samplingRate, bytes.replay)) {
      const losses = await smooth.losses([unit], around())
      const differences = Float64Array.from(
        { length: 6 },
        (_, k) => (losses[2 * k]! - losses[2 * k + 1]!) / (2 * stage.radius),
      )
      const loss = losses.reduce((sum, l) => sum + l, 0) / losses.length
      const { clip, grid, lossShare, lossBound } = stage
      clipJoint(differences, { clip, grid, lossShare, lossBound, loss }).forEach((v, k) => {
        expected[k]! += v
      })
    }
    expect(released).toEqual(expected)
  })

  it('tells the share of clipped units last, where the stage asks for it', async () => {
    const told: Stage = { ...stage, samplingRate: 1, noiseMultiplier: 1e-6, clipShare: 0.3 }
    const losses = await smooth.losses([...Array(50).keys()], around())
    const lengths = Array.from({ length: 50 }, (_, unit) => {
      const row = losses.subarray(12 * unit, 12 * (unit + 1))
      const differences = Array.from({ length: 6 }, (_, k) => (row[2 * k]! - row[2 * k + 1]!) / (2 * stage.radius))
      return Math.hypot(...differences) / 6
    })
    const middle = lengths.toSorted((a, b) => a - b)[20]!
    // What loss and share leave of the clip lies between the lengths of two units.
    const clip = (middle * (1 + 1e-6)) / Math.sqrt(1 - 0.2 ** 2 - 0.3 ** 2)
    const released = await composeRelease(input({ stage: { ...told, clip, grid: clip * 2 ** -20 } }))
    expect(released).toHaveLength(8)
    expect((released.at(-1)! / (0.3 * 2 ** 20)).toFixed(2)).toBe((50 - 21).toFixed(2))
  })

  it('draws all noise before it asks for a single loss', async () => {
    const order: string[] = []
    const random = (length: number) => {
      order.push('random')
      return secret(length)
    }
    const oracle: LossOracle<number> = {
      losses: (lines, at) => {
        order.push('losses')
        return smooth.losses(lines, at)
      },
    }
    await composeRelease(input({ random, oracle }))
    expect(order.indexOf('losses')).toBe(order.length - 1)
    expect(order.length).toBeGreaterThan(2)
  })

  it('differs between two releases of the same public inputs: no public seed makes the noise', async () => {
    const all = { ...stage, samplingRate: 1 }
    const [a, b] = [await composeRelease(input({ stage: all })), await composeRelease(input({ stage: all }))]
    expect(a.every((value, k) => value !== b[k])).toBe(true)
  })

  it('moves by at most the sensitivity when one unit is added, whatever its losses are', async () => {
    for (const hostile of [1e30, -1e30, Number.NaN, Number.POSITIVE_INFINITY, 1e-30, 3]) {
      const bytes = recorded()
      const odd: LossOracle<number> = {
        losses: async (lines, at) => {
          const losses = await smooth.losses(lines, at)
          return losses.map((loss, i) =>
            lines[Math.floor(i / groupCount(at))] === 50 ? hostile * (i % 2 ? 1 : -1) : loss,
          )
        },
      }
      const all = { ...stage, samplingRate: 1 }
      const without = await composeRelease(input({ stage: all, oracle: odd, random: bytes.record }))
      const units = Array.from({ length: 51 }, (_, unit) => [unit])
      // With q = 1 no sampling bytes are drawn, so that both worlds read the same noise.
      const with51 = await composeRelease(input({ stage: all, oracle: odd, units, random: bytes.replay }))
      const moved = with51.reduce((sum, value, k) => sum + (value - without[k]!) ** 2, 0)
      expect(moved).toBeLessThanOrEqual((stage.clip / stage.grid) ** 2)
      if (!Number.isFinite(hostile)) expect(moved).toBe(0)
    }
  })

  it('releases noise for an empty batch and for an empty dataset', async () => {
    const oracle: LossOracle<number> = { losses: () => Promise.reject(new Error('asked for losses of nothing')) }
    const released = await composeRelease(input({ units: [], oracle }))
    expect(released).toHaveLength(7)
    expect(released.some((value) => Math.abs(value) > 1000)).toBe(true)
  })

  it('means the lines of a user before it clips, so that a user counts once', async () => {
    const all = { ...stage, samplingRate: 1 }
    const bytes = recorded()
    const one = await composeRelease(input({ stage: all, units: [[4]], random: bytes.record }))
    const threeAlike = await composeRelease(input({ stage: all, units: [[4, 4, 4]], random: bytes.replay }))
    const worst = Math.max(...one.map((value, k) => Math.abs(value - threeAlike[k]!)))
    expect(worst).toBeLessThanOrEqual(1)
  })

  it('leaves the loss out where the stage has no share for it', async () => {
    expect(await composeRelease(input({ stage: { ...stage, lossShare: 0 } }))).toHaveLength(6)
  })
})

it('takes losses around the current state at the radius of the stage, both sides of each direction', async () => {
  const state = { ...initialState(40), current: new Float32Array(40).fill(0.5) }
  let asked: Perturbation | undefined
  const oracle: LossOracle<number> = {
    losses: (lines, at) => {
      asked = at
      return smooth.losses(lines, at)
    },
  }
  await composeRelease(input({ state, oracle, stage: { ...stage, samplingRate: 1 } }))
  expect(asked).toEqual({ center: state.current, round: 3, directions: 6, radius: 0.01, sides: 'two' })
})

describe('a statistic', () => {
  /** Of unit n: a vector of length 1 + n / 10, in a direction of its own. */
  const vectorOf = (unit: number): number[] => {
    const raw = Array.from({ length: 6 }, (_, i) => Math.sin(1 + unit * 7 + i * i))
    return raw.map((value) => Math.fround((value / Math.hypot(...raw)) * (1 + unit / 10)))
  }
  const oracle: DifferenceOracle<number> = {
    differences: async (lines) => Float32Array.from(lines.flatMap(vectorOf)),
  }
  const once: Stage = { ...stage, rounds: 1, lossShare: 0, clip: 3, samplingRate: 1 }

  it('is the mean of vectors, each clipped as one, where there is next to no noise', async () => {
    const quiet = { ...once, grid: 2 ** -20, noiseMultiplier: 1e-9 }
    const released = await composeRelease(input({ stage: quiet, oracle }))
    const clipped = Array.from({ length: 50 }, (_, unit) => {
      const vector = vectorOf(unit)
      return vector.map((value) => value * Math.min(1, 3 / Math.hypot(...vector)))
    })
    for (let i = 0; i < 6; i++) {
      const mean = clipped.reduce((sum, vector) => sum + vector[i]!, 0) / 50
      expect(Math.abs((released[i]! * quiet.grid) / 50 - mean)).toBeLessThan(quiet.grid)
    }
  })

  it('has the noise of the mechanism, drawn before the data are read', async () => {
    const bytes = recorded()
    const released = await composeRelease(input({ stage: once, oracle, random: bytes.record }))
    const noise = roundedNormals({ count: 6, deviation: noiseDeviation({ ...once, clipping: 'joint' }) }, bytes.replay)
    const expected = Array.from(noise)
    for (let unit = 0; unit < 50; unit++) {
      const times = Float64Array.from(vectorOf(unit), (value) => value * 6)
      clipJoint(times, { clip: 3, grid: once.grid }).forEach((value, i) => {
        expected[i]! += value
      })
    }
    expect(released).toEqual(expected)
  })

  it('lets no unit add more than the clip, whatever its activations are', async () => {
    const floats = fc.float({ noDefaultInfinity: false, noNaN: false })
    await fc.assert(
      fc.asyncProperty(fc.array(floats, { minLength: 6, maxLength: 6 }), async (row) => {
        const quiet = { ...once, grid: 2 ** -10, noiseMultiplier: 1e-9 }
        const hostile = { differences: async () => Float32Array.from(row) }
        const released = await composeRelease(input({ stage: quiet, oracle: hostile, units: [[0]] }))
        expect(released.reduce((sum, value) => sum + value * value, 0)).toBeLessThanOrEqual((3 * 2 ** 10) ** 2)
        if (!row.every(Number.isFinite)) expect(released.every((value) => value === 0)).toBe(true)
      }),
      { seed: 5, numRuns: 300 },
    )
  })

  it('means the lines of a user before they are clipped', async () => {
    const quiet = { ...once, grid: 2 ** -20, noiseMultiplier: 1e-9, clip: 1 }
    const released = await composeRelease(input({ stage: quiet, oracle, units: [[0, 1, 2]] }))
    const mean = Array.from({ length: 6 }, (_, i) => [0, 1, 2].reduce((sum, n) => sum + vectorOf(n)[i]! / 3, 0))
    const scale = Math.min(1, 1 / Math.hypot(...mean))
    for (const [i, value] of mean.entries())
      expect(Math.abs(released[i]! * quiet.grid - value * scale)).toBeLessThan(2 * quiet.grid)
  })
})
