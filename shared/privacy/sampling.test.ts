import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { BLOCK_BYTES, type RandomBytes } from './randomness.ts'
import { poissonSample, unitsOf } from './sampling.ts'

const code = (name: string) => expect.objectContaining({ code: name })

/** A generator whose words are exactly these (then random): 4 bytes each, after the probe and the tag. */
const scripted = (words: number[]): RandomBytes => {
  let first = true
  return (length) => {
    const bytes = new Uint8Array(randomBytes(length))
    if (length !== BLOCK_BYTES || !first) return bytes
    first = false
    const view = new DataView(bytes.buffer)
    words.forEach((word, i) => {
      view.setUint32(16 + 4 * i, word, true)
    })
    return bytes
  }
}

describe('poissonSample', () => {
  test('rates 0 and 1, and no units', () => {
    expect(poissonSample(1000, 0, randomBytes)).toEqual([])
    expect(poissonSample(4, 1, randomBytes)).toEqual([0, 1, 2, 3])
    expect(poissonSample(0, 0.5, randomBytes)).toEqual([])
  })

  test.each([0.5, 0.06, 0.001, 1 / 3, 0.999])('rate %d: each half of the units is included at the rate', (q) => {
    const units = 400_000
    const batch = poissonSample(units, q, randomBytes)
    const low = batch.filter((unit) => unit < units / 2).length
    const spread = 5.5 * Math.sqrt((units / 2) * q * (1 - q))
    expect(Math.abs(low - (units / 2) * q)).toBeLessThan(spread)
    expect(Math.abs(batch.length - low - (units / 2) * q)).toBeLessThan(spread)
    expect(batch.every((unit, i) => i === 0 || unit > batch[i - 1]!)).toBe(true)
  })

  test('units are independent: neighbours are together at the product of the rates', () => {
    const units = 400_000
    const q = 0.3
    const chosen = new Set(poissonSample(units, q, randomBytes))
    let together = 0
    for (let unit = 0; unit < units; unit += 2) if (chosen.has(unit) && chosen.has(unit + 1)) together++
    expect(Math.abs(together - (units / 2) * q * q)).toBeLessThan(5.5 * Math.sqrt((units / 2) * q * q * (1 - q * q)))
  })

  test('batch sizes vary as a binomial does: no fixed size, and empty batches occur', () => {
    const sizes = Array.from({ length: 4000 }, () => poissonSample(20, 0.1, randomBytes).length)
    const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length
    const variance = sizes.reduce((sum, size) => sum + (size - mean) ** 2, 0) / sizes.length
    expect(Math.abs(mean - 2)).toBeLessThan(0.12)
    expect(Math.abs(variance - 1.8)).toBeLessThan(0.25)
    expect(sizes).toContain(0)
  })

  test('exact to the last bit of the rate: the deviate is compared digit by digit', () => {
    // 0.1 is 0x19999999, 0x99999a00, 0, ... in base 2^32.
    const [high, low] = [0x19999999, 0x99999a00]
    expect(poissonSample(1, 0.1, scripted([high, low - 1]))).toEqual([0])
    expect(poissonSample(1, 0.1, scripted([high, low]))).toEqual([])
    expect(poissonSample(1, 0.1, scripted([high, low + 1]))).toEqual([])
    expect(poissonSample(1, 0.1, scripted([high - 1]))).toEqual([0])
    expect(poissonSample(1, 0.1, scripted([high + 1]))).toEqual([])
    expect(poissonSample(1, 2 ** -64, scripted([0, 0]))).toEqual([0])
    expect(poissonSample(1, 2 ** -64, scripted([0, 1]))).toEqual([])
    expect(poissonSample(2, 0.5, scripted([2 ** 31 - 1, 2 ** 31]))).toEqual([0])
  })

  test('tiny rates work', () => {
    expect(poissonSample(1000, Number.MIN_VALUE, randomBytes)).toEqual([])
  })

  test.each([
    [-1, 0.5],
    [1.5, 0.5],
    [10, -0.1],
    [10, 1.1],
    [10, Number.NaN],
  ])('refuses %d units at rate %d', (units, q) => {
    expect(() => poissonSample(units, q, randomBytes)).toThrow(code('invalid_sampling'))
  })

  test('passes on a broken generator', () => {
    expect(() => poissonSample(10, 0.5, (length) => new Uint8Array(length))).toThrow(code('rng_failure'))
  })
})

describe('unitsOf', () => {
  const lines = [{ user: 'b' }, { user: 'a' }, { user: 'b' }, { user: '__proto__' }]

  test('record: every line by itself', () => {
    expect(unitsOf(lines, 'record')).toEqual([[0], [1], [2], [3]])
    expect(unitsOf([{}], 'record')).toEqual([[0]])
    expect(unitsOf([], 'user')).toEqual([])
  })

  test('user: all lines of a user together, whatever the id', () => {
    expect(unitsOf(lines, 'user')).toEqual([[0, 2], [1], [3]])
  })

  test('user: a line without an id, or with an empty one, is refused', () => {
    expect(() => unitsOf([{ user: 'a' }, {}], 'user')).toThrow(code('missing_user'))
    expect(() => unitsOf([{ user: '' }], 'user')).toThrow(code('missing_user'))
  })
})
