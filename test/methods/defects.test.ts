import { randomFillSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { WeightMemory } from '../../gpu-worker/engine/evaluate/weight-memory.ts'
import { composeRelease } from '../../gpu-worker/release.ts'
import type { Method } from '../../shared/api/index.ts'
import { clipUnit, noiseScale, poissonSample, type RandomBytes, roundedNormals } from '../../shared/privacy/index.ts'
import {
  advance,
  coefficients,
  groupAt,
  initialState,
  maskHash,
  maskOf,
  type PrunedSpace,
  replayStart,
  type Stage,
  threefry4x32,
} from '../../shared/zo/index.ts'
import { coordinates, type QuadraticUnit, quadraticOracle } from './quadratic.ts'

/**
 * What the public codes of the field got wrong. Each property is held against our code and against a planted copy of the
 * defect, so that the check is known to fail where the defect is.
 */
const seed = '0123456789abcdef'
const D = 32
const space = coordinates(D)
const stage: Stage = {
  ...{ rounds: 8, learningRate: 0.1, radius: 2 ** -4, directions: 4, clip: 1, grid: 2 ** -16 },
  ...{ noiseMultiplier: 1, samplingRate: 0.25, prox: 0.5, lossShare: 0, lossBound: 1 },
}
const method: Method = { clipping: 'per-direction', noise: 'gaussian', sides: 'two' }
const secret: RandomBytes = (length) => randomFillSync(new Uint8Array(length))
const units: QuadraticUnit[] = Array.from({ length: 40 }, (_, n) => ({
  curvature: 1,
  center: Array.from({ length: D }, (_, i) => ((5 * n + i) % 7) / 4 - 0.75),
  offset: 0,
}))
const release = (more: { random?: RandomBytes; units?: readonly QuadraticUnit[] } = {}) =>
  composeRelease({
    ...{ method, stage, round: 0, state: initialState(D), random: more.random ?? secret },
    units: (more.units ?? units).map((unit) => [unit]),
    oracle: quadraticOracle({ seed, space }),
  })

/** Both runs of a property: ours passes, the planted copy does not. */
function holdsFor<T>(ours: T, planted: T, property: (subject: T) => boolean | Promise<boolean>): void {
  it('does not hold here', async () => expect(await property(ours)).toBe(true))
  it('is caught where it is planted', async () => expect(await property(planted)).toBe(false))
}

describe('DPZOPO 1: a masked perturbation that is written to a copy prunes nothing', () => {
  const tensors = [{ name: 'w', shape: [4, 6] }]
  const kept = [[1, 5, 8, 21]]
  const mask = maskOf(kept, tensors)
  const pruned: PrunedSpace = { kind: 'pruned', tensors: [{ ...tensors[0]!, kept: 4 }], mask: maskHash(mask) }
  const groups = { count: 2, center: new Float32Array(4), at: (g: number) => groupAt(g, 'two'), round: 0, radius: 0.5 }
  const perturbed = (): Float32Array => {
    const memory = new WeightMemory(pruned, { seed, mask })
    memory.setBase(0, new Float32Array(24))
    memory.setCenter(groups.center)
    return memory.weights(memory.perturb(groups, 0))[0]!
  }
  const intoCopy = (): Float32Array => {
    const weights = new Float32Array(24)
    // Advanced indexing of a tensor gives a copy: what is added to it reaches nothing.
    const selected = Float32Array.from(kept[0]!, (index) => weights[index]!)
    selected.forEach((value, i) => {
      selected[i] = value + 0.5
    })
    return weights
  }
  holdsFor(perturbed, intoCopy, (weights) => weights().every((w, i) => (w !== 0) === kept[0]!.includes(i)))
})

describe('DPZOPO 2: a prox centre that aliases the live weights pulls nowhere', () => {
  /** Where theta goes from 1 when nothing was released: towards the start of the stage, at 0. */
  const ours = (): number => {
    const spec = { seed, space, stages: [{ ...stage, directions: 1 }] }
    const moved = { ...replayStart(spec), state: { ...initialState(D), current: new Float32Array(D).fill(1) } }
    return advance(spec, moved, { round: 0, coefficients: [0] }).state.current[0]!
  }
  const aliased = (): number => {
    const theta = new Float32Array(D).fill(1)
    const center = theta
    return theta[0]! - stage.learningRate * stage.prox * (theta[0]! - center[0]!)
  }
  holdsFor(ours, aliased, (next) => next() < 1)
})

describe('DPZOPO 3: noise for one scalar does not hide a vector of P', () => {
  /** Noise of each coordinate and the longest vector that one unit can add, both in grid steps. */
  const worst = Float64Array.from({ length: stage.directions }, () => 1e300)
  const ours = () => ({
    noise: noiseScale({ ...stage, mechanism: 'gaussian', clipping: 'per-direction' }),
    longest: Math.hypot(
      ...clipUnit(worst, { clip: stage.clip, grid: stage.grid, mechanism: 'gaussian', clipping: 'per-direction' }),
    ),
  })
  const perScalar = () => ({
    noise: (stage.noiseMultiplier * stage.clip) / stage.directions / stage.grid,
    longest: ours().longest,
  })
  holdsFor(ours, perScalar, (released) => {
    const { noise, longest } = released()
    return noise >= stage.noiseMultiplier * longest
  })
})

describe('DPZOPO 4: shuffled batches of one size are no Poisson samples', () => {
  const N = 50
  const ours = (): number[] => poissonSample(N, 0.2, secret)
  let next = 0
  const shuffled = (): number[] => Array.from({ length: N * 0.2 }, () => next++ % N)
  /** Sizes vary as a binomial does, and no unit waits for its turn. */
  holdsFor(ours, shuffled, (sample) => {
    const batches = Array.from({ length: 400 }, sample)
    const sizes = batches.map(({ length }) => length)
    const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length
    const variance = sizes.reduce((sum, size) => sum + (size - mean) ** 2, 0) / sizes.length
    const again = batches.slice(1).filter((batch, at) => batch.includes(0) && batches[at]!.includes(0)).length
    return Math.abs(mean - 10) < 1.5 && variance > 4 && variance < 14 && again > 3
  })

  describe('and their realised size is no divisor', () => {
    const expected = (reports: Parameters<typeof coefficients>[0]) => coefficients(reports, stage)[0]!
    const realised = (reports: Parameters<typeof coefficients>[0], batch = 3) =>
      (stage.grid * reports[0]!.integers[0]!) / batch
    holdsFor(expected, realised, (of) => {
      const reports = [{ integers: [64, 0, 0, 0], units: 40 }]
      return of(reports) === (stage.grid * 64) / (stage.samplingRate * 40)
    })
  })
})

/** Noise as the defect draws it: a generator that was just seeded with the public seed of the directions. */
function seededBytes(): RandomBytes {
  let counter = 0
  return (length) => {
    const bytes = new Uint8Array(length)
    const words = new Uint32Array(4)
    for (let at = 0; at < length; at += 16) {
      threefry4x32([0x89abcdef, 0x01234567, 1, 0], [counter++, 0, 0, 0], words)
      bytes.set(new Uint8Array(words.buffer).subarray(0, Math.min(16, length - at)), at)
    }
    return bytes
  }
}

describe('DPZOPO 5: noise and directions from one seeded generator are the same noise every time', () => {
  const ours = () => release({ units: [] })
  const oneGenerator = () => release({ units: [], random: seededBytes() })
  holdsFor(ours, oneGenerator, async (draw) => {
    const [first, second] = [await draw(), await draw()]
    return first.some((value, k) => value !== second[k])
  })
})

describe('DPZero and DP-AggZO: noise that follows from the public direction seed can be taken off again', () => {
  /** Who knows the seed predicts the noise of an empty batch. */
  const predicted = roundedNormals(
    { count: stage.directions, deviation: noiseScale({ ...stage, mechanism: 'gaussian', clipping: 'per-direction' }) },
    seededBytes(),
  )
  const ours = () => release({ units: [] })
  const predictable = () => release({ units: [], random: seededBytes() })
  holdsFor(ours, predictable, async (draw) => (await draw()).some((value, k) => value !== predicted[k]))
})
