/**
 * How the entries of a direction are drawn, all with mean 0 and mean square 1 once scaled.
 * - `rademacher`, the default: signs.
 * - `binomial`: centred Binomial(32, 1/2), a portable stand-in for the Gaussian: excess kurtosis -1/16, no `exp`, `log` or `cos`.
 * - `sphere`: the same, put on the sphere of radius sqrt(d), as the theory of DPZero wants it (arXiv 2310.09639).
 */
export type Distribution = 'rademacher' | 'binomial' | 'sphere'

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
 * - `core`: P = U R V with R [rank, rank] trained between bases U and V: `singular` ones of the base weight (LoRA-XS, arXiv
 *   2405.17604), or `seeded` ones, another pair for each stage (SubZero, arXiv 2410.08989).
 * Coordinates: the entries of all A or all R, site after site, each row-major.
 */
export interface LoraSpace {
  readonly kind: 'lora'
  readonly distribution?: Distribution
  readonly rank: number
  readonly trained: 'factor' | 'core'
  /** Of a core; `singular` if absent. */
  readonly bases?: 'singular' | 'seeded'
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
  /** Of dense directions; those of low rank are products of signs. */
  readonly distribution?: Distribution
  readonly directions: { readonly kind: 'dense' } | { readonly kind: 'low-rank'; readonly rank: number }
  readonly tensors: readonly WeightTensor[]
}

/**
 * As `full`, but only the entries that a bitset keeps are coordinates; see `mask.ts`. Where it is weighted, entry i of the
 * weights is base + w_i a_i for a coordinate a_i: directions and updates of the coordinates are then those of the weights, each
 * entry times its factor (the rank-weighted mode of DP-ZOPO).
 */
export interface PrunedSpace {
  readonly kind: 'pruned'
  readonly distribution?: Distribution
  readonly tensors: readonly (WeightTensor & { readonly kept: number })[]
  /** SHA-256 of the mask, in hexadecimal. */
  readonly mask: string
  /** Whether the mask has a factor for each entry that it keeps. */
  readonly weighted?: boolean
}

/** Where a run trains. */
export type Space = LoraSpace | FullSpace | PrunedSpace

/**
 * Nothing trained: the mean over units of what a model's activations differ in between two completions of a prompt (PSA). One
 * round of the same mechanism releases it, each coordinate in the place of a direction.
 */
export interface StatisticSpace {
  readonly kind: 'statistic'
  /** `layer.3`: the sum that ends layer 3, from which the next begins. */
  readonly activation: string
  /** Width of the activation: d. */
  readonly size: number
  /** Of which token: the last of the completion. */
  readonly token: 'last'
}

/** What a run is about: a space that it trains, or a statistic. */
export type RunSpace = Space | StatisticSpace

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

/** Variance of a centred Binomial(32, 1/2). */
const BINOMIAL_VARIANCE = 8

/**
 * Factor by which the integers of a direction are taken, so that the mean square of an entry is 1: one for all directions
 * of the space, or on the sphere one for each.
 * @param z the direction; read on the sphere alone.
 */
export function directionScale(space: Space, z?: Int8Array): number {
  if (space.kind === 'full' && space.directions.kind === 'low-rank') return 1 / Math.sqrt(space.directions.rank)
  switch (space.distribution) {
    case 'binomial':
      return 1 / Math.sqrt(BINOMIAL_VARIANCE)
    case 'sphere':
      return scaleOnSphere(z)
    default:
      return 1
  }
}

function scaleOnSphere(z: Int8Array | undefined): number {
  if (!z) throw new RangeError('a direction on the sphere has its own scale')
  let squares = 0
  for (const entry of z) squares += entry * entry
  return sphereScale(squares, z.length)
}

/** sqrt(d) / |z|: the sum of squares is exact, and quotient and root are rounded once each, the same everywhere. */
export function sphereScale(squares: number, dimension: number): number {
  return squares === 0 ? 0 : Math.sqrt(dimension / squares)
}

/** Whether directions are signs or products of signs, which fast kernels make. */
export function isOfSigns(space: Space): boolean {
  const isLowRank = space.kind === 'full' && space.directions.kind === 'low-rank'
  return isLowRank || (space.distribution ?? 'rademacher') === 'rademacher'
}
