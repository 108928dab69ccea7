import {
  elementsOf,
  isOfSigns,
  type LoraSpace,
  RANK_MAX,
  type Space,
  segmentLengths,
  segmentOffsets,
  spaceDimension,
  type WeightTensor,
} from './space.ts'
import { threefry4x32, type Words4 } from './threefry.ts'

/** What a stream of public randomness is for; part of the key, so that two streams never share a block. */
export const STREAMS = { direction: 1, factor: 2, left: 3, right: 4, binomial: 5, leftBasis: 6, rightBasis: 7 } as const

/** Signs in one block of Threefry4x32: one for each bit. */
const SIGNS_PER_BLOCK = 128

const SEED = /^[0-9a-f]{16}$/

/** Key of a stream. @throws RangeError where the seed is none. */
export function streamKey(seed: string, stream: number): Words4 {
  if (!SEED.test(seed)) throw new RangeError('a public seed is 16 lower-case hexadecimal digits')
  return [Number.parseInt(seed.slice(8), 16), Number.parseInt(seed.slice(0, 8), 16), stream, 0]
}

/** Last three words of the counter of each block: [segment, round, k], or [site, stage, 0] of a frozen factor. */
export type CounterTail = readonly [number, number, number]

/** Fills `out` with +1 and -1: element i takes bit i % 32 of word (i / 32) % 4 of block i / 128; a set bit is -1. */
function fillRademacher(key: Words4, counterTail: CounterTail, out: Int8Array): void {
  const words = new Uint32Array(4)
  for (let start = 0; start < out.length; start += SIGNS_PER_BLOCK) {
    threefry4x32(key, [start / SIGNS_PER_BLOCK, ...counterTail], words)
    const end = Math.min(out.length, start + SIGNS_PER_BLOCK)
    for (let i = start; i < end; i++) out[i] = 1 - (((words[((i - start) >> 5) & 3]! >>> (i & 31)) & 1) << 1)
  }
}

/** Numbers in one block of Threefry4x32 where each takes a word. */
const WORDS_PER_BLOCK = 4

/** Number of set bits, by adding neighbours up. */
function bitCount(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555)
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333)
  return (Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24) & 0xff
}

/** Fills `out` with set bits less 16: element i takes word i % 4 of block i / 4. */
function fillBinomial(key: Words4, counterTail: CounterTail, out: Int8Array): void {
  const words = new Uint32Array(WORDS_PER_BLOCK)
  for (let start = 0; start < out.length; start += WORDS_PER_BLOCK) {
    threefry4x32(key, [start / WORDS_PER_BLOCK, ...counterTail], words)
    const end = Math.min(out.length, start + WORDS_PER_BLOCK)
    for (let i = start; i < end; i++) out[i] = bitCount(words[i - start]!) - 16
  }
}

/** A tensor as the matrix that a low-rank direction sees: the first dimension by the product of the others. */
export function matrixShape(tensor: WeightTensor): { rows: number; columns: number; isVector: boolean } {
  const isVector = tensor.shape.length < 2
  const rows = isVector ? elementsOf(tensor) : tensor.shape[0]!
  return { rows, columns: isVector ? 1 : elementsOf(tensor) / rows, isVector }
}

/**
 * Signs whose product is the low-rank direction of one tensor: U row-major [rows, rank], V row-major [rank, columns].
 * A tensor of one dimension (a bias, a norm's gain) is a single column with V = 1: each entry is a sum of `rank`
 * independent signs, so that its mean square is that of the matrices, and one scale fits both.
 */
export function lowRankFactors(
  seed: string,
  at: { round: number; k: number; segment: number },
  shape: { tensor: WeightTensor; rank: number },
): { left: Int8Array; right: Int8Array } {
  const { rank, tensor } = shape
  if (!(rank >= 1 && rank <= RANK_MAX)) throw new RangeError(`the rank of a direction is 1 to ${RANK_MAX}`)
  const { rows, columns, isVector } = matrixShape(tensor)
  const tail = [at.segment, at.round, at.k] as const
  const left = new Int8Array(rows * rank)
  fillRademacher(streamKey(seed, STREAMS.left), tail, left)
  const right = new Int8Array(rank * columns)
  if (isVector) right.fill(1)
  else fillRademacher(streamKey(seed, STREAMS.right), tail, right)
  return { left, right }
}

/** out <- U V, row-major [rows, columns]: small integers between -rank and rank. */
function fillProduct(factors: { left: Int8Array; right: Int8Array }, rank: number, out: Int8Array): void {
  const { left, right } = factors
  const columns = right.length / rank
  for (let at = 0; at < out.length; at += columns) {
    const row = (at / columns) * rank
    for (let j = 0; j < columns; j++) {
      let sum = 0
      for (let r = 0; r < rank; r++) sum += left[row + r]! * right[r * columns + j]!
      out[at + j] = sum
    }
  }
}

/**
 * Direction z_k of a round: a vector of small integers over all coordinates, a pure function of (seed, round, k); what
 * perturbs the model is `directionScale(space, z) * z`.
 * @returns Int8Array of length `spaceDimension(space)`, segment after segment: signs +1 and -1 (Rademacher), integers from
 * -16 to 16 (centred Binomial), or for low-rank directions of the `full` space the entries of U V.
 * Source: DESIGN section 2, and LOZO (arXiv 2410.07698) for the low rank; test vectors in `test/vectors/direction.json`
 * are part of the protocol.
 */
export function direction(seed: string, at: { round: number; k: number }, space: Space): Int8Array {
  const isSigns = isOfSigns(space)
  const key = streamKey(seed, isSigns ? STREAMS.direction : STREAMS.binomial)
  const fill = isSigns ? fillRademacher : fillBinomial
  const lengths = segmentLengths(space)
  const out = new Int8Array(spaceDimension(space))
  segmentOffsets(space).forEach((offset, segment) => {
    const part = out.subarray(offset, offset + lengths[segment]!)
    if (space.kind === 'full' && space.directions.kind === 'low-rank') {
      const { rank } = space.directions
      const factors = lowRankFactors(seed, { ...at, segment }, { tensor: space.tensors[segment]!, rank })
      fillProduct(factors, rank, part)
    } else fill(key, [segment, at.round, at.k], part)
  })
  return out
}

/**
 * Frozen factor V of one site for one stage: signs +1 and -1, row-major [rank, outputs].
 * Source: the lazily refreshed factor of LOZO (arXiv 2410.07698), from a seed so that it never travels.
 */
export function frozenFactor(seed: string, at: { stage: number; site: number }, space: LoraSpace): Int8Array {
  const site = space.sites[at.site]
  if (!site) throw new RangeError('no such site in the space')
  const out = new Int8Array(space.rank * site.outputs)
  fillRademacher(streamKey(seed, STREAMS.factor), [at.site, at.stage, 0], out)
  return out
}

/**
 * Signs that the seeded bases of a site are made of, for one stage: of U row-major [rank, inputs], of V [rank, outputs]. Whoever
 * uses them makes their rows orthonormal.
 */
export function basisSigns(
  seed: string,
  at: { stage: number; site: number },
  space: LoraSpace,
): { left: Int8Array; right: Int8Array } {
  const site = space.sites[at.site]
  if (!site) throw new RangeError('no such site in the space')
  const tail = [at.site, at.stage, 0] as const
  const left = new Int8Array(space.rank * site.inputs)
  const right = new Int8Array(space.rank * site.outputs)
  fillRademacher(streamKey(seed, STREAMS.leftBasis), tail, left)
  fillRademacher(streamKey(seed, STREAMS.rightBasis), tail, right)
  return { left, right }
}
