import fc from 'fast-check'
import { expect, it } from 'vitest'
import { partsOf, requestsOf } from './pool.ts'
import type { EncodedRecord } from './setup.ts'

it('property: requests hold every record once, those of one length together', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(16, 32, 64), { maxLength: 60 }),
      fc.integer({ min: 1, max: 20 }),
      (all, size) => {
        const requests = requestsOf(
          all.map((bucket) => ({ bucket }) as EncodedRecord),
          size,
        )
        const order = requests.flat()
        expect(order.toSorted((a, b) => a - b)).toEqual(all.map((_, index) => index))
        expect(order.map((index) => all[index])).toEqual(all.toSorted((a, b) => a - b))
        expect(requests.every(({ length }) => length <= size)).toBe(true)
      },
    ),
  )
})

it('property: parts of the groups hold every group once, in order, both sides of a direction together', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 9 }), (groups, threads) => {
      const parts = partsOf(groups, threads)
      expect(parts.length).toBeLessThanOrEqual(threads)
      expect(parts.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i))).toEqual(
        Array.from({ length: groups }, (_, i) => i),
      )
      expect(parts.every(({ from }) => from % 2 === 0)).toBe(true)
    }),
  )
})
