import { describe, expect, it } from 'vitest'
import { direction } from './direction.ts'
import {
  directionScale,
  type FullSpace,
  type LoraSpace,
  type PrunedSpace,
  segmentLengths,
  segmentOffsets,
  spaceDimension,
} from './space.ts'

const sites = [
  { name: 'a', inputs: 70, outputs: 3, scale: 1 },
  { name: 'b', inputs: 5, outputs: 129, scale: 0.5 },
]
const tensors = [
  { name: 'w', shape: [60, 80] },
  { name: 'b', shape: [3000] },
  { name: 'conv', shape: [4, 10, 50] },
  { name: 'one', shape: [] },
]
const full = (directions: FullSpace['directions']): FullSpace => ({ kind: 'full', directions, tensors })

describe('segments', () => {
  it.each<[string, LoraSpace | FullSpace | PrunedSpace, number[]]>([
    ['factors', { kind: 'lora', rank: 2, trained: 'factor', sites }, [140, 10]],
    ['cores', { kind: 'lora', rank: 2, trained: 'core', sites }, [4, 4]],
    ['tensors', full({ kind: 'dense' }), [4800, 3000, 2000, 1]],
    ['kept entries', { kind: 'pruned', mask: '', tensors: [{ name: 'w', shape: [9, 9], kept: 11 }] }, [11]],
  ])('are the %s, one after another', (_, space, lengths) => {
    expect(segmentLengths(space)).toEqual(lengths)
    expect(segmentOffsets(space)).toEqual(lengths.map((_, i) => lengths.slice(0, i).reduce((a, b) => a + b, 0)))
    expect(spaceDimension(space)).toBe(lengths.reduce((a, b) => a + b, 0))
  })
})

describe('directions of low rank', () => {
  const seed = '00000000000000aa'
  /** Mean square of each tensor's part of the scaled direction, over some directions. */
  const meanSquares = (space: FullSpace): number[] => {
    const lengths = segmentLengths(space)
    const all = Array.from({ length: 200 }, (_, k) => direction(seed, { round: 3, k }, space))
    return segmentOffsets(space).map((offset, segment) => {
      const parts = all.map((z) => z.subarray(offset, offset + lengths[segment]!))
      const squares = parts.reduce((sum, part) => sum + part.reduce((total, entry) => total + entry * entry, 0), 0)
      return (squares * directionScale(space) ** 2) / (all.length * lengths[segment]!)
    })
  }

  it.each([1, 4, 64])('of rank %i have entries of mean square 1 in matrices and vectors alike', (rank) => {
    const squares = meanSquares(full({ kind: 'low-rank', rank }))
    // The last tensor has a single entry: 200 draws, relative deviation sqrt(2 / 200).
    squares.forEach((square, segment) => {
      expect(Math.abs(square - 1)).toBeLessThan(segment === 3 ? 0.4 : 0.05)
    })
  })

  it('have the rank they say', () => {
    const z = direction(
      seed,
      { round: 0, k: 0 },
      {
        ...full({ kind: 'low-rank', rank: 2 }),
        tensors: [{ name: 'w', shape: [40, 30] }],
      },
    )
    // Of rank 2 with entries -2, 0, 2: at most 4 distinct rows, and each is +- a sum of the same two.
    const rows = new Set(Array.from({ length: 40 }, (_, i) => z.subarray(30 * i, 30 * (i + 1)).join()))
    expect(rows.size).toBeGreaterThan(1)
    expect(rows.size).toBeLessThanOrEqual(4)
  })

  it.each([0, 65, Number.NaN])('of rank %d are refused', (rank) => {
    expect(() => direction(seed, { round: 0, k: 0 }, full({ kind: 'low-rank', rank }))).toThrow(RangeError)
  })
})
