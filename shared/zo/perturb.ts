import { direction } from './direction.ts'
import { directionScale, type Space } from './space.ts'

/** Where the losses of a round are taken: around `center`, along `directions` directions of that round. */
export interface Perturbation {
  /** Length d. */
  readonly center: Float32Array
  readonly round: number
  /** K */
  readonly directions: number
  /** phi */
  readonly radius: number
  /** `two`: center + phi z_k and center - phi z_k. `one`: the center itself, once, and center + phi z_k. */
  readonly sides: 'two' | 'one'
}

/** Number of perturbed vectors (groups) of a round. */
export function groupCount({ directions, sides }: Pick<Perturbation, 'directions' | 'sides'>): number {
  return sides === 'two' ? 2 * directions : 1 + directions
}

/** What a group is, in the order 0+, 0-, 1+, 1-, ... of two sides, or base, 0+, 1+, ... of one; sign 0 is the base. */
export function groupAt(group: number, sides: Perturbation['sides']): { k: number; sign: 1 | -1 | 0 } {
  if (sides === 'two') return { k: group >> 1, sign: group % 2 === 0 ? 1 : -1 }
  return group === 0 ? { k: 0, sign: 0 } : { k: group - 1, sign: 1 }
}

/** Length of a step along the integers of a direction, in float32. @param z the direction; read on the sphere alone. */
export function perturbationStep(radius: number, space: Space, z?: Int8Array): number {
  return Math.fround(radius * directionScale(space, z))
}

/** center + step * z, each product and each sum rounded to float32; a negative step is the other side. */
export function perturb(center: Float32Array, z: Int8Array, step: number): Float32Array {
  return center.map((a, i) => a + Math.fround(step * z[i]!))
}

/**
 * Perturbed vectors of some groups, one after another.
 * @param groups part of the groups, `from` inclusive to `to` exclusive; default: all of them.
 * @returns row-major [to - from, d]
 */
export function perturbedFactors(
  at: Perturbation,
  run: { seed: string; space: Space },
  groups: { from: number; to: number } = { from: 0, to: groupCount(at) },
): Float32Array<ArrayBuffer> {
  const dimension = at.center.length
  const out = new Float32Array((groups.to - groups.from) * dimension)
  let known: { k: number; z: Int8Array } | undefined
  for (let group = groups.from; group < groups.to; group++) {
    const { k, sign } = groupAt(group, at.sides)
    if (sign !== 0 && known?.k !== k) known = { k, z: direction(run.seed, { round: at.round, k }, run.space) }
    const step = known && sign * perturbationStep(at.radius, run.space, known.z)
    const values = sign === 0 || !known ? at.center : perturb(at.center, known.z, step!)
    out.set(values, (group - groups.from) * dimension)
  }
  return out
}
