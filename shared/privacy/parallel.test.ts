import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type EventCount, gaussianEvent } from './event.ts'
import { spend } from './meter.ts'
import { odometer } from './odometer.ts'
import { parallelComposition, spendOfUser } from './parallel.ts'

const stage = (noiseMultiplier: number, samplingRate: number, count: number): EventCount => ({
  event: gaussianEvent({ noiseMultiplier, samplingRate }),
  count,
})
const histories = fc.array(
  fc.array(
    fc
      .record({ noise: fc.constantFrom(1, 1.5, 3), rate: fc.constantFrom(0, 0.06, 1), count: fc.nat(50) })
      .map(({ noise, rate, count }) => stage(noise, rate, count)),
    { maxLength: 3 },
  ),
  { minLength: 1, maxLength: 4 },
)
const code = (name: string) => expect.objectContaining({ code: name })
const cheap = [stage(3, 0.01, 50)]
const dear = [stage(1, 0.06, 300)]

test('a unit in one data set spends what the dearest data set does', () => {
  const { epsilon, dataset } = parallelComposition([cheap, dear, cheap], 1e-5)
  expect(dataset).toBe(1)
  expect(epsilon).toBe(spend(dear, 1e-5).epsilon)
  expect(parallelComposition([cheap, dear], 1e-5, odometer).epsilon).toBe(odometer(dear, 1e-5).epsilon)
})

test('property: as many equal data sets as one likes cost no more than one', () => {
  fc.assert(
    fc.property(histories, ([history = []]) => {
      const { epsilon } = parallelComposition([history], 1e-5)
      expect(parallelComposition([history, history, history], 1e-5)).toEqual({ epsilon, dataset: 0 })
    }),
  )
})

test('property: a user everywhere spends at least what a unit in one place does, and the order is nothing', () => {
  fc.assert(
    fc.property(histories, (list) => {
      const everywhere = spendOfUser(list, 1e-5).epsilon
      expect(everywhere).toBeGreaterThanOrEqual(parallelComposition(list, 1e-5).epsilon)
      expect(everywhere).toBe(spendOfUser(list.toReversed(), 1e-5).epsilon)
    }),
  )
})

test('a user in two equal data sets spends as twice the releases of one', () => {
  const twice = dear.map(({ event, count }) => ({ event, count: 2 * count }))
  expect(spendOfUser([dear, dear], 1e-5).epsilon).toBe(spend(twice, 1e-5).epsilon)
})

describe.each([
  ['parallelComposition', parallelComposition],
  ['spendOfUser', spendOfUser],
])('%s', (_, ask) => {
  test('refuses no data set at all, and data sets of several relations', () => {
    expect(() => ask([], 1e-5)).toThrow(code('invalid_composition'))
    const other = { event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 1, neighbours: 'replace-one' }), count: 1 }
    expect(() => ask([cheap, [other]], 1e-5)).toThrow(code('mixed_neighbours'))
    expect(() => ask([cheap], 0)).toThrow(code('invalid_delta'))
  })
})
