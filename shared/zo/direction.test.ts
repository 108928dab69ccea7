import { describe, expect, it } from 'vitest'
import vectors from '../../test/vectors/direction.json' with { type: 'json' }
import knownAnswers from '../../test/vectors/threefry4x32-20.json' with { type: 'json' }
import { direction, frozenFactor } from './direction.ts'
import type { FullSpace, LoraSpace } from './space.ts'
import { threefry4x32, type Words4 } from './threefry.ts'

const space = { ...vectors.space, trained: 'factor' } as LoraSpace
const pack = (signs: Int8Array) => Array.from(signs, (sign) => (sign > 0 ? '+' : '-')).join('')
const words = (hex: string[]) => hex.map((word) => Number.parseInt(word, 16)) as unknown as Words4

describe('threefry4x32', () => {
  it.each(knownAnswers.rows)('meets the known answer for key $key', ({ key, counter, out }) => {
    const block = new Uint32Array(4)
    threefry4x32(words(key), words(counter), block)
    expect(Array.from(block)).toEqual(words(out))
  })
})

describe('direction', () => {
  it.each(vectors.directions)('meets the published vector of round $round, k $k', ({ round, k, signs }) => {
    expect(pack(direction(vectors.seed, { round, k }, space))).toBe(signs)
  })

  it('changes with seed, round and k', () => {
    const at = (seed: string, round: number, k: number) => pack(direction(seed, { round, k }, space))
    const all = [at(vectors.seed, 0, 0), at(vectors.seed, 1, 0), at(vectors.seed, 0, 1), at('0123456789abcdee', 0, 0)]
    expect(new Set(all).size).toBe(all.length)
  })

  it('has balanced, uncorrelated signs', () => {
    const wide: FullSpace = { kind: 'full', directions: { kind: 'dense' }, tensors: [{ name: 'w', shape: [100_000] }] }
    const a = direction('00000000000000aa', { round: 7, k: 0 }, wide)
    const b = direction('00000000000000aa', { round: 7, k: 1 }, wide)
    const sum = a.reduce((total, sign) => total + sign, 0)
    const dot = a.reduce((total, sign, i) => total + sign * b[i]!, 0)
    expect(Math.abs(sum)).toBeLessThan(6 * Math.sqrt(100_000))
    expect(Math.abs(dot)).toBeLessThan(6 * Math.sqrt(100_000))
  })

  it.each(['', '0123', '0123456789ABCDEF', '0123456789abcdef0'])('refuses the seed "%s"', (seed) => {
    expect(() => direction(seed, { round: 0, k: 0 }, space)).toThrow(RangeError)
  })
})

describe('frozenFactor', () => {
  it.each(vectors.frozenFactors)('meets the published vector of stage $stage, site $site', ({ stage, site, signs }) => {
    expect(pack(frozenFactor(vectors.seed, { stage, site }, space))).toBe(signs)
  })

  it('shares no block with a direction of the same numbers', () => {
    const square: LoraSpace = {
      kind: 'lora',
      rank: 1,
      trained: 'factor',
      sites: [{ name: 's', inputs: 256, outputs: 256, scale: 1 }],
    }
    const z = direction(vectors.seed, { round: 0, k: 0 }, square)
    expect(pack(frozenFactor(vectors.seed, { stage: 0, site: 0 }, square))).not.toBe(pack(z))
  })
})
