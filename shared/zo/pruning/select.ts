import { PruningError } from './error.ts'

/**
 * Choosing the best entries of a list of numbers by their size, |score|.
 *
 * A float32 without its sign, read as an integer, keeps its order. So the score at a rank is found bit by bit: one histogram
 * of the upper 16 bits, one of the lower 16 among those that share them. Two passes and 256 KiB for any number of entries;
 * quickselect would copy them all, and have its worst case.
 */
export type Order = 'highest' | 'lowest'

/** The places in a flat list that rank among the best `count`: better than `bits`, and the first `ties` that equal it. */
export interface Cut {
  /** |score| at the last rank, as an integer. */
  readonly bits: number
  /** Entries of exactly this size that are within, those of the lowest index. */
  readonly ties: number
}

const MAGNITUDE = 0x7fffffff
const HALF = 2 ** 16
const INFINITE = 0x7f800000

/** Scores as integers that keep their order; a view, sign bits still there. */
export const bitsOf = (scores: Float32Array): Uint32Array =>
  new Uint32Array(scores.buffer, scores.byteOffset, scores.length)

/** |score| as an integer. */
export const magnitudeOf = (bits: number): number => bits & MAGNITUDE

/** Whether an integer comes before another in this order. */
export const isBetter = (order: Order, a: number, b: number): boolean => (order === 'highest' ? a > b : a < b)

function countUpper(parts: readonly Uint32Array[]): Float64Array {
  const counts = new Float64Array(HALF)
  for (const part of parts)
    for (let i = 0; i < part.length; i++) {
      const bits = part[i]! & MAGNITUDE
      if (bits >= INFINITE) throw new PruningError('not_finite', 'a score is not finite')
      counts[bits >>> 16]!++
    }
  return counts
}

function countLower(parts: readonly Uint32Array[], upper: number): Float64Array {
  const counts = new Float64Array(HALF)
  for (const part of parts)
    for (let i = 0; i < part.length; i++) {
      const bits = part[i]! & MAGNITUDE
      if (bits >>> 16 === upper) counts[bits & 0xffff]!++
    }
  return counts
}

/** The bucket that the entry of a rank (from 1) lies in, and its rank there. */
function bucketAt(counts: Float64Array, order: Order, rank: number): { bucket: number; rank: number } {
  let left = rank
  for (let step = 0; step < HALF; step++) {
    const bucket = order === 'highest' ? HALF - 1 - step : step
    if (left <= counts[bucket]!) return { bucket, rank: left }
    left -= counts[bucket]!
  }
  throw new PruningError('wrong_length', 'there are fewer scores than are to be kept')
}

/**
 * Where the best `count` entries of several lists together end; count >= 1.
 * @throws PruningError `not_finite`, or `wrong_length` where there are fewer.
 */
export function cutAt(scores: readonly Float32Array[], order: Order, count: number): Cut {
  const parts = scores.map(bitsOf)
  const upper = bucketAt(countUpper(parts), order, count)
  const lower = bucketAt(countLower(parts, upper.bucket), order, upper.rank)
  return { bits: upper.bucket * HALF + lower.bucket, ties: lower.rank }
}
