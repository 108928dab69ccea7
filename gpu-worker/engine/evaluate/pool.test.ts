import fc from 'fast-check'
import { expect, it } from 'vitest'
import { requestsOf } from './pool.ts'
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
