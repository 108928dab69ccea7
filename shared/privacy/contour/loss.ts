import { exp, log, normalTail } from '../elementary.ts'
import { CUT_WIDTHS, type LossNodes, type NodeRule } from './nodes.ts'

/** `count` releases with one node rule, or all Gaussian releases without sampling, merged. */
export type Component =
  | {
      readonly kind: 'sampled'
      readonly count: number
      readonly rule: NodeRule
      readonly momentNodes: MomentNodes
      /** Has the loss point masses? */
      readonly atomic: boolean
    }
  /** L is normal with this variance, and mean half of it. */
  | { readonly kind: 'normal'; readonly variance: number }

/** The total loss L of a composition, in one direction: K(c) = log E_P e^(cL) is a sum over components. */
export interface TotalLoss {
  readonly components: readonly Component[]
  readonly budget: Budget
}

/** What one answer may still cost, counted in phases turned by one step; every loop over nodes draws on it. */
export interface Budget {
  left: number
}

/** An exponential costs this many turns, and making a node this many. */
const EXP_COST = 4
export const NODE_COST = 40

/** K and its first two derivatives at one tilt. */
export interface Moments {
  readonly value: number
  readonly mean: number
  readonly variance: number
}

/** Nodes for real orders, remembered up to the greatest tilt asked for. */
export type MomentNodes = (tilt: number) => { readonly nodes: LossNodes; readonly logTotal: number } | null

const TILT_START = 8

/** Sum of e^(logMass + tilt loss), as its log, and with it the mean and variance of the loss. */
const tiltedMoments = ({ loss, logMass }: LossNodes, tilt: number): Moments => {
  let top = Number.NEGATIVE_INFINITY
  for (let i = 0; i < loss.length; i++) top = Math.max(top, logMass[i]! + tilt * loss[i]!)
  let [sum, first, second] = [0, 0, 0]
  for (let i = 0; i < loss.length; i++) {
    const below = logMass[i]! + tilt * loss[i]! - top
    if (below < -60) continue
    const mass = exp(below)
    const scaled = mass * loss[i]!
    sum += mass
    first += scaled
    second += scaled * loss[i]!
  }
  const mean = first / sum
  return { value: top + log(sum), mean, variance: Math.max(0, second / sum - mean * mean) }
}

/** The memory behind `MomentNodes`. */
export const rememberNodes = (rule: NodeRule): MomentNodes => {
  let reach = 0
  let known: ReturnType<MomentNodes> = null
  return function momentNodes(tilt: number) {
    if (tilt <= reach) return known
    reach = Math.max(TILT_START, 2 * tilt)
    const nodes = rule({ tilt: reach, frequency: 0, edge: null })
    known = nodes && { nodes, logTotal: tiltedMoments(nodes, 0).value }
    return known
  }
}

const NOTHING: Moments = { value: 0, mean: 0, variance: 0 }

const componentMoments = (component: Component, tilt: number, budget: Budget): Moments | null => {
  if (component.kind === 'normal') {
    const { variance } = component
    return { value: 0.5 * variance * tilt * (tilt + 1), mean: variance * (tilt + 0.5), variance }
  }
  const known = component.momentNodes(Math.max(1, tilt))
  if (known === null || budget.left < 0) return null
  budget.left -= EXP_COST * known.nodes.loss.length
  const { value, mean, variance } = tiltedMoments(known.nodes, tilt)
  const { count } = component
  return { value: count * (value - known.logTotal), mean: count * mean, variance: count * variance }
}

/** K, K' and K'' of the total loss at a real order (a negative one is right near 0 only), or null beyond nodes and budget. */
export const momentsAt = ({ components, budget }: TotalLoss, tilt: number): Moments | null => {
  let sum = NOTHING
  for (const component of components) {
    const added = componentMoments(component, tilt, budget)
    if (added === null) return null
    const { value, mean, variance } = sum
    sum = { value: value + added.value, mean: mean + added.mean, variance: variance + added.variance }
  }
  return sum
}

/**
 * A part A of every release's P whose own contribution to delta is known, so that the integral may leave it out: with
 * M = E_P e^(zL), M_1 M_2 .. - A_1 A_2 .. falls off where both products do not. Null: none is set aside.
 *
 * - `below`: mass of losses up to about `edge`, cut off smoothly. Releases at small rates leave most of P in a peak near
 *   loss 0 that is too narrow for its transform to fall off; where no sum of such losses reaches epsilon, it adds
 *   nothing to delta.
 * - `atoms`: the two point masses of Laplace noise, whose sums are binomial.
 */
export type Part = { readonly kind: 'below'; readonly edge: number } | { readonly kind: 'atoms' } | null

/** The share of a node that belongs to the part. */
export const shareOf = (part: Part, nodes: LossNodes, i: number): number => {
  if (part === null) return 0
  if (part.kind === 'atoms') return i < nodes.atoms ? 1 : 0
  return normalTail((nodes.loss[i]! / part.edge - 1) * CUT_WIDTHS)
}

/**
 * Returns K at real orders, positive or negative, of what counts at one tilt: nodes of less than `floor` of the tilted
 * mass are left out, so that a far and rare loss that does not matter at the tilt does not rule over orders near by.
 * Null beyond the nodes.
 */
export const countingMoments = ({ components, budget }: TotalLoss, tilt: number, floor: number) => {
  const logFloor = log(floor)
  const sampled: { count: number; nodes: LossNodes; logTotal: number }[] = []
  let variance = 0
  for (const component of components) {
    if (component.kind === 'normal') {
      variance += component.variance
      continue
    }
    const known = component.momentNodes(Math.max(1, tilt))
    if (known === null) return null
    const { count } = component
    budget.left -= known.nodes.loss.length
    sampled.push({ count, nodes: countingNodes(known.nodes, tilt, logFloor - log(count)), logTotal: known.logTotal })
  }
  return function valueAt(order: number): number {
    for (const { nodes } of sampled) budget.left -= EXP_COST * nodes.loss.length
    const merged = 0.5 * variance * order * (order + 1)
    return sampled.reduce(
      (sum, { count, nodes, logTotal }) => sum + count * (tiltedMoments(nodes, order).value - logTotal),
      merged,
    )
  }
}

/** The nodes with more than e^logFloor of the greatest node's mass. */
const countingNodes = ({ loss, logMass, atoms }: LossNodes, tilt: number, logFloor: number): LossNodes => {
  let top = Number.NEGATIVE_INFINITY
  for (let i = 0; i < loss.length; i++) top = Math.max(top, logMass[i]! + tilt * loss[i]!)
  const counts = (i: number) => logMass[i]! + tilt * loss[i]! - top > logFloor
  return { loss: loss.filter((_, i) => counts(i)), logMass: logMass.filter((_, i) => counts(i)), atoms }
}

/** The cut of a part, or null. */
export const edgeOf = (part: Part): number | null => (part?.kind === 'below' ? part.edge : null)

/** Returns c -> log of E_P e^(cL) over the part alone, all components together; null where one has no such part. */
export const partMoments = ({ components, budget }: TotalLoss, part: Part, tiltMax: number) => {
  const known: { count: number; nodes: LossNodes; share: Float64Array }[] = []
  for (const component of components) {
    const nodes =
      component.kind === 'sampled' ? component.rule({ tilt: tiltMax, frequency: 0, edge: edgeOf(part) }) : null
    if (nodes === null || component.kind !== 'sampled' || budget.left < 0) return null
    budget.left -= NODE_COST * nodes.loss.length
    const share = nodes.loss.map((_, i) => shareOf(part, nodes, i))
    known.push({ count: component.count, nodes, share })
  }
  return function valueAt(tilt: number): number {
    let total = 0
    for (const { count, nodes, share } of known) {
      budget.left -= EXP_COST * share.length
      let sum = 0
      for (let i = 0; i < share.length; i++) {
        if (share[i]! > 0) sum += share[i]! * exp(nodes.logMass[i]! + tilt * nodes.loss[i]!)
      }
      total += count * log(sum)
    }
    return total
  }
}
