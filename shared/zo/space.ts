/**
 * Where the `lora` space trains: at each site the weight W [inputs, outputs] becomes W + scale * P, with a product P of low
 * rank whose trained factor starts every stage at zero.
 */
export interface LoraSite {
  /** Name in the model's own words, such as `layer.3.attention.qkv`. */
  readonly name: string
  /** Rows of W: the width of the layer's input. */
  readonly inputs: number
  /** Columns of W: the width of the layer's output; the sum over all products that share one factor (q, k and v). */
  readonly outputs: number
  /** Fixed factor of the product, so that one radius and one rate fit sites of unlike size. */
  readonly scale: number
}

/**
 * - `factor`: P = A V. V [rank, outputs] is made of seeded signs and frozen for a stage, A [inputs, rank] is trained.
 * - `core`: P = U R V. U and V are singular bases of the base weight, R [rank, rank] is trained (LoRA-XS, arXiv 2405.17604).
 * Coordinates: the entries of all A or all R, site after site, each row-major.
 */
export interface LoraSpace {
  readonly kind: 'lora'
  readonly rank: number
  readonly trained: 'factor' | 'core'
  readonly sites: readonly LoraSite[]
}

/** A weight tensor of the model, by its name there; row-major. */
export interface WeightTensor {
  readonly name: string
  readonly shape: readonly number[]
}

/**
 * Whole weight tensors. The trained vector is the difference from the weights that the stage began with, so that it starts
 * every stage at zero. Coordinates: the entries of all tensors, one after another, each row-major.
 */
export interface FullSpace {
  readonly kind: 'full'
  readonly directions: { readonly kind: 'dense' } | { readonly kind: 'low-rank'; readonly rank: number }
  readonly tensors: readonly WeightTensor[]
}

/** As `full`, but only the entries that a bitset keeps are coordinates; see `mask.ts`. */
export interface PrunedSpace {
  readonly kind: 'pruned'
  readonly tensors: readonly (WeightTensor & { readonly kept: number })[]
  /** SHA-256 of the bitset, in hexadecimal. */
  readonly mask: string
}

export type Space = LoraSpace | FullSpace | PrunedSpace

/** Largest rank of anything of low rank: an entry of a low-rank direction is a sum of so many signs, and must fit a byte. */
export const RANK_MAX = 64

/** Number of entries of a tensor. */
export function elementsOf({ shape }: WeightTensor): number {
  return shape.reduce((product, length) => product * length, 1)
}

/** Number of coordinates of each segment: a site of a `lora` space, a tensor of the others. */
export function segmentLengths(space: Space): number[] {
  switch (space.kind) {
    case 'lora':
      return space.sites.map(({ inputs }) => (space.trained === 'core' ? space.rank : inputs) * space.rank)
    case 'full':
      return space.tensors.map(elementsOf)
    case 'pruned':
      return space.tensors.map(({ kept }) => kept)
  }
}

/** Where each segment begins in the flat vector of coordinates. */
export function segmentOffsets(space: Space): number[] {
  let offset = 0
  return segmentLengths(space).map((length) => {
    const here = offset
    offset += length
    return here
  })
}

/** Number of coordinates d. */
export function spaceDimension(space: Space): number {
  return segmentLengths(space).reduce((sum, length) => sum + length, 0)
}

/** Factor by which the integers of `direction` are taken, so that the mean square of an entry is 1. */
export function directionScale(space: Space): number {
  return space.kind === 'full' && space.directions.kind === 'low-rank' ? 1 / Math.sqrt(space.directions.rank) : 1
}
