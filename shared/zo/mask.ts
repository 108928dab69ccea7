import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { elementsOf, type PrunedSpace, spaceDimension, type WeightTensor } from './space.ts'

/**
 * The mask of a `pruned` space: a bitset over the entries of its tensors, one tensor after another, each row-major. Entry i
 * is bit i % 8 of byte i / 8, the least significant first; a set bit is a coordinate. Bits beyond the last entry are zero,
 * so that one set of entries has one hash. The mask of a weighted space goes on behind the bitset: one byte for each
 * coordinate, 64 times its factor.
 */
export class MaskError extends RangeError {
  override readonly name = 'MaskError'
  readonly code: 'wrong_length' | 'trailing_bits' | 'wrong_count' | 'wrong_hash' | 'wrong_factor' | 'index_out_of_range'
  constructor(code: MaskError['code'], message: string) {
    super(message)
    this.code = code
  }
}

/** SHA-256 of a mask, in hexadecimal: what the space names it by. */
export function maskHash(mask: Uint8Array): string {
  return bytesToHex(sha256(mask))
}

const bitsetBytes = (tensors: readonly WeightTensor[]): number =>
  Math.ceil(tensors.reduce((sum, tensor) => sum + elementsOf(tensor), 0) / 8)

/** The bitset of a mask, without the factors. */
export function bitsetOf(mask: Uint8Array, { tensors }: Pick<PrunedSpace, 'tensors'>): Uint8Array {
  return mask.subarray(0, bitsetBytes(tensors))
}

/** Length of the mask of a space, in bytes. */
export function maskBytes(space: PrunedSpace): number {
  return bitsetBytes(space.tensors) + (space.weighted ? spaceDimension(space) : 0)
}

/** Factors are multiples of this: exact in float32. */
export const FACTOR_STEP = 1 / 64
/** Range of the factors, in steps: 0.8 to 1.2. */
const FACTOR_LEAST = 51
const FACTOR_MOST = 77

/** The mask of a weighted space: a bitset with the factors of what it keeps. @param factors length d, from 51/64 to 77/64. */
export function withFactors(bitset: Uint8Array, factors: Float32Array): Uint8Array {
  const mask = new Uint8Array(bitset.length + factors.length)
  mask.set(bitset)
  mask.set(
    Array.from(factors, (factor) => checkFactor(factor / FACTOR_STEP)),
    bitset.length,
  )
  return mask
}

function checkFactor(steps: number): number {
  if (!Number.isInteger(steps) || steps < FACTOR_LEAST || steps > FACTOR_MOST)
    throw new MaskError('wrong_factor', 'a factor lies outside 51/64 to 77/64')
  return steps
}

/**
 * Factors of the kept entries of each tensor, in their order; undefined where the space is not weighted.
 * @param mask one that `keptIndices` took.
 * @throws MaskError `wrong_factor`
 */
export function keptFactors(mask: Uint8Array, space: PrunedSpace): Float32Array[] | undefined {
  if (!space.weighted) return undefined
  let at = bitsetBytes(space.tensors)
  return space.tensors.map(({ kept }) => {
    const steps = mask.subarray(at, at + kept)
    at += kept
    return Float32Array.from(steps, (step) => checkFactor(step) * FACTOR_STEP)
  })
}

/**
 * Makes the mask that keeps these entries.
 * @param kept indices within each tensor, in any order.
 * @throws MaskError `index_out_of_range`
 */
export function maskOf(kept: readonly ArrayLike<number>[], tensors: readonly WeightTensor[]): Uint8Array {
  const mask = new Uint8Array(bitsetBytes(tensors))
  let start = 0
  tensors.forEach((tensor, segment) => {
    const elements = elementsOf(tensor)
    for (const index of Array.from(kept[segment] ?? [])) {
      if (!Number.isInteger(index) || index < 0 || index >= elements)
        throw new MaskError('index_out_of_range', `tensor ${tensor.name} has no such entry`)
      const bit = start + index
      mask[Math.floor(bit / 8)]! |= 1 << (bit % 8)
    }
    start += elements
  })
  return mask
}

/**
 * Indices of the kept entries within each tensor, ascending: coordinate i of segment s is entry keptIndices[s][i].
 * @throws MaskError where the mask has another length, bits beyond the last entry, other counts or another hash.
 */
export function keptIndices(mask: Uint8Array, space: PrunedSpace): Uint32Array<ArrayBuffer>[] {
  const total = space.tensors.reduce((sum, tensor) => sum + elementsOf(tensor), 0)
  if (mask.length !== maskBytes(space)) throw new MaskError('wrong_length', 'the mask does not fit the tensors')
  if (total % 8 !== 0 && mask[bitsetBytes(space.tensors) - 1]! >> (total % 8) !== 0)
    throw new MaskError('trailing_bits', 'the mask has bits beyond the last entry')
  if (maskHash(mask) !== space.mask) throw new MaskError('wrong_hash', 'the mask is another than the space names')
  let start = 0
  return space.tensors.map((tensor) => {
    const end = start + elementsOf(tensor)
    const indices = setBits(mask, { start, end }, tensor)
    start = end
    return indices
  })
}

function setBits(
  mask: Uint8Array,
  range: { start: number; end: number },
  tensor: PrunedSpace['tensors'][number],
): Uint32Array<ArrayBuffer> {
  const refused = () => new MaskError('wrong_count', `tensor ${tensor.name} keeps another number of entries`)
  if (!(tensor.kept >= 0 && tensor.kept <= range.end - range.start)) throw refused()
  const indices = new Uint32Array(tensor.kept)
  let count = 0
  let bit = range.start
  while (bit < range.end) {
    const byte = mask[Math.floor(bit / 8)]!
    // A sparse mask is mostly zero bytes.
    if (byte === 0 && bit % 8 === 0) bit += 8
    else {
      if ((byte >> (bit % 8)) & 1) {
        if (count === tensor.kept) throw refused()
        indices[count++] = bit - range.start
      }
      bit++
    }
  }
  if (count !== tensor.kept) throw refused()
  return indices
}
