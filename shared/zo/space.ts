/**
 * The `lora` space: at each site the weight W [inputs, outputs] becomes W + scale * A V, with the factor V [rank, outputs]
 * frozen for a stage and the factor A [inputs, rank] trained, from zero at the start of each stage.
 * Trained coordinates are the entries of all A, site after site, each row-major.
 */
export interface LoraSite {
  /** Name in the model's own words, such as `layer.3.attention.qkv`. */
  readonly name: string
  /** Rows of W: the width of the layer's input. */
  readonly inputs: number
  /** Columns of W: the width of the layer's output; the sum over all products that share one A (q, k and v). */
  readonly outputs: number
  /** Fixed factor of the product A V, so that one radius and one rate fit sites of unlike size. */
  readonly scale: number
}

export interface LoraSpace {
  readonly kind: 'lora'
  readonly rank: number
  readonly sites: readonly LoraSite[]
}

/** Number of trained coordinates of one site. */
export function siteLength(space: LoraSpace, site: number): number {
  return space.sites[site]!.inputs * space.rank
}

/** Offset of each site's factor A in the flat vector of trained coordinates. */
export function siteOffsets(space: LoraSpace): number[] {
  let offset = 0
  return space.sites.map((site) => {
    const here = offset
    offset += site.inputs * space.rank
    return here
  })
}

/** Number of trained coordinates d. */
export function spaceDimension(space: LoraSpace): number {
  return space.sites.reduce((sum, site) => sum + site.inputs * space.rank, 0)
}
