import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { BLOCK_BYTES, type RandomBytes, SecretWords, withSecretWords } from './randomness.ts'

const rngFailure = expect.objectContaining({ code: 'rng_failure' })
const words = (random: RandomBytes, count: number) =>
  withSecretWords(random, (source) => Array.from({ length: count }, () => source.word()))
const WORDS_PER_BLOCK = BLOCK_BYTES / 4 - 4

describe('SecretWords', () => {
  test('reads words little-endian after the 16 tag bytes of each block', () => {
    let calls = 0
    const random = (length: number) => Uint8Array.from({ length }, (_, i) => (i + 100 * calls++) % 251)
    let byte = 0
    const counting = (length: number) => Uint8Array.from({ length }, () => byte++ % 256)
    expect(words(counting, 1)).toEqual([0x23222120])
    expect(new Set(words(random, 3)).size).toBe(3)
  })

  test('wipes each block when it is used up, and the rest when closed', () => {
    const given: Uint8Array[] = []
    const random = (length: number) => {
      const block = new Uint8Array(randomBytes(length))
      given.push(block)
      return block
    }
    const wiped = (block: Uint8Array) => block.every((value) => value === 0)
    const source = new SecretWords(random)
    for (let i = 0; i <= WORDS_PER_BLOCK; i++) source.word()
    expect(given.map(wiped)).toEqual([false, true, false])
    source.close()
    expect(given.slice(1).every(wiped)).toBe(true)
  })

  test('wipes when the use throws', () => {
    let block = new Uint8Array(0)
    const random = (length: number) => {
      block = new Uint8Array(randomBytes(length))
      return block
    }
    const use = (source: SecretWords) => {
      source.word()
      throw new Error('stop')
    }
    expect(() => withSecretWords(random, use)).toThrow('stop')
    expect(block.length).toBe(BLOCK_BYTES)
    expect(block.every((value) => value === 0)).toBe(true)
  })

  test('a closed source starts a fresh block', () => {
    const source = new SecretWords(randomBytes)
    source.word()
    source.close()
    expect(Array.from({ length: 8 }, () => source.word()).some((word) => word !== 0)).toBe(true)
  })
})

describe('health check', () => {
  test.each<[string, RandomBytes]>([
    ['a short read', (length) => new Uint8Array(length - 1).fill(7)],
    ['a long read', (length) => new Uint8Array(length + 1).fill(7)],
    ['all zeros', (length) => new Uint8Array(length)],
    ['a constant', (length) => new Uint8Array(length).fill(0xa5)],
    ['the same bytes every time', (length) => Uint8Array.from({ length }, (_, i) => (i * 37 + 11) % 256)],
    // A host without types may return anything.
    ['no bytes at all', () => undefined as unknown as Uint8Array],
  ])('%s is refused before the first word', (_, random) => {
    expect(() => words(random, 1)).toThrow(rngFailure)
  })

  test.each([
    ['as Uint8Array', (bytes: Uint8Array) => Uint8Array.from(bytes)],
    ['as Buffer, whose slices are views', (bytes: Uint8Array) => Buffer.from(bytes)],
  ])('a generator that gets stuck later is refused at the repeated block (%s)', (_, wrap) => {
    const stuckAt = randomBytes(BLOCK_BYTES)
    let calls = 0
    const random = (length: number) => (calls++ < 2 ? randomBytes(length) : wrap(stuckAt.subarray(0, length)))
    expect(words(random, 2 * WORDS_PER_BLOCK)).toHaveLength(2 * WORDS_PER_BLOCK)
    calls = 0
    expect(() => words(random, 2 * WORDS_PER_BLOCK + 1)).toThrow(rngFailure)
  })

  test('a later short read or block of zeros is refused too', () => {
    for (const bad of [(length: number) => new Uint8Array(length), () => randomBytes(3)]) {
      let calls = 0
      expect(() => words((length) => (calls++ < 2 ? randomBytes(length) : bad(length)), 300)).toThrow(rngFailure)
    }
  })

  test('an error of the generator is the cause of ours', () => {
    const cause = new Error('no entropy')
    const random = () => {
      throw cause
    }
    expect(() => words(random, 1)).toThrow(expect.objectContaining({ code: 'rng_failure', cause }))
  })

  test('a generator that refills one and the same buffer is fine', () => {
    const probe = new Uint8Array(BLOCK_BYTES)
    const random = (length: number) => {
      probe.set(randomBytes(BLOCK_BYTES))
      return probe.subarray(0, length)
    }
    expect(new Set(words(random, 600)).size).toBeGreaterThan(590)
  })
})
