import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Clipping, clipJoint, clipPerDirection, type Norm, sensitivity } from './clip.ts'
import { decodeClipped, decodeLoss } from './progress.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const clipOf = { joint: clipJoint, 'per-direction': clipPerDirection } as const

describe('decodeLoss', () => {
  const options = { clip: 0.5, grid: 0.5 / 2 ** 20, lossShare: 0.3, lossBound: 4 }

  test('gives the mean loss back, to a grid step per unit', () => {
    const losses = [0.3, 1.7, 3.9, 2.2]
    const sum = losses.reduce((all, loss) => all + clipJoint(Float64Array.of(0), { ...options, loss }).at(-1)!, 0)
    expect(decodeLoss(sum, { ...options, expectedUnits: 4 })).toBeCloseTo(2.025, 4)
  })

  test.each([
    ['joint', 'l1'],
    ['joint', 'l2'],
    ['per-direction', 'l1'],
    ['per-direction', 'l2'],
  ] as const)('%s, %s: unbiased up to a step for each unit, whatever the differences', (clipping, norm) => {
    const directions = 9
    const how = { ...options, clipping, norm, directions }
    const many = Array.from({ length: 500 }, (_, i) => (i * 0.618 * 4) % 4)
    const sum = many.reduce((all, loss, i) => {
      const differences = new Float64Array(directions).fill(i % 2 === 0 ? 1e9 : -0.01)
      return all + clipOf[clipping](differences, { ...options, norm, loss }).at(-1)!
    }, 0)
    const mean = many.reduce((all, loss) => all + loss, 0) / many.length
    const length = sensitivity({ clipping, norm, directions, clip: options.clip })
    const step = (options.grid * options.lossBound) / (options.lossShare * length)
    const estimate = decodeLoss(sum, { ...how, expectedUnits: many.length })
    // Toward zero, and one more step off where the whole vector had to be shortened.
    expect(estimate).toBeLessThanOrEqual(mean + 1e-9)
    expect(estimate).toBeGreaterThan(mean - 2 * step)
    expect(decodeLoss(sum, { ...how, expectedUnits: 2 * many.length })).toBeCloseTo(estimate / 2, 12)
  })

  test('jointly in the L2 norm unless told otherwise, and clamps need the number of directions', () => {
    const all = { ...options, expectedUnits: 4 }
    expect(decodeLoss(1000, { ...all, directions: 16 })).toBe(decodeLoss(1000, all))
    expect(decodeLoss(1000, { ...all, clipping: 'joint', norm: 'l1' })).toBe(decodeLoss(1000, all))
    expect(decodeLoss(1000, { ...all, clipping: 'per-direction', directions: 16 })).toBe(4 * decodeLoss(1000, all))
    const without = { ...all, clipping: 'per-direction' } as unknown as typeof all
    expect(() => decodeLoss(1000, without)).toThrow(code('invalid_vector'))
  })

  test('refuses bad sums and no units', () => {
    expect(() => decodeLoss(Number.NaN, { ...options, expectedUnits: 4 })).toThrow(code('invalid_vector'))
    expect(() => decodeLoss(1, { ...options, expectedUnits: 0 })).toThrow(code('invalid_vector'))
  })
})

describe('decodeClipped', () => {
  const options = { clip: 0.5, grid: 0.5 / 2 ** 20, clipShare: 0.1 }

  test.each([
    ['joint', 'l1'],
    ['joint', 'l2'],
    ['per-direction', 'l1'],
    ['per-direction', 'l2'],
  ] as const)('%s, %s: the share of units that were clipped, beside a loss or alone', (clipping, norm) => {
    const directions = 4
    for (const loss of [{}, { lossShare: 0.3, lossBound: 2, loss: 1 }]) {
      // Of a hundred units a quarter lies far beyond the clip in all directions, the others far within.
      const units = Array.from({ length: 100 }, (_, i) => new Float64Array(directions).fill(i % 4 === 0 ? 1e6 : 1e-3))
      const sum = units.reduce((all, d) => all + clipOf[clipping](d, { ...options, ...loss, norm }).at(-1)!, 0)
      const how = { ...options, clipping, norm, directions }
      expect(decodeClipped(sum, { ...how, expectedUnits: 100 })).toBeCloseTo(0.25, 4)
      expect(decodeClipped(sum, { ...how, expectedUnits: 200 })).toBeCloseTo(0.125, 4)
    }
  })

  test('per direction it is the share of entries', () => {
    const vector = clipPerDirection(Float64Array.of(9, -9, 0.1, 0), options)
    const how = { ...options, clipping: 'per-direction', directions: 4, expectedUnits: 1 } as const
    expect(decodeClipped(vector.at(-1)!, how)).toBeCloseTo(0.5, 4)
  })

  test('at the limit exactly a vector is not clipped', () => {
    const { clip, grid } = { clip: 1000, grid: 1 }
    const limit = clip * Math.sqrt(1 - 0.5 ** 2)
    const beyond = (d: number) => clipJoint(Float64Array.of(d), { clip, grid, clipShare: 0.5 }).at(-1)
    expect([beyond(0), beyond(limit), beyond(limit * (1 + 1e-12)), beyond(-1e308)]).toEqual([0, 0, 500, 500])
  })

  test('refuses bad sums, shares and no units', () => {
    expect(() => decodeClipped(Number.NaN, { ...options, expectedUnits: 4 })).toThrow(code('invalid_vector'))
    expect(() => decodeClipped(1, { ...options, expectedUnits: 0 })).toThrow(code('invalid_vector'))
    expect(() => decodeClipped(1, { ...options, clipShare: 1, expectedUnits: 4 })).toThrow(code('invalid_clipping'))
  })

  test('property: what is told of a unit is 0 or its whole share, jointly', () => {
    const vectors = fc.array(fc.double(), { minLength: 1, maxLength: 20 }).map((list) => Float64Array.from(list))
    const norms = fc.constantFrom<Norm>('l1', 'l2')
    fc.assert(
      fc.property(vectors, norms, (differences, norm) => {
        const last = clipOf['joint' satisfies Clipping](differences, { clip: 1, grid: 2 ** -10, norm, clipShare: 0.25 })
        // The whole vector may be shortened by a step where a rounding had lengthened it.
        expect([0, 255, 256]).toContain(last.at(-1))
      }),
    )
  })
})
