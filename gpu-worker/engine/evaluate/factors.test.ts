import { describe, expect, it } from 'vitest'
import type { LoraSpace } from '../../../shared/zo/index.ts'
import { layOut } from './factors.ts'

const space: LoraSpace = {
  kind: 'lora',
  rank: 2,
  trained: 'factor',
  sites: [
    { name: 'a', inputs: 3, outputs: 5, scale: 1 },
    { name: 'b', inputs: 2, outputs: 7, scale: 1 },
  ],
}
/** Entry i of group g is 100 g + i. */
const groups = [0, 1, 2].map((g) => Float32Array.from({ length: 10 }, (_, i) => 100 * g + i))

describe('the layout of factors', () => {
  it('puts the groups beside each other where they share their input', () => {
    const [made] = layOut([{ name: 'f', site: 0, layout: 'wide' }], space, groups, undefined)
    expect(made?.dims).toEqual([3, 6])
    expect([...made!.values]).toEqual([0, 1, 100, 101, 200, 201, 2, 3, 102, 103, 202, 203, 4, 5, 104, 105, 204, 205])
  })

  it('puts the groups behind each other where each has its own', () => {
    const [made] = layOut([{ name: 'f', site: 1, layout: 'stacked' }], space, groups, undefined)
    expect(made?.dims).toEqual([3, 2, 2])
    expect([...made!.values]).toEqual([6, 7, 8, 9, 106, 107, 108, 109, 206, 207, 208, 209])
  })

  it('gives a call of one group that group', () => {
    const [made] = layOut([{ name: 'f', site: 1, layout: 'plain' }], space, groups.slice(1, 2), undefined)
    expect(made?.dims).toEqual([2, 2])
    expect([...made!.values]).toEqual([106, 107, 108, 109])
  })

  it('makes the factor of a core: basis times core', () => {
    const core: LoraSpace = { ...space, trained: 'core' }
    const cores = [Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8)]
    const bases = [Float32Array.of(1, 0, 0, 1, 1, 1), Float32Array.of(2, 0, 0, 0.5)]
    const [a, b] = [0, 1].map((site) => layOut([{ name: 'f', site, layout: 'plain' }], core, cores, bases)[0]!)
    expect([...a!.values]).toEqual([1, 2, 3, 4, 4, 6])
    expect([...b!.values]).toEqual([10, 12, 3.5, 4])
  })
})
