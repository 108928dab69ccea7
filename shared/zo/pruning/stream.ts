import { streamKey } from '../direction.ts'
import { elementsOf, type WeightTensor } from '../space.ts'
import { threefry4x32 } from '../threefry.ts'
import { PruningError } from './error.ts'

/**
 * Randomness of pruning that no run meets again under the same seed.
 *
 * Directions of the forward score are those of `direction` in rounds that no run reaches: the last two that a 32-bit counter
 * holds, where a spec ends at millions. Their k counts queries within a stage, so that a mask made anew at each stage has new
 * directions. Random scores have a stream of their own, far from the small numbers of `STREAMS`.
 */
export const PRUNING_ROUNDS = { first: 2 ** 32 - 1, second: 2 ** 32 - 2 } as const

/** Directions of each of the two estimates, at most. */
export const QUERIES_MAX = 1024
const STAGES_MAX = 2 ** 20

/** k of a direction of the forward score. @throws PruningError `queries_out_of_range`, `stage_out_of_range` */
export function pruningDirection(stage: number, query: number): number {
  if (!(Number.isInteger(query) && query >= 0 && query < QUERIES_MAX))
    throw new PruningError('queries_out_of_range', `a score has 1 to ${QUERIES_MAX} queries`)
  requireStage(stage)
  return stage * QUERIES_MAX + query
}

function requireStage(stage: number): void {
  if (!(Number.isInteger(stage) && stage >= 0 && stage < STAGES_MAX))
    throw new PruningError('stage_out_of_range', 'stages count from 0')
}

/** "prun" */
const RANDOM_STREAM = 0x7072756e
const WORDS_PER_BLOCK = 4
/** Bits of a float32's fraction: a score is the upper bits of a word, and exact. */
const SPARE_BITS = 8

/**
 * Scores that order the entries at random, each in [0, 1): entry i of a tensor takes word i % 4 of block i / 4 of Threefry
 * with counter [block, segment, stage, 0]. The same bits on every platform.
 * @throws PruningError `stage_out_of_range`; RangeError where the seed is none.
 */
export function randomScores(seed: string, stage: number, tensors: readonly WeightTensor[]): Float32Array[] {
  requireStage(stage)
  const key = streamKey(seed, RANDOM_STREAM)
  const words = new Uint32Array(WORDS_PER_BLOCK)
  return tensors.map((tensor, segment) => {
    const scores = new Float32Array(elementsOf(tensor))
    for (let start = 0; start < scores.length; start += WORDS_PER_BLOCK) {
      threefry4x32(key, [start / WORDS_PER_BLOCK, segment, stage, 0], words)
      const end = Math.min(scores.length, start + WORDS_PER_BLOCK)
      for (let i = start; i < end; i++) scores[i] = (words[i - start]! >>> SPARE_BITS) * 2 ** (SPARE_BITS - 32)
    }
    return scores
  })
}
