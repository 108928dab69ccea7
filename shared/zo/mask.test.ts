import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import vectors from '../../test/vectors/direction.json' with { type: 'json' }
import { bitsetOf, keptFactors, keptIndices, MaskError, maskHash, maskOf, withFactors } from './mask.ts'
import { elementsOf, type PrunedSpace } from './space.ts'

const published = vectors.spaces.find(({ name }) => name === 'pruned')!.space as PrunedSpace
/** What the published mask keeps: entry i of a tensor where (7 i + 3) mod 5 < 2. */
const kept = published.tensors.map((tensor) =>
  Array.from({ length: elementsOf(tensor) }, (_, i) => i).filter((i) => (7 * i + 3) % 5 < 2),
)
const mask = maskOf(kept, published.tensors)
const codeOf = (action: () => unknown): string => {
  try {
    action()
  } catch (error) {
    if (error instanceof MaskError && error instanceof RangeError) return error.code
    throw error
  }
  return 'no error'
}

describe('a mask', () => {
  it('meets the published hash', () => {
    expect(maskHash(mask)).toBe(published.mask)
    expect(keptIndices(mask, published).map((indices) => [...indices])).toEqual(kept)
  })

  it('has bit i % 8 of byte i / 8 for entry i, tensor after tensor', () => {
    const tensors = [
      { name: 'a', shape: [3] },
      { name: 'b', shape: [2, 4] },
    ]
    expect([
      ...maskOf(
        [
          [0, 2],
          [0, 7],
        ],
        tensors,
      ),
    ]).toEqual([0b00001101, 0b00000100])
  })

  it('gives back what it was made of', () => {
    const tensor = fc.nat({ max: 40 }).chain((size) => fc.array(fc.boolean(), { minLength: size, maxLength: size }))
    fc.assert(
      fc.property(fc.array(tensor, { minLength: 1, maxLength: 5 }), (bits) => {
        const indices = bits.map((each) => each.flatMap((bit, i) => (bit ? [i] : [])))
        const tensors = bits.map((each, n) => ({ name: `${n}`, shape: [each.length], kept: indices[n]!.length }))
        const made = maskOf(indices, tensors)
        const space: PrunedSpace = { kind: 'pruned', tensors, mask: maskHash(made) }
        expect(keptIndices(made, space).map((each) => [...each])).toEqual(indices)
      }),
    )
  })

  it('is refused where it does not fit its space', () => {
    const [first, ...rest] = published.tensors
    const counting = (by: number): PrunedSpace => ({
      ...published,
      tensors: [{ ...first!, kept: first!.kept + by }, ...rest],
    })
    const trailing = mask.with(mask.length - 1, mask.at(-1)! | 0x80)
    const flipped = mask.with(0, mask[0]! ^ 1)
    expect(codeOf(() => keptIndices(mask.slice(1), published))).toBe('wrong_length')
    expect(codeOf(() => keptIndices(trailing, { ...published, mask: maskHash(trailing) }))).toBe('trailing_bits')
    expect(codeOf(() => keptIndices(flipped, published))).toBe('wrong_hash')
    for (const by of [-1, 1, 10_000, -10_000]) expect(codeOf(() => keptIndices(mask, counting(by)))).toBe('wrong_count')
    for (const index of [-1, 61 * 67, 0.5, Number.NaN])
      expect(codeOf(() => maskOf([[index]], published.tensors))).toBe('index_out_of_range')
  })

  it('of a weighted space has a byte for the factor of each entry behind the bitset', () => {
    const factors = Float32Array.from({ length: kept.flat().length }, (_, i) => (51 + (i % 27)) / 64)
    const weighted = withFactors(mask, factors)
    const space = { ...published, mask: maskHash(weighted), weighted: true }
    expect(keptIndices(weighted, space).map((indices) => [...indices])).toEqual(kept)
    expect(keptFactors(weighted, space)!.flatMap((each) => [...each])).toEqual([...factors])
    expect(keptFactors(mask, published)).toBeUndefined()
    expect(bitsetOf(weighted, space)).toEqual(mask)
    expect(codeOf(() => keptIndices(weighted.slice(1), space))).toBe('wrong_length')
    expect(codeOf(() => keptIndices(mask, { ...published, weighted: true }))).toBe('wrong_length')
    expect(codeOf(() => keptIndices(weighted, { ...space, weighted: false }))).toBe('wrong_length')
    for (const step of [50, 78]) {
      const odd = weighted.with(mask.length, step)
      expect(codeOf(() => keptFactors(odd, { ...space, mask: maskHash(odd) }))).toBe('wrong_factor')
      expect(codeOf(() => withFactors(mask, Float32Array.of(step / 64)))).toBe('wrong_factor')
    }
    expect(codeOf(() => withFactors(mask, Float32Array.of(1.001)))).toBe('wrong_factor')
  })
})
