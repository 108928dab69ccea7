import { maskHash } from '../mask.ts'
import { elementsOf, type PrunedSpace, type WeightTensor } from '../space.ts'
import { PruningError } from './error.ts'
import { bitsOf, type Cut, cutAt, isBetter, magnitudeOf, type Order } from './select.ts'

/** Whether entries compete with all others, or with those of their own tensor. */
export type Scope = 'global' | 'layer'

export interface Keep {
  /** Share of the entries that is kept: above 0, at most 1. */
  readonly keep: number
  /** Which end of |score|. */
  readonly order: Order
  readonly scope: Scope
  /** Whether each kept entry has a factor by its rank: see `rankWeights`. */
  readonly weighted?: boolean
}

export interface Pruned {
  readonly mask: Uint8Array
  readonly space: PrunedSpace
}

/** @throws PruningError `keep_out_of_range` */
export function requireKeep(keep: number): void {
  if (!(keep > 0 && keep <= 1)) throw new PruningError('keep_out_of_range', 'a keep rate is above 0 and at most 1')
}

/** ceil(keep * rivals): a product that underflows keeps one all the same. */
const keptCount = (keep: number, rivals: number): number => Math.max(1, Math.ceil(keep * rivals))

/** Entries that a mask of these tensors keeps in all: known before there is a mask. */
export function keptInAll(tensors: readonly WeightTensor[], { keep, scope }: Pick<Keep, 'keep' | 'scope'>): number {
  return rivalries(scope, tensors)
    .map((places) =>
      keptCount(
        keep,
        places.reduce((sum, place) => sum + elementsOf(tensors[place]!), 0),
      ),
    )
    .reduce((sum, count) => sum + count, 0)
}

/** Where each list begins, and behind them where the last ends. */
function startsOf(lengths: readonly number[]): number[] {
  const starts = [0]
  for (const length of lengths) starts.push(starts.at(-1)! + length)
  return starts
}

function requireFit(scores: readonly Float32Array[], tensors: readonly WeightTensor[]): void {
  if (tensors.every((tensor) => elementsOf(tensor) === 0))
    throw new PruningError('nothing_to_prune', 'the tensors have no entries')
  if (new Set(tensors.map(({ name }) => name)).size < tensors.length)
    throw new PruningError('named_twice', 'two tensors share a name, and so would their entries')
  const fits =
    scores.length === tensors.length && tensors.every((tensor, t) => scores[t]!.length === elementsOf(tensor))
  if (!fits) throw new PruningError('wrong_length', 'there is not one score for each entry of each tensor')
}

/** Sets the bits of what lies before a cut. @returns how many they are, and how many ties are left for what follows. */
function setKept(
  mask: Uint8Array,
  scores: Float32Array,
  at: { readonly start: number; readonly order: Order } & Cut,
): { kept: number; ties: number } {
  let { ties } = at
  let kept = 0
  const bits = bitsOf(scores)
  for (let i = 0; i < bits.length; i++) {
    const size = magnitudeOf(bits[i]!)
    if (!isBetter(at.order, size, at.bits)) {
      if (size !== at.bits || ties === 0) continue
      ties--
    }
    const bit = at.start + i
    mask[Math.floor(bit / 8)]! |= 1 << (bit % 8)
    kept++
  }
  return { kept, ties }
}

/** Tensors whose entries compete with one another, by their places. */
export function rivalries(scope: Scope, tensors: readonly WeightTensor[]): number[][] {
  const places = tensors.flatMap((tensor, place) => (elementsOf(tensor) > 0 ? [place] : []))
  return scope === 'global' ? [places] : places.map((place) => [place])
}

/**
 * The mask of the best entries by |score|: exactly ceil(keep * entries) of all tensors together, or of each. Of equal scores
 * the lower index comes first. A pure function of the bits of the scores.
 * @param scores one list for each tensor, row-major; left alone.
 * @throws PruningError `keep_out_of_range`, `nothing_to_prune`, `named_twice`, `wrong_length`, `not_finite`
 */
export function maskFromScores(
  scores: readonly Float32Array[],
  tensors: readonly WeightTensor[],
  { keep, order, scope }: Keep,
): Pruned {
  requireKeep(keep)
  requireFit(scores, tensors)
  const elements = tensors.map(elementsOf)
  const starts = startsOf(elements)
  const mask = new Uint8Array(Math.ceil(starts.at(-1)! / 8))
  const kept = elements.map(() => 0)
  for (const places of rivalries(scope, tensors)) {
    const rivals = places.reduce((sum, place) => sum + elements[place]!, 0)
    const among = places.map((place) => scores[place]!)
    const cut = cutAt(among, order, keptCount(keep, rivals))
    let { ties } = cut
    for (const place of places) {
      const set = setKept(mask, scores[place]!, { start: starts[place]!, order, bits: cut.bits, ties })
      kept[place] = set.kept
      ties = set.ties
    }
  }
  const counted = tensors.map(({ name, shape }, place) => ({ name, shape, kept: kept[place]! }))
  return { mask, space: { kind: 'pruned', tensors: counted, mask: maskHash(mask) } }
}
