import fc from 'fast-check'
import { expect, test } from 'vitest'
import { exactDyadic, shiftLeft } from './dyadic.ts'

test('known answers', () => {
  expect(exactDyadic(1)).toEqual({ mantissa: 2n ** 52n, exponent: -52 })
  expect(exactDyadic(Number.MIN_VALUE)).toEqual({ mantissa: 1n, exponent: -1074 })
  expect(exactDyadic(Number.MAX_VALUE)).toEqual({ mantissa: 2n ** 53n - 1n, exponent: 971 })
  expect(exactDyadic(0)).toEqual({ mantissa: 0n, exponent: -1074 })
})

test('property: mantissa times 2^exponent is the double', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }), (value) => {
      const { mantissa, exponent } = exactDyadic(value)
      const first = Math.max(exponent, -1000)
      expect(Number(mantissa) * 2 ** first * 2 ** (exponent - first)).toBe(value)
    }),
  )
})

test('shiftLeft floors to the right', () => {
  expect([shiftLeft(5n, 2), shiftLeft(5n, 0), shiftLeft(5n, -1), shiftLeft(5n, -9)]).toEqual([20n, 5n, 2n, 0n])
})
