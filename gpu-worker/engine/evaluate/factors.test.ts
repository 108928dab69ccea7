import { describe, expect, it } from 'vitest'
import type { LoraSpace } from '../../../shared/zo/index.ts'
import { groupParts, layOut } from './factors.ts'

const space: LoraSpace = {
  kind: 'lora',
  rank: 2,
  sites: [
    { name: 'a', inputs: 3, outputs: 5, scale: 1 },
    { name: 'b', inputs: 2, outputs: 7, scale: 1 },
  ],
}
/** Entry i of group g is 100 g + i. */
const groups = [0, 1, 2].map((g) => Float32Array.from({ length: 10 }, (_, i) => 100 * g + i))

describe('the layout of factors', () => {
  it('puts the groups beside each other where they share their input', () => {
    const [made] = layOut([{ name: 'f', site: 0, layout: 'wide' }], space, groups)
    expect(made?.dims).toEqual([3, 6])
    expect([...made!.values]).toEqual([0, 1, 100, 101, 200, 201, 2, 3, 102, 103, 202, 203, 4, 5, 104, 105, 204, 205])
  })

  it('puts the groups behind each other where each has its own', () => {
    const [made] = layOut([{ name: 'f', site: 1, layout: 'stacked' }], space, groups)
    expect(made?.dims).toEqual([3, 2, 2])
    expect([...made!.values]).toEqual([6, 7, 8, 9, 106, 107, 108, 109, 206, 207, 208, 209])
  })
})

describe('parts of the groups', () => {
  const many = (count: number): Float32Array[] => Array.from({ length: count }, () => new Float32Array(1))
  const sizes = (count: number, elements: number): number[] =>
    groupParts(many(count), elements).map(({ length }) => length)

  it('are one where it is small', () => {
    expect(sizes(1, 100)).toEqual([1])
    expect(sizes(64, 100)).toEqual([64])
  })

  it('are of nearly equal size, and hold every group once in order', () => {
    expect(sizes(65, 100)).toEqual([33, 32])
    const all = many(200)
    expect(groupParts(all, 100).flat()).toEqual(all)
  })

  it('stay within memory for large activations, down to one group', () => {
    expect(Math.max(...sizes(64, 2 ** 20))).toBe(8)
    expect(sizes(3, 2 ** 30)).toEqual([1, 1, 1])
  })
})
