import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fixedStream } from '../../test/privacy/fixed-stream.ts'
import { type Clipping, clipJoint, clipPerDirection, laplaceScale, noiseDeviation, sensitivity } from './clip.ts'
import type { Mechanism } from './event.ts'
import { roundedLaplaces } from './laplace.ts'
import { clipUnit, drawNoise, noiseScale, normOf } from './mechanism.ts'
import { roundedNormals } from './normal.ts'
import type { RandomBytes } from './randomness.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const MECHANISMS = ['gaussian', 'laplace'] as const
const CLIPPINGS = ['joint', 'per-direction'] as const
const SETTINGS = MECHANISMS.flatMap((mechanism) => CLIPPINGS.map((clipping) => ({ mechanism, clipping })))
const grid = { clip: 1, grid: 2 ** -10 }

test('Gaussian noise goes by the L2 norm, Laplace noise by the L1 norm', () => {
  expect(MECHANISMS.map(normOf)).toEqual(['l2', 'l1'])
  for (const unknown of ['cauchy', 'toString', '']) {
    expect(() => normOf(unknown as Mechanism)).toThrow(code('invalid_noise'))
  }
})

describe.each(SETTINGS)('$mechanism, $clipping', ({ mechanism, clipping }) => {
  test('clips in its norm, and in no other that comes along', () => {
    const differences = Float64Array.of(9, -3, 0.5, 1e300)
    const clip = clipping === 'joint' ? clipJoint : clipPerDirection
    const norm = normOf(mechanism)
    const loss = { lossShare: 0.3, lossBound: 4, loss: 2 }
    expect(clipUnit(differences, { ...grid, mechanism, clipping })).toEqual(clip(differences, { ...grid, norm }))
    const given = { ...grid, ...loss, mechanism, clipping }
    expect(clipUnit(differences, given)).toEqual(clip(differences, { ...grid, ...loss, norm }))
    const steered = { ...given, norm: norm === 'l1' ? 'l2' : 'l1' } as unknown as typeof given
    expect(clipUnit(differences, steered)).toEqual(clipUnit(differences, given))
  })

  test('property: a unit moves the sum by at most noise over noise multiplier, in the norm of the noise', () => {
    const entries = fc.array(fc.double(), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(entries, fc.double({ min: 0.01, max: 0.99, noNaN: true }), fc.double(), (list, lossShare, loss) => {
        const differences = Float64Array.from(list)
        const options = { ...grid, lossShare, lossBound: 3, loss, mechanism, clipping }
        const vector = [...clipUnit(differences, options)]
        const length = mechanism === 'laplace' ? vector.reduce((sum, v) => sum + Math.abs(v), 0) : Math.hypot(...vector)
        const noise = noiseScale({ ...grid, mechanism, clipping, directions: list.length, noiseMultiplier: 2 })
        expect(length * 2).toBeLessThanOrEqual(noise * (1 + 1e-15))
      }),
    )
  })

  test('noise is of its sensitivity and its distribution', () => {
    const question = { ...grid, mechanism, clipping, directions: 16, noiseMultiplier: 1.5 }
    const laplace = mechanism === 'laplace'
    const size = noiseScale(question)
    expect(size).toBe(laplace ? laplaceScale(question) : noiseDeviation(question))
    const norm = normOf(mechanism)
    expect(size).toBeCloseTo(1.5 * 1024 * sensitivity({ clipping, clip: 1, directions: 16, norm }), 9)
    expect(drawNoise({ ...question, count: 17 }, fixedStream(5))).toEqual(
      laplace
        ? roundedLaplaces({ count: 17, scale: size }, fixedStream(5))
        : roundedNormals({ count: 17, deviation: size }, fixedStream(5)),
    )
  })
})

test('refuses what is unknown, before anything is drawn or clipped', () => {
  const question = { ...grid, directions: 4, noiseMultiplier: 1, count: 4 }
  const unused: RandomBytes = () => {
    throw new Error('drawn')
  }
  const cauchy = 'cauchy' as Mechanism
  const round = 'round' as Clipping
  expect(() => drawNoise({ ...question, mechanism: cauchy, clipping: 'joint' }, unused)).toThrow(code('invalid_noise'))
  expect(() => drawNoise({ ...question, mechanism: 'laplace', clipping: round }, unused)).toThrow(
    code('invalid_clipping'),
  )
  expect(() => clipUnit(Float64Array.of(1), { ...grid, mechanism: cauchy, clipping: 'joint' })).toThrow(
    code('invalid_noise'),
  )
  expect(() => clipUnit(Float64Array.of(1), { ...grid, mechanism: 'laplace', clipping: round })).toThrow(
    code('invalid_clipping'),
  )
  const noCount = { ...question, mechanism: 'laplace', clipping: 'joint', count: -1 } as const
  expect(() => drawNoise(noCount, randomBytes)).toThrow(code('invalid_count'))
})
