import { FACTOR_STEP, keptIndices, maskHash, withFactors } from '../mask.ts'
import { segmentOffsets, spaceDimension, type WeightTensor } from '../space.ts'
import { PruningError } from './error.ts'
import { type Keep, maskFromScores, type Pruned, rivalries } from './keep.ts'
import { bitsOf, magnitudeOf, type Order } from './select.ts'

/**
 * The rank-weighted mode of DP-ZOPO: the perturbation of a kept entry is multiplied by a factor that falls with its rank,
 * from 1.2 to 0.8. Factors are multiples of 1/64, so that they are exact in float32 and in any product with a power of two.
 */
const BEST = 1.2
const LAST = 0.8

/** Factor of a rank, 0 the best, among `count` kept entries; one alone has 1. */
function weightOf(rank: number, count: number): number {
  const weight = count === 1 ? 1 : BEST - (BEST - LAST) * (rank / (count - 1))
  return Math.round(weight / FACTOR_STEP) * FACTOR_STEP
}

/** |score| of kept entries as integers, the best first. */
function ranked(sizes: Uint32Array, order: Order): Uint32Array {
  const sorted = sizes.slice().sort()
  return order === 'highest' ? sorted.reverse() : sorted
}

/** First place in a ranked list that is not better than this size. */
function firstRank(sorted: Uint32Array, size: number, order: Order): number {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (order === 'highest' ? sorted[middle]! > size : sorted[middle]! < size) low = middle + 1
    else high = middle
  }
  return low
}

/** Sizes that repeat over ranks of unlike factors: at most one for each factor. */
function straddling(sorted: Uint32Array): number[] {
  const count = sorted.length
  const found = new Set<number>()
  for (let rank = 1; rank < count; rank++)
    if (sorted[rank] === sorted[rank - 1] && weightOf(rank, count) !== weightOf(rank - 1, count))
      found.add(sorted[rank]!)
  return [...found]
}

/** Writes the factors of entries that compete with one another. */
function weigh(weights: readonly Float32Array[], sizes: readonly Uint32Array[], order: Order): void {
  const count = sizes.reduce((sum, { length }) => sum + length, 0)
  const all = new Uint32Array(count)
  let at = 0
  for (const part of sizes) {
    all.set(part, at)
    at += part.length
  }
  const sorted = ranked(all, order)
  // Equal scores rank by index, which shows only where a factor ends within them.
  const met = new Map(straddling(sorted).map((size) => [size, 0]))
  sizes.forEach((part, p) => {
    for (let i = 0; i < part.length; i++) {
      const size = part[i]!
      const before = met.get(size) ?? 0
      if (met.has(size)) met.set(size, before + 1)
      weights[p]![i] = weightOf(firstRank(sorted, size, order) + before, count)
    }
  })
}

/**
 * Factor of every coordinate of a pruned space, by the rank of its score among those it competed with.
 * @param scores those that the mask was made of.
 * @returns length d, in the order of coordinates: multiples of 1/64 from 1.2 (77/64) down to 0.8 (51/64).
 * @throws PruningError `wrong_length`; MaskError where mask and space do not fit.
 */
export function rankWeights(
  scores: readonly Float32Array[],
  { mask, space }: Pruned,
  { order, scope }: Pick<Keep, 'order' | 'scope'>,
): Float32Array {
  const indices = keptIndices(mask, space)
  const sizes = indices.map((kept, place) => {
    const bits = scores[place] && bitsOf(scores[place])
    if (!bits || (kept.at(-1) ?? -1) >= bits.length)
      throw new PruningError('wrong_length', 'there is not one score for each entry of each tensor')
    return kept.map((index) => magnitudeOf(bits[index]!))
  })
  const all = new Float32Array(spaceDimension(space))
  const offsets = segmentOffsets(space)
  const weights = sizes.map(({ length }, place) => all.subarray(offsets[place]!, offsets[place]! + length))
  for (const places of rivalries(scope, space.tensors))
    weigh(
      places.map((place) => weights[place]!),
      places.map((place) => sizes[place]!),
      order,
    )
  return all
}

/** The mask that scores and a keep rate make, with a factor for each entry where the keep rate is weighted. @throws PruningError */
export function prunedBy(scores: readonly Float32Array[], tensors: readonly WeightTensor[], keep: Keep): Pruned {
  const pruned = maskFromScores(scores, tensors, keep)
  if (!keep.weighted) return pruned
  const mask = withFactors(pruned.mask, rankWeights(scores, pruned, keep))
  return { mask, space: { ...pruned.space, mask: maskHash(mask), weighted: true } }
}
