import { exp, expm1, log } from '../elementary.ts'
import { type Component, type Part, partMoments, type TotalLoss } from './loss.ts'
import type { LossNodes } from './nodes.ts'
import type { Crossing } from './period.ts'

/** Cuts tried, as shares of epsilon; a lower one would not fall off before the work is spent. */
const EDGES = [0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.09, 0.06, 0.04, 0.025, 0.015]
/** With more components the search would cost more than it saves. */
const COMPONENTS_MANY = 8
/** Most rounds of which the sums of atoms are counted. */
const ROUNDS_MAX = 4096
const TILTS = [1, 1.5, 2, 3, 4.5, 7, 10, 15, 25, 40]

/** Is log delta of the sum of the part's losses certain to be below what is allowed (Chernoff, at some tilt)? */
const addsLittle = (
  valueAt: (tilt: number) => number,
  edge: number,
  limit: { crossing: Crossing; allowed: number },
) => {
  const { tilt, epsilon } = limit.crossing
  // Beyond 60, e^(cL) may overflow on the way to the cut's tail.
  const orders = TILTS.map((factor) => tilt * factor).filter((order) => order * edge <= 60)
  return orders.some((order) => valueAt(order) - order * epsilon <= limit.allowed)
}

/**
 * The part to set aside at a crossing: the one with the highest cut of which the contribution to delta is certain to be
 * below the tolerance. None where that part has no weight under the tilt.
 */
export const choosePart = (loss: TotalLoss, crossing: Crossing): Part => {
  if (isCountable(loss.components)) return { kind: 'atoms' }
  if (loss.components.some((component) => component.kind === 'sampled' && component.atomic)) return null
  const { epsilon, tilt, moments, tolerance } = crossing
  if (!(epsilon > 0) || loss.components.length > COMPONENTS_MANY) return null
  const allowed = moments.value - tilt * epsilon - log(tilt * (tilt + 1)) + log(tolerance) - 3
  for (const share of EDGES) {
    const part = { kind: 'below', edge: share * epsilon } as const
    const valueAt = partMoments(loss, part, tilt)
    if (valueAt === null) return null
    if (valueAt(tilt) - moments.value < log(tolerance) - 3) return null
    if (addsLittle(valueAt, part.edge, { crossing, allowed })) return part
  }
  return null
}

/** May the atoms of this composition be set aside? Of one kind of release only, and few enough to be counted. */
const isCountable = (components: readonly Component[]): boolean => {
  const [only] = components
  return components.length === 1 && only?.kind === 'sampled' && only.atomic && only.count <= ROUNDS_MAX
}

/** delta of the part alone at `epsilon`, times e^logScale: over the number of releases at the higher atom. */
export const partDelta = (
  loss: TotalLoss,
  part: Part,
  { epsilon, logScale }: { epsilon: number; logScale: number },
) => {
  const [component] = loss.components
  if (part?.kind !== 'atoms' || component?.kind !== 'sampled') return 0
  const known = component.momentNodes(1)!
  const { loss: losses, logMass } = known.nodes
  const { count } = component
  let sum = 0
  let logChoose = 0
  for (let high = 0; high <= count; high++) {
    const total = (count - high) * losses[0]! + high * losses[1]!
    const mass = logChoose + (count - high) * logMass[0]! + high * logMass[1]! - count * known.logTotal
    if (total > epsilon) sum -= exp(mass + logScale) * expm1(epsilon - total)
    logChoose += log((count - high) / (high + 1))
  }
  return sum
}

/** E_P 1 and E_P e^-L over the part, all releases together. */
export const partMasses = (loss: TotalLoss, part: Part): readonly [number, number] => {
  const valueAt = part && partMoments(loss, part, 1)
  return valueAt === null ? [0, 0] : [exp(valueAt(0)), exp(valueAt(-1))]
}

/** Periods of a lattice that are passed before the integrand may be called small. */
const LATTICE_PERIODS = 4
const TWO_PI = 6.283185307179586
/** Below this mass on atoms alone nothing comes back; well below rounding, as the rest of the mass helps a little. */
const MASS_MIN = 1e-60

/** Components that come back to some size however large t is, because of their atoms. */
export interface Lasting {
  readonly components: ReadonlySet<Component>
  /** That size, of all together: the tilted mass on atoms alone, or 0 where it is set aside. */
  readonly mass: number
  /** The t by which each has come back. */
  readonly frequency: number
}

export const lasting = ({ components }: TotalLoss, part: Part, tilt: number): Lasting => {
  const found = new Set<Component>()
  let mass = part === null ? 1 : 0
  let frequency = 0
  for (const component of components) {
    if (component.kind === 'normal' || !component.atomic) continue
    const nodes = component.rule({ tilt, frequency: 0, edge: null })
    if (nodes === null) continue
    const own = exp(component.count * log(atomsShare(nodes, tilt)))
    if (own < MASS_MIN) continue
    found.add(component)
    mass *= own
    frequency = Math.max(frequency, (LATTICE_PERIODS * TWO_PI) / Math.abs(nodes.loss[1]! - nodes.loss[0]!))
  }
  return { components: found, mass: found.size > 0 ? mass : 0, frequency }
}

const atomsShare = ({ loss, logMass, atoms }: LossNodes, tilt: number) => {
  const top = loss.reduce((most, value, i) => Math.max(most, logMass[i]! + tilt * value), Number.NEGATIVE_INFINITY)
  const masses = loss.map((value, i) => exp(logMass[i]! + tilt * value - top))
  const sum = (list: Float64Array) => list.reduce((total, mass) => total + mass, 0)
  return sum(masses.subarray(0, atoms)) / sum(masses)
}
