import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { transformError, transformOf } from './fft.ts'

const SIZES = [1, 2, 4, 8, 64, 256]

/** Sum with the rounding error of a few units in the last place, whatever the number of terms. */
const sumOf = (terms: number[]) => {
  let [total, lost] = [0, 0]
  for (const term of terms) {
    const next = term - lost
    const sum = total + next
    lost = sum - total - next
    total = sum
  }
  return total
}

const naive = (re: Float64Array, im: Float64Array, sign: 1 | -1) => {
  const size = re.length
  const entry = (k: number) => {
    const angles = Array.from(re, (_, j) => (sign * 2 * Math.PI * ((j * k) % size)) / size)
    return {
      re: sumOf(angles.flatMap((a, j) => [re[j]! * Math.cos(a), -im[j]! * Math.sin(a)])),
      im: sumOf(angles.flatMap((a, j) => [re[j]! * Math.sin(a), im[j]! * Math.cos(a)])),
    }
  }
  return Array.from(re, (_, k) => entry(k))
}

const magnitudes = (re: Float64Array, im: Float64Array) => re.reduce((sum, x, j) => sum + Math.hypot(x, im[j]!), 0)

/** A signal of one of the sizes, its entries spread over many magnitudes. */
const signal = fc.constantFrom(...SIZES).chain((size) => {
  const value = fc
    .tuple(fc.double({ min: -1, max: 1, noNaN: true }), fc.integer({ min: -60, max: 0 }))
    .map(([x, power]) => x * 2 ** power)
  const part = fc.array(value, { minLength: size, maxLength: size }).map((list) => Float64Array.from(list))
  return fc.record({ re: part, im: part })
})

describe('transforms', () => {
  test('property: both directions agree with the sums that define them, within the error bound', () => {
    fc.assert(
      fc.property(signal, fc.constantFrom<'forward' | 'backward'>('forward', 'backward'), (input, direction) => {
        const [re, im] = [input.re.slice(), input.im.slice()]
        transformOf(re.length)[direction](re, im)
        // The sums of the test have rounding errors too: of the angle, the wave and the sum.
        const allowed = (transformError(re.length) + 2e-15) * magnitudes(input.re, input.im)
        for (const [k, exact] of naive(input.re, input.im, direction === 'forward' ? -1 : 1).entries()) {
          expect(Math.hypot(re[k]! - exact.re, im[k]! - exact.im)).toBeLessThanOrEqual(allowed)
        }
      }),
      { numRuns: 60 },
    )
  })

  test.each([1, 2, 4, 1024, 2 ** 17])('backward of forward is %d times the signal, within the error bound', (size) => {
    const re = Float64Array.from({ length: size }, (_, j) => Math.sin(j * j) / (1 + (j % 977)))
    const im = Float64Array.from({ length: size }, (_, j) => Math.cos(3 * j * j) / (1 + (j % 1013)))
    const [before, beforeIm] = [re.slice(), im.slice()]
    const { forward, backward } = transformOf(size)
    forward(re, im)
    const total = magnitudes(before, beforeIm)
    const spectrum = magnitudes(re, im)
    backward(re, im)
    const allowed = transformError(size) * (size * total + spectrum)
    let worst = 0
    for (let j = 0; j < size; j++) {
      worst = Math.max(worst, Math.hypot(re[j]! - size * before[j]!, im[j]! - size * beforeIm[j]!))
    }
    expect(worst).toBeLessThanOrEqual(allowed)
  })

  test('a point mass has a flat spectrum, exactly; a shifted one turns', () => {
    const re = new Float64Array(8)
    const im = new Float64Array(8)
    re[0] = 1
    transformOf(8).forward(re, im)
    expect([...re]).toEqual(new Array(8).fill(1))
    expect([...im].every((x) => x === 0)).toBe(true)
    const [shifted, shiftedIm] = [new Float64Array(8), new Float64Array(8)]
    shifted[1] = 1
    transformOf(8).forward(shifted, shiftedIm)
    expect(shifted[2]).toBeCloseTo(0, 15)
    expect(shiftedIm[2]).toBeCloseTo(-1, 15)
  })

  test('the plans that are kept do not change an answer', () => {
    const once = () => {
      const re = Float64Array.from({ length: 32 }, (_, j) => 1 / (j + 1))
      transformOf(32).forward(re, new Float64Array(32))
      return [...re]
    }
    const first = once()
    for (const size of [2, 4, 8, 16, 64, 128, 256, 512]) transformOf(size)
    expect(once()).toEqual(first)
  })

  test('the error bound grows with the number of stages', () => {
    expect(transformError(1)).toBe(0)
    expect(transformError(2 ** 20)).toBe(20 * transformError(2))
  })
})
