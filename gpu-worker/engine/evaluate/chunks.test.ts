import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { blocks, byKey, CPU_CALL, mostMembers, ranges } from './chunks.ts'

describe('members of a call', () => {
  it('are as many as tokens and memory allow, and at least one', () => {
    expect(mostMembers({ tokens: 32, elements: 100 }, CPU_CALL)).toBe(32)
    expect(mostMembers({ tokens: 1, elements: 100 }, CPU_CALL)).toBe(CPU_CALL.members)
    expect(mostMembers({ tokens: 32, elements: 2 ** 22 }, CPU_CALL)).toBe(4)
    expect(mostMembers({ tokens: 4096, elements: 2 ** 30 }, CPU_CALL)).toBe(1)
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
