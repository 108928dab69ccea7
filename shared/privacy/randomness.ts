/**
 * Secret randomness: bytes of the operating system's generator, taken in blocks, checked, used once and wiped. The
 * host injects the generator; nothing here can be seeded.
 */
import { PrivacyError } from './error.ts'

/** The host's CSPRNG: `length` fresh bytes in a buffer that the caller may overwrite. */
export type RandomBytes = (length: number) => Uint8Array

/** Trials and runs of a sampler end here: a healthy generator gets there with probability below 2^-900. */
export const ATTEMPTS_MAX = 2000
/** Half of all words are below: a fair coin. */
export const HALF = 2 ** 31

/** Bytes asked for at a time. */
export const BLOCK_BYTES = 1024
/** First bytes of a block: compared with those of the block before, and never used for a draw. */
const TAG_BYTES = 16

const sameBytes = (a: Uint8Array, b: Uint8Array) => a.every((byte, i) => byte === b[i])

/**
 * 32-bit words of secret randomness. Every block must have the asked length, must not be all zeros and must not start
 * with the 16 bytes that the previous one started with (a healthy generator fails with probability 2^-128 a block);
 * those 16 bytes are kept for the next comparison and are never part of a word. Use it within one function and `close` it.
 */
export class SecretWords {
  readonly #random: RandomBytes
  #tag: Uint8Array
  #block: Uint8Array
  #at = BLOCK_BYTES

  /** @throws PrivacyError `rng_failure` */
  constructor(random: RandomBytes) {
    this.#random = random
    this.#tag = Uint8Array.from(this.#fetch(TAG_BYTES))
    this.#block = new Uint8Array(0)
  }

  /**
   * The next word, uniform on 0..2^32-1.
   * @throws PrivacyError `rng_failure`
   */
  word(): number {
    if (this.#at === BLOCK_BYTES) this.#refill()
    const block = this.#block
    const at = this.#at
    this.#at += 4
    return (block[at]! | (block[at + 1]! << 8) | (block[at + 2]! << 16) | (block[at + 3]! << 24)) >>> 0
  }

  /** Wipes what is left; the next `word` would start a fresh block. */
  close(): void {
    this.#block.fill(0)
    this.#at = BLOCK_BYTES
  }

  #refill() {
    this.#block.fill(0)
    const block = this.#fetch(BLOCK_BYTES)
    if (sameBytes(this.#tag, block)) {
      block.fill(0)
      throw new PrivacyError('rng_failure', 'the random generator repeats itself')
    }
    // A copy: the `slice` of a Node Buffer would be a view, and wiped with the block.
    this.#tag = Uint8Array.from(block.subarray(0, TAG_BYTES))
    this.#block = block
    this.#at = TAG_BYTES
  }

  #fetch(length: number) {
    const bytes = this.#read(length)
    if (!(bytes instanceof Uint8Array) || bytes.length !== length) {
      throw new PrivacyError('rng_failure', 'the random generator returned a short read')
    }
    if (bytes.every((byte) => byte === 0)) throw new PrivacyError('rng_failure', 'the random generator returned zeros')
    return bytes
  }

  #read(length: number) {
    try {
      return this.#random(length)
    } catch (cause) {
      throw new PrivacyError('rng_failure', 'the random generator failed', { cause })
    }
  }
}

/** What a sampler throws where a loop has reached its end. */
export const notRandom = () => new PrivacyError('rng_failure', 'the random generator is not random')

/**
 * Uniform on 0..m-1, m at most 2^32: the incomplete last multiple of m is drawn again.
 * @throws PrivacyError `rng_failure`
 */
export const drawBelow = (m: number, words: Pick<SecretWords, 'word'>): number => {
  const limit = 2 ** 32 - (2 ** 32 % m)
  for (let i = 0; i < ATTEMPTS_MAX; i++) {
    const word = words.word()
    if (word < limit) return word % m
  }
  throw notRandom()
}

/**
 * A drawn size with the sign of a fair coin, as a number; zero has no sign, and takes its word all the same.
 * @throws PrivacyError `noise_out_of_range` beyond the safe integers, `rng_failure`
 */
export const drawSign = (magnitude: bigint, words: Pick<SecretWords, 'word'>): number => {
  const size = Number(magnitude)
  if (!Number.isSafeInteger(size)) throw new PrivacyError('noise_out_of_range', 'noise beyond the safe integers')
  return words.word() < HALF || size === 0 ? size : -size
}

/** Runs `use` on fresh secret words and wipes them, also when it throws. */
export const withSecretWords = <T>(random: RandomBytes, use: (words: SecretWords) => T): T => {
  const words = new SecretWords(random)
  try {
    return use(words)
  } finally {
    words.close()
  }
}
