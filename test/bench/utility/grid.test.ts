import { describe, expect, it } from 'vitest'
import { wantedOf } from './grid.ts'
import { keyOf } from './results.ts'

describe('the cells asked for', () => {
  it.each([
    ['tasks', { tasks: 'sst2,nothing' }],
    ['methods', { methods: 'sotto,sgd' }],
    ['methods', { methods: 'zero-shot', tune: true }],
    ['epsilons', { epsilons: '2,x' }],
    ['epsilons', { epsilons: '0' }],
    ['seeds', { seeds: '0' }],
    ['seeds', { seeds: '1.5' }],
  ])('refuses odd --%s: %o', (option, asked) => {
    expect(() => wantedOf({ seeds: '3', ...asked })).toThrow(`--${option}`)
    expect(() => wantedOf({ seeds: '3', ...asked })).toThrow(RangeError)
  })

  it('are one for each task, method, epsilon and seed; without epsilon for what spends none', () => {
    const cells = (methods: string) => wantedOf({ tasks: 'sst2,subj', methods, epsilons: '2,6', seeds: '3' }).cells
    expect(cells('sotto')).toHaveLength(2 * 2 * 3)
    expect(cells('no-noise-lora')).toHaveLength(2 * 3)
    expect(cells('zero-shot')).toHaveLength(2)
    const all = cells('zero-shot,no-noise-full,dpzero,dp-zopo,dp-zopo-random,sotto,dp-sgd')
    expect(new Set(all.map(keyOf)).size).toBe(all.length)
  })

  it('look at test rows, and at dev rows alone while settings are chosen', () => {
    const splits = (tune: boolean) => new Set(wantedOf({ seeds: '1', tune }).cells.map(({ split }) => split))
    expect(splits(false)).toEqual(new Set(['test']))
    expect(splits(true)).toEqual(new Set(['dev']))
  })
})
