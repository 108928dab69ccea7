import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CALL_LIMITS } from '../device/index.ts'
import { blocks, byKey, mostMembers, ranges } from './chunks.ts'

describe('members of a call', () => {
  it('are as many as tokens and memory allow, and at least one', () => {
    expect(mostMembers({ tokens: 32, elements: 100 }, CALL_LIMITS.cpu)).toBe(32)
    expect(mostMembers({ tokens: 1, elements: 100 }, CALL_LIMITS.cpu)).toBe(CALL_LIMITS.cpu.members)
    expect(mostMembers({ tokens: 32, elements: 2 ** 22 }, CALL_LIMITS.cpu)).toBe(4)
    expect(mostMembers({ tokens: 4096, elements: 2 ** 30 }, CALL_LIMITS.cpu)).toBe(1)
  })
})

it('property: ranges cover everything once, in order, within the limit, and differ by less than their number', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 70 }), (count, most) => {
      const made = ranges(count, most)
      expect(made.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i))).toEqual(
        Array.from({ length: count }, (_, i) => i),
      )
      const sizes = made.map(({ from, to }) => to - from)
      expect(Math.max(...sizes)).toBeLessThanOrEqual(most)
      expect(made).toHaveLength(Math.ceil(count / most))
    }),
  )
})

it('keeps the place of what it groups', () => {
  const grouped = byKey(['a', 'bb', 'c', 'dd'], (word) => word.length)
  expect([...grouped]).toEqual([
    [
      1,
      [
        { item: 'a', index: 0 },
        { item: 'c', index: 2 },
      ],
    ],
    [
      2,
      [
        { item: 'bb', index: 1 },
        { item: 'dd', index: 3 },
      ],
    ],
  ])
  expect(blocks([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]])
})
