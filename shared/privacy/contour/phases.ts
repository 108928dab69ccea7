import { exp, rotation } from '../elementary.ts'
import { type Component, edgeOf, NODE_COST, type Part, shareOf } from './loss.ts'
import type { LossNodes } from './nodes.ts'

/** Products over components at the points t = from + k step, 0 <= k < length, of one stretch of the contour. */
export interface Stretch {
  readonly from: number
  readonly step: number
  readonly length: number
  /** E e^(itL) under the tilted P, real and imaginary. */
  readonly whole: readonly [Float64Array, Float64Array]
  /** The same over the part set aside, 0 if there is none. */
  readonly part: readonly [Float64Array, Float64Array]
}

export const newStretch = (from: number, step: number, length: number, part: Part): Stretch => ({
  from,
  step,
  length,
  whole: [new Float64Array(length).fill(1), new Float64Array(length)],
  part: [new Float64Array(length).fill(part === null ? 0 : 1), new Float64Array(length)],
})

/** Nodes below this share of the greatest are dropped, over the number of releases. */
const SHARE_MIN = 1e-13

/** Structure of arrays for the inner loop: masses e^(it L) and their turns e^(i step L). */
interface Phases {
  readonly length: number
  readonly re: Float64Array
  readonly im: Float64Array
  readonly turnRe: Float64Array
  readonly turnIm: Float64Array
  readonly share: Float64Array
}

/** The nodes that count under the tilt, and their masses, of sum 1. */
const tilted = (nodes: LossNodes, tilt: number, count: number) => {
  const { loss, logMass } = nodes
  let top = Number.NEGATIVE_INFINITY
  for (let i = 0; i < loss.length; i++) top = Math.max(top, logMass[i]! + tilt * loss[i]!)
  const kept: number[] = []
  const masses: number[] = []
  let sum = 0
  for (let i = 0; i < loss.length; i++) {
    const below = logMass[i]! + tilt * loss[i]! - top
    if (below < -60) continue
    const mass = exp(below)
    sum += mass
    if (mass * count < SHARE_MIN) continue
    kept.push(i)
    masses.push(mass)
  }
  return { kept, masses, sum }
}

const startPhases = (
  nodes: LossNodes,
  request: { tilt: number; count: number; part: Part; from: number; step: number },
): Phases => {
  const { kept, masses, sum } = tilted(nodes, request.tilt, request.count)
  const length = kept.length
  const [re, im] = [new Float64Array(length), new Float64Array(length)]
  const [turnRe, turnIm] = [new Float64Array(length), new Float64Array(length)]
  const share = new Float64Array(length)
  const point = new Float64Array(2)
  for (let i = 0; i < length; i++) {
    const loss = nodes.loss[kept[i]!]!
    const mass = masses[i]! / sum
    rotation(request.from * loss, point)
    re[i] = mass * point[0]!
    im[i] = mass * point[1]!
    rotation(request.step * loss, point)
    turnRe[i] = point[0]!
    turnIm[i] = point[1]!
    share[i] = shareOf(request.part, nodes, kept[i]!)
  }
  return { length, re, im, turnRe, turnIm, share }
}

/** Writes the sums over all nodes to sums[0..1], over the part to sums[2..3], and turns every phase by one step. */
const advance = ({ length, re, im, turnRe, turnIm, share }: Phases, sums: Float64Array) => {
  let wholeRe = 0
  let wholeIm = 0
  let partRe = 0
  let partIm = 0
  for (let i = 0; i < length; i++) {
    const x = re[i]!
    const y = im[i]!
    const c = turnRe[i]!
    const s = turnIm[i]!
    const a = share[i]!
    wholeRe += x
    wholeIm += y
    partRe += a * x
    partIm += a * y
    re[i] = x * c - y * s
    im[i] = x * s + y * c
  }
  sums[0] = wholeRe
  sums[1] = wholeIm
  sums[2] = partRe
  sums[3] = partIm
}

const multiply = ([re, im]: readonly [Float64Array, Float64Array], k: number, x: number, y: number) => {
  const a = re[k]!
  const b = im[k]!
  re[k] = a * x - b * y
  im[k] = a * y + b * x
}

/** Multiplies product[k] by (x + iy)^count, by repeated squaring: no angle is ever taken. */
const multiplyPower = (
  product: readonly [Float64Array, Float64Array],
  k: number,
  { x, y, count }: { x: number; y: number; count: number },
) => {
  for (let rest = count; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) multiply(product, k, x, y)
    const square = x * x - y * y
    y = 2 * x * y
    x = square
  }
}

const foldNormal = (stretch: Stretch, variance: number, tilt: number) => {
  const point = new Float64Array(2)
  for (let k = 0; k < stretch.length; k++) {
    const t = stretch.from + k * stretch.step
    const size = exp(-0.5 * variance * t * t)
    rotation(t * variance * (tilt + 0.5), point)
    if (size > 0) multiply(stretch.whole, k, size * point[0]!, size * point[1]!)
    else multiply(stretch.whole, k, 0, 0)
  }
}

/**
 * Multiplies a stretch by one component's E e^(itL) under its tilted P, and by that over the part.
 * @returns its cost, or null where the nodes would be too many
 */
export const foldComponent = (
  stretch: Stretch,
  component: Component,
  { tilt, part }: { tilt: number; part: Part },
): number | null => {
  if (component.kind === 'normal') {
    foldNormal(stretch, component.variance, tilt)
    return stretch.length
  }
  const { from, step, length } = stretch
  const { count } = component
  const nodes = component.rule({ tilt, frequency: from + step * length, edge: edgeOf(part) })
  if (nodes === null) return null
  const phases = startPhases(nodes, { tilt, count, part, from, step })
  const sums = new Float64Array(4)
  for (let k = 0; k < length; k++) {
    advance(phases, sums)
    multiplyPower(stretch.whole, k, { x: sums[0]!, y: sums[1]!, count })
    if (part !== null) multiplyPower(stretch.part, k, { x: sums[2]!, y: sums[3]!, count })
  }
  return phases.length * length + NODE_COST * nodes.loss.length
}
