import { type LoraSpace, segmentLengths, segmentOffsets } from '../../../shared/zo/index.ts'
import type { FactorInput } from '../graph/side.ts'
import { coreFactor } from './bases.ts'

/** One input of the tail: values and dimensions. */
export interface FactorValues {
  readonly name: string
  readonly values: Float32Array
  readonly dims: readonly number[]
}

/** Basis U of each site, row-major [inputs, rank], where the core R of U R V is trained. */
export type LeftBases = readonly Float32Array[] | undefined

/** The factor A of each group at one site, row-major [inputs, rank]: trained as it is, or U R. */
function factorsOf(groups: readonly Float32Array[], space: LoraSpace, site: number, bases: LeftBases): Float32Array[] {
  const offset = segmentOffsets(space)[site]!
  const length = segmentLengths(space)[site]!
  const trained = groups.map((group) => group.subarray(offset, offset + length))
  const basis = bases?.[site]
  return basis ? trained.map((core) => coreFactor(basis, core, space.rank)) : trained
}

/** [G, inputs, rank]: the factors of the groups one after another. */
function stacked(factors: readonly Float32Array[]): Float32Array {
  const length = factors[0]!.length
  const values = new Float32Array(factors.length * length)
  factors.forEach((factor, g) => {
    values.set(factor, g * length)
  })
  return values
}

/** [inputs, G * rank]: row i holds row i of the factor of each group. */
function wide(factors: readonly Float32Array[], rank: number): Float32Array {
  const length = factors[0]!.length
  const values = new Float32Array(factors.length * length)
  const width = factors.length * rank
  factors.forEach((factor, g) => {
    for (let at = 0; at < length; at++) {
      const row = Math.floor(at / rank)
      values[row * width + g * rank + (at % rank)] = factor[at]!
    }
  })
  return values
}

/** Lays out the flat trained vectors of some groups as the tail wants them; `plain` inputs take one group. */
export function layOut(
  inputs: readonly FactorInput[],
  space: LoraSpace,
  groups: readonly Float32Array[],
  bases: LeftBases,
): FactorValues[] {
  return inputs.map(({ name, site, layout }): FactorValues => {
    const factors = factorsOf(groups, space, site, bases)
    const { inputs: rows } = space.sites[site]!
    if (layout === 'wide') return { name, values: wide(factors, space.rank), dims: [rows, groups.length * space.rank] }
    const dims = [rows, space.rank]
    return layout === 'stacked'
      ? { name, values: stacked(factors), dims: [groups.length, ...dims] }
      : { name, values: stacked(factors.slice(0, 1)), dims }
  })
}
