import { describe, expect, it } from 'vitest'
import { smallRequest } from '../../test/rehearsal/request.ts'
import { runRequestSchema } from './index.ts'

const small = smallRequest({ model: 'a'.repeat(64), datasets: ['north'] })
const parse = (space: object) => runRequestSchema.safeParse({ ...small, space })
const takes = (space: object) => parse(space).success
const site = { name: 'one', inputs: 8, outputs: 6, scale: 1 }
const lora = { kind: 'lora', rank: 2, sites: [site] }
const full = { kind: 'full', directions: { kind: 'dense' }, tensors: [{ name: 'w', shape: [8, 6] }] }

describe('the space of a request', () => {
  it('trains the factor where nothing else is said, and says so', () => {
    expect(parse(lora).data?.space).toEqual({
      ...lora,
      trained: 'factor',
      distribution: 'rademacher',
      bases: 'singular',
    })
    expect(takes({ ...lora, trained: 'core' })).toBe(true)
    expect(takes({ ...lora, trained: 'both' })).toBe(false)
  })

  it('has no core that is larger than its weight', () => {
    expect(takes({ ...lora, trained: 'core', rank: 6 })).toBe(true)
    expect(takes({ ...lora, trained: 'core', rank: 7 })).toBe(false)
    expect(takes({ ...lora, trained: 'factor', rank: 7 })).toBe(true)
  })

  it('may be whole tensors, with dense directions or such of rank 1 to 64', () => {
    expect(parse(full).data?.space).toEqual({ ...full, distribution: 'rademacher' })
    for (const [rank, expected] of [[1, true] as const, [64, true] as const, [65, false] as const, [0, false] as const])
      expect(takes({ ...full, directions: { kind: 'low-rank', rank } })).toBe(expected)
    expect(takes({ ...full, directions: { kind: 'dense', rank: 2 } })).toBe(false)
    expect(takes({ ...full, directions: undefined })).toBe(false)
  })

  it('names each site or tensor once, and has at least one', () => {
    const [tensor] = full.tensors
    expect(takes({ ...full, tensors: [tensor, tensor] })).toBe(false)
    expect(takes({ ...lora, sites: [site, site] })).toBe(false)
    expect(takes({ ...full, tensors: [] })).toBe(false)
  })

  it('has 2^27 coordinates and no more', () => {
    const shaped = (...shapes: number[][]) => shapes.map((shape, i) => ({ name: `${i}`, shape }))
    expect(takes({ ...full, tensors: shaped([2 ** 13, 2 ** 14]) })).toBe(true)
    expect(takes({ ...full, tensors: shaped([2 ** 13, 2 ** 14], []) })).toBe(false)
    expect(takes({ ...full, tensors: shaped(Array(8).fill(2 ** 27)) })).toBe(false)
  })

  it('may be chosen entries of tensors, at least one and no more than there are', () => {
    const pruned = (...kept: number[]) => ({
      kind: 'pruned',
      mask: 'a'.repeat(64),
      tensors: kept.map((count, i) => ({ name: `w${i}`, shape: [8, 6], kept: count })),
    })
    expect(takes(pruned(3))).toBe(true)
    expect(takes(pruned(0, 48))).toBe(true)
    expect(takes(pruned(0))).toBe(false)
    expect(takes(pruned(49))).toBe(false)
    expect(takes({ ...pruned(3), mask: 'a' })).toBe(false)
  })

  it('draws signs, binomial numbers or points on the sphere; products of low rank are of signs', () => {
    for (const distribution of ['rademacher', 'binomial', 'sphere']) {
      expect(takes({ ...lora, distribution })).toBe(true)
      const lowRank = { ...full, directions: { kind: 'low-rank', rank: 2 }, distribution }
      expect(takes(lowRank)).toBe(distribution === 'rademacher')
    }
    expect(takes({ ...lora, distribution: 'normal' })).toBe(false)
  })
})
