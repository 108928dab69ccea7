import { type LoraSpace, siteLength, siteOffsets } from '../../../shared/zo/index.ts'
import type { FactorInput } from '../graph/side.ts'

/** One input of the tail: values and dimensions. */
export interface FactorValues {
  readonly name: string
  readonly values: Float32Array
  readonly dims: readonly number[]
}

/** [G, inputs, rank]: the factors of the groups one after another. */
function stacked(groups: readonly Float32Array[], site: { offset: number; length: number }): Float32Array {
  const values = new Float32Array(groups.length * site.length)
  groups.forEach((group, g) => {
    values.set(group.subarray(site.offset, site.offset + site.length), g * site.length)
  })
  return values
}

/** [inputs, G * rank]: row i holds row i of the factor of each group. */
function wide(groups: readonly Float32Array[], site: { offset: number; length: number }, rank: number): Float32Array {
  const values = new Float32Array(groups.length * site.length)
  const width = groups.length * rank
  groups.forEach((group, g) => {
    for (let at = 0; at < site.length; at++) {
      const row = Math.floor(at / rank)
      values[row * width + g * rank + (at % rank)] = group[site.offset + at]!
    }
  })
  return values
}

/** Lays out the flat factors of some groups as the tail wants them. */
export function layOut(
  inputs: readonly FactorInput[],
  space: LoraSpace,
  groups: readonly Float32Array[],
): FactorValues[] {
  const offsets = siteOffsets(space)
  return inputs.map(({ name, site, layout }) => {
    const place = { offset: offsets[site]!, length: siteLength(space, site) }
    const rows = space.sites[site]!.inputs
    return layout === 'wide'
      ? { name, values: wide(groups, place, space.rank), dims: [rows, groups.length * space.rank] }
      : { name, values: stacked(groups, place), dims: [groups.length, rows, space.rank] }
  })
}

/** Enough groups in a call that the cost of the call does not count. */
const MOST_GROUPS = 64
/** What the largest tensor of a call may take, so that memory is bounded for any K; a few such tensors live at once. */
const MOST_BYTES = 2 ** 25

/**
 * Parts of the groups that run together: as few as the limits allow, of nearly equal size. A function of the graph and of
 * the number of groups, which are public, so that no record's losses depend on what else is evaluated.
 * @param groupElements float32 elements of the largest tensor for each group.
 */
export function groupParts(groups: readonly Float32Array[], groupElements: number): Float32Array[][] {
  const limit = Math.max(1, Math.min(MOST_GROUPS, Math.floor(MOST_BYTES / (4 * groupElements))))
  const parts = Math.ceil(groups.length / limit)
  const size = Math.ceil(groups.length / parts)
  return Array.from({ length: parts }, (_, part) => groups.slice(part * size, (part + 1) * size))
}
