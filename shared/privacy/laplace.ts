/**
 * round(X) for a Laplace variable X of scale b, exactly: C. L. Canonne, G. Kamath, T. Steinke, "The discrete Gaussian
 * for differential privacy", NeurIPS 2020 (arXiv 2004.00010), algorithms 1 and 2, with the rational scale that the
 * double is and the floor moved by a half. Integers alone take part. As the sum that the noise is added to is an
 * integer, adding round(X) is the same as adding X and rounding: post-processing of the true Laplace mechanism.
 *
 *     P(0) = 1 - e^(-1/(2b)),   P(k) = P(-k) = e^(-(k - 1/2)/b) (1 - e^(-1/b)) / 2   for k >= 1
 *
 * How long a draw takes depends on its value. Draw before the data are looked at, and let nobody time single draws.
 */
import { exactDyadic } from './dyadic.ts'
import { PrivacyError } from './error.ts'
import { validateCount } from './event.ts'
import {
  ATTEMPTS_MAX,
  drawBelow,
  drawSign,
  notRandom,
  type RandomBytes,
  type SecretWords,
  withSecretWords,
} from './randomness.ts'

type Words = Pick<SecretWords, 'word'>

/** The integers 0..size-1, and how they are drawn: this many words, without their last `spare` bits. */
export interface Range {
  readonly size: bigint
  readonly words: number
  readonly spare: bigint
}

export const rangeOf = (size: bigint): Range => {
  const bits = (size - 1n).toString(2).length
  const words = (bits + 31) >>> 5
  return { size, words, spare: BigInt(32 * words - bits) }
}

/** Uniform on the range, most significant word first; what lies beyond, less than half, is drawn again. */
export const drawWithin = ({ size, words: length, spare }: Range, words: Words): bigint => {
  for (let i = 0; i < ATTEMPTS_MAX; i++) {
    let value = 0n
    for (let k = 0; k < length; k++) value = (value << 32n) | BigInt(words.word())
    value >>= spare
    if (value < size) return value
  }
  throw notRandom()
}

/**
 * True with probability exp(-p/q), q the size of the range and 0 <= p <= q (algorithm 1). Step k is passed with
 * probability p/(q k), here as 1/k times p/q, so that no integer grows; the first step not passed is an odd one with
 * probability 1 - p/q + (p/q)^2/2! - ...
 */
export const bernoulliExp = (p: bigint, range: Range, words: Words): boolean => {
  for (let k = 1; k < ATTEMPTS_MAX; k++) {
    if (k > 1 && drawBelow(k, words) !== 0) return k % 2 === 1
    if (p < range.size && drawWithin(range, words) >= p) return k % 2 === 1
  }
  throw notRandom()
}

const UNIT = rangeOf(1n)

/** k >= 0 with probability exp(-k)(1 - exp(-1)): the whole part of an exponential variable. */
const drawWhole = (words: Words): bigint => {
  for (let k = 0; k < ATTEMPTS_MAX; k++) if (!bernoulliExp(1n, UNIT, words)) return BigInt(k)
  throw notRandom()
}

/** floor(size * E), E exponential of mean 1: the part below `size` by rejection, then whole means (algorithm 2). */
const drawExponential = (range: Range, words: Words): bigint => {
  for (let i = 0; i < ATTEMPTS_MAX; i++) {
    const part = drawWithin(range, words)
    if (bernoulliExp(part, range, words)) return part + range.size * drawWhole(words)
  }
  throw notRandom()
}

/** The scale as range.size / 2^shift, exactly, with a shift of at least 1: then a half has a numerator too. */
interface Scale {
  readonly range: Range
  readonly shift: bigint
  readonly half: bigint
}

const scaleOf = (scale: number): Scale => {
  const { mantissa, exponent } = exactDyadic(scale)
  const shift = exponent < 0 ? BigInt(-exponent) : 1n
  const size = exponent < 0 ? mantissa : mantissa << BigInt(exponent + 1)
  return { range: rangeOf(size), shift, half: 1n << (shift - 1n) }
}

/** floor(b E + 1/2) is floor((floor(size E) + half) / 2^shift): the inner floor changes nothing, half being whole. */
const drawRounded = ({ range, shift, half }: Scale, words: Words): number =>
  drawSign((drawExponential(range, words) + half) >> shift, words)

/**
 * Independent draws of round(X), X of the Laplace distribution of that scale, for the exact value of the double. The
 * random blocks are wiped before this returns; there is no seed, and nothing public enters.
 *
 * @example roundedLaplaces({ count: 64, scale: laplaceScale({ ...stage, clipping: 'joint' }) }, random)
 * @param request `count` draws of scale `scale`, in grid steps (sigma S / g in the L1 norm, see `laplaceScale`)
 * @returns `count` safe integers
 * @throws PrivacyError `invalid_count`, `invalid_noise` unless the scale is finite and above 0,
 *   `noise_out_of_range` for a draw beyond the safe integers, `rng_failure`
 */
export const roundedLaplaces = (request: { count: number; scale: number }, random: RandomBytes): Float64Array => {
  const { count, scale } = request
  validateCount(count)
  if (!(Number.isFinite(scale) && scale > 0)) {
    throw new PrivacyError('invalid_noise', 'the scale must be finite and above 0')
  }
  const exact = scaleOf(scale)
  return withSecretWords(random, (words) => Float64Array.from({ length: count }, () => drawRounded(exact, words)))
}
