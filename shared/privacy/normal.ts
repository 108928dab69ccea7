/**
 * round(X) for X ~ N(0, s^2), exactly: C. F. F. Karney, "Sampling exactly from the normal distribution", ACM TOMS
 * 42(1), 2016 (arXiv 1303.6257), algorithms N, H, P, B. Uniform deviates are sequences of 32-bit digits drawn only as
 * far as a comparison or the final rounding needs them, and no floating-point number takes part. As the sum that the
 * noise is added to is an integer, adding round(X) is the same as adding X and rounding: post-processing of the true
 * Gaussian mechanism.
 *
 * How long a draw takes depends on its value. Draw before the data are looked at, and let nobody time single draws.
 */
import { type Dyadic, exactDyadic, shiftLeft } from './dyadic.ts'
import { PrivacyError } from './error.ts'
import { validateCount } from './event.ts'
import {
  ATTEMPTS_MAX,
  drawBelow,
  drawSign,
  HALF,
  notRandom,
  type RandomBytes,
  type SecretWords,
  withSecretWords,
} from './randomness.ts'

/** A uniform deviate in (0,1): the digits drawn so far, base 2^32, most significant first. */
type Deviate = number[]

/** Digits end here: a healthy generator gets there with probability below 2^-900. */
const DIGITS_MAX = 64

/** a < b, drawing further digits of both while they are equal. */
const isLess = (a: Deviate, b: Deviate, words: SecretWords): boolean => {
  for (let i = 0; i < DIGITS_MAX; i++) {
    if (i === a.length) a.push(words.word())
    if (i === b.length) b.push(words.word())
    if (a[i] !== b[i]) return a[i]! < b[i]!
  }
  throw notRandom()
}

/** True with probability exp(-1/2): whether a run 1/2 > u1 > u2 > ... has even length (algorithm H). */
const halfExponential = (words: SecretWords): boolean => {
  let last: Deviate = [words.word()]
  if (last[0]! >= HALF) return true
  for (let length = 1; length < ATTEMPTS_MAX; length++) {
    const next: Deviate = []
    if (!isLess(next, last, words)) return length % 2 === 0
    last = next
  }
  throw notRandom()
}

/** k >= 0 with probability exp(-k/2)(1 - exp(-1/2)) (step N1). */
const drawWhole = (words: SecretWords): number => {
  for (let k = 0; k < ATTEMPTS_MAX; k++) if (!halfExponential(words)) return k
  throw notRandom()
}

/** True with probability exp(-n/2) (algorithm P). */
const halfExponentials = (n: number, words: SecretWords): boolean => {
  for (let i = 0; i < n; i++) if (!halfExponential(words)) return false
  return true
}

/** True with probability (2k + x)/(2k + 2) (algorithm C). */
const isBelowRatio = (k: number, x: Deviate, words: SecretWords): boolean => {
  const part = drawBelow(2 * k + 2, words)
  return part < 2 * k || (part === 2 * k && isLess([], x, words))
}

/** True with probability exp(-x(2k + x)/(2k + 2)) (algorithm B). */
const acceptFraction = (k: number, x: Deviate, words: SecretWords): boolean => {
  let last = x
  for (let length = 0; length < ATTEMPTS_MAX; length++) {
    const next: Deviate = []
    if (!isLess(next, last, words) || !isBelowRatio(k, x, words)) return length % 2 === 0
    last = next
  }
  throw notRandom()
}

/** One trial of steps N1 to N4: whole part and fraction of |X|/s, or null where rejected. */
const attempt = (words: SecretWords): { whole: number; fraction: Deviate } | null => {
  const whole = drawWhole(words)
  if (!halfExponentials(whole * (whole - 1), words)) return null
  const fraction: Deviate = []
  for (let i = 0; i <= whole; i++) if (!acceptFraction(whole, fraction, words)) return null
  return { whole, fraction }
}

const drawHalfNormal = (words: SecretWords) => {
  for (let i = 0; i < ATTEMPTS_MAX; i++) {
    const accepted = attempt(words)
    if (accepted) return accepted
  }
  throw notRandom()
}

/** Nearest integer to s (whole + fraction), drawing digits until both ends of the known interval round alike. */
const roundScaled = (
  scale: Dyadic,
  { whole, fraction }: { whole: number; fraction: Deviate },
  words: SecretWords,
): bigint => {
  let digits = fraction.reduce((value, digit) => (value << 32n) | BigInt(digit), BigInt(whole))
  for (let length = fraction.length; length <= DIGITS_MAX; length++) {
    // 2 s y + 1 in units of 2^(exponent - 32 length), then floor of its half.
    const toInteger = scale.exponent - 32 * length
    const nearest = (y: bigint) => (shiftLeft(2n * scale.mantissa * y, toInteger) + 1n) >> 1n
    const rounded = nearest(digits)
    if (rounded === nearest(digits + 1n)) return rounded
    digits = (digits << 32n) | BigInt(words.word())
  }
  throw notRandom()
}

const drawRounded = (scale: Dyadic, words: SecretWords): number =>
  drawSign(roundScaled(scale, drawHalfNormal(words), words), words)

/**
 * Independent draws of round(X), X ~ N(0, deviation^2), for the exact value of the double. The random blocks are
 * wiped before this returns; there is no seed, and nothing public enters.
 *
 * @example roundedNormals({ count: 64, deviation: noiseDeviation({ ...stage, clipping: 'joint' }) }, random)
 * @param request `count` draws of standard deviation `deviation`, in grid steps (sigma S / g, see `noiseDeviation`)
 * @returns `count` safe integers
 * @throws PrivacyError `invalid_count`, `invalid_noise` unless the deviation is finite and above 0,
 *   `noise_out_of_range` for a draw beyond the safe integers, `rng_failure`
 */
export const roundedNormals = (request: { count: number; deviation: number }, random: RandomBytes): Float64Array => {
  const { count, deviation } = request
  validateCount(count)
  if (!(Number.isFinite(deviation) && deviation > 0)) {
    throw new PrivacyError('invalid_noise', 'the deviation must be finite and above 0')
  }
  const scale = exactDyadic(deviation)
  return withSecretWords(random, (words) => Float64Array.from({ length: count }, () => drawRounded(scale, words)))
}
