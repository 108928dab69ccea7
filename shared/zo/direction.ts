import { type LoraSpace, siteLength, siteOffsets, spaceDimension } from './space.ts'
import { threefry4x32, type Words4 } from './threefry.ts'

/** What a stream of public randomness is for; part of the key, so that two streams never share a block. */
const DIRECTION_STREAM = 1
const FACTOR_STREAM = 2

/** Signs in one block of Threefry4x32: one for each bit. */
const SIGNS_PER_BLOCK = 128

const SEED = /^[0-9a-f]{16}$/

function keyOf(seed: string, stream: number): Words4 {
  if (!SEED.test(seed)) throw new RangeError('a public seed is 16 lower-case hexadecimal digits')
  return [Number.parseInt(seed.slice(8), 16), Number.parseInt(seed.slice(0, 8), 16), stream, 0]
}

/** Fills `out` with +1 and -1: element i takes bit i % 32 of word (i / 32) % 4 of block i / 128; a set bit is -1. */
function fillRademacher(key: Words4, counterTail: readonly [number, number, number], out: Int8Array): void {
  const words = new Uint32Array(4)
  for (let start = 0; start < out.length; start += SIGNS_PER_BLOCK) {
    threefry4x32(key, [start / SIGNS_PER_BLOCK, ...counterTail], words)
    const end = Math.min(out.length, start + SIGNS_PER_BLOCK)
    for (let i = start; i < end; i++) out[i] = 1 - (((words[((i - start) >> 5) & 3]! >>> (i & 31)) & 1) << 1)
  }
}

/**
 * Direction z_k of a round: a Rademacher vector over all trained coordinates, a pure function of (seed, round, k).
 * @returns Int8Array of length `spaceDimension(space)`, values +1 and -1; site after site, each row-major [inputs, rank].
 * Source: DESIGN section 2; test vectors in `test/vectors/direction.json` are part of the protocol.
 */
export function direction(seed: string, at: { round: number; k: number }, space: LoraSpace): Int8Array {
  const key = keyOf(seed, DIRECTION_STREAM)
  const out = new Int8Array(spaceDimension(space))
  siteOffsets(space).forEach((offset, site) => {
    fillRademacher(key, [site, at.round, at.k], out.subarray(offset, offset + siteLength(space, site)))
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
  fillRademacher(keyOf(seed, FACTOR_STREAM), [at.site, at.stage, 0], out)
  return out
}
