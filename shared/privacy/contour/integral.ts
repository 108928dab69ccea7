import { exp, log, rotation } from '../elementary.ts'
import type { Part, TotalLoss } from './loss.ts'
import { choosePart, type Lasting, lasting, partDelta, partMasses } from './part.ts'
import { bestCrossing, type Crossing, foldedAliases, type Period } from './period.ts'
import { foldComponent, newStretch, type Stretch } from './phases.ts'

const TWO_PI = 6.283185307179586
/** Truncation may cost this many times as much as aliases: the bound on it counts no oscillation. */
const TRUNCATION = 30
/** A sum this small against its terms is rounding. */
const CANCELLED = 1e-6
const STRETCH_FIRST = 16
const STRETCH_MAX = 512

/** The integrand without e^(-it eps), known at the midpoints t = (k + 1/2) step: delta at any epsilon near by. */
export interface Integrand {
  readonly loss: TotalLoss
  readonly crossing: Crossing
  readonly period: Period
  readonly part: Part
  readonly partMasses: readonly [number, number]
  readonly step: number
  /** Products over z (z+1), relative to e^K(c). */
  readonly re: readonly number[]
  readonly im: readonly number[]
}

/** log delta and its derivative in epsilon. */
export interface LogDelta {
  readonly value: number
  readonly slope: number
}

/** Appends a stretch's values over z (z+1). */
const append = (stretch: Stretch, tilt: number, re: number[], im: number[]) => {
  const { from, step, length, whole, part } = stretch
  for (let k = 0; k < length; k++) {
    const t = from + k * step
    const x = whole[0][k]! - part[0][k]!
    const y = whole[1][k]! - part[1][k]!
    const a = tilt * (tilt + 1) - t * t
    const b = (2 * tilt + 1) * t
    const size = a * a + b * b
    re.push((x * a + y * b) / size)
    im.push((y * a - x * b) / size)
  }
}

/** Mean size of the last quarter of the values. */
const recent = (re: readonly number[], im: readonly number[]) => {
  const from = Math.floor(re.length * 0.75)
  let sum = 0
  for (let k = from; k < re.length; k++) sum += Math.sqrt(re[k]! * re[k]! + im[k]! * im[k]!)
  return sum / (re.length - from)
}

/** Sum of Re(v e^(-it eps)), of its derivative in eps and of its size over the midpoints from number `start` on. */
const sums = (
  { re, im, step, crossing }: Pick<Integrand, 're' | 'im' | 'step' | 'crossing'>,
  epsilon: number,
  start = 0,
) => {
  const point = new Float64Array(2)
  rotation(-(start + 0.5) * step * epsilon, point)
  let [x, y] = [point[0]!, point[1]!]
  rotation(-step * epsilon, point)
  const [turnX, turnY] = [point[0]!, point[1]!]
  let [value, derivative, size] = [0, 0, 0]
  for (let k = start; k < re.length; k++) {
    const real = re[k]! * x - im[k]! * y
    const imaginary = re[k]! * y + im[k]! * x
    value += real
    size += Math.abs(real) + Math.abs(imaginary)
    derivative -= crossing.tilt * real - (k + 0.5) * step * imaginary
    const turned = x * turnX - y * turnY
    y = x * turnY + y * turnX
    x = turned
  }
  return { value, derivative, size }
}

/** Cost of a point beside its phases. */
const POINT_COST = 64

/**
 * Folds all components into a stretch. Returns the greatest size of the product of those that do not last over its last
 * quarter, under which that of all stays; null where nodes would be too many.
 */
const foldAll = (
  stretch: Stretch,
  { loss, lasts }: { loss: TotalLoss; lasts: Lasting },
  at: { tilt: number; part: Part },
) => {
  let envelope = 1
  let folded = 0
  const fading = loss.components.filter((component) => !lasts.components.has(component))
  for (const component of [...fading, ...lasts.components]) {
    const spent = foldComponent(stretch, component, at)
    if (spent === null) return null
    loss.budget.left -= spent + POINT_COST * stretch.length
    if (++folded === fading.length) envelope = lastQuarter(stretch)
  }
  return envelope
}

const lastQuarter = ({ length, whole: [re, im] }: Stretch) => {
  let most = 0
  for (let k = Math.floor(length * 0.75); k < length; k++) most = Math.max(most, re[k]! * re[k]! + im[k]! * im[k]!)
  return Math.sqrt(most)
}

/**
 * The integrand along the vertical line through a crossing, up to where what is left is below the tolerance.
 * @returns null where that takes more than what is left of the budget
 */
export const integrandAt = (loss: TotalLoss, saddle: Crossing): Integrand | null => {
  const best = bestCrossing(loss, saddle)
  if (best === null) return null
  const { crossing, period } = best
  const { tilt, epsilon, tolerance } = crossing
  const part = choosePart(loss, crossing)
  const step = TWO_PI / period.length
  const lasts = lasting(loss, part, tilt)
  const [re, im]: [number[], number[]] = [[], []]
  let value = 0
  for (let length = STRETCH_FIRST; ; length = Math.min(2 * length, STRETCH_MAX)) {
    const stretch = newStretch((re.length + 0.5) * step, step, length, part)
    const envelope = foldAll(stretch, { loss, lasts }, { tilt, part })
    if (envelope === null) return null
    append(stretch, tilt, re, im)
    value += sums({ re, im, step, crossing }, epsilon, re.length - length).value
    const reached = re.length * step
    const size = Math.max(recent(re, im), (lasts.mass * envelope) / reached / reached)
    if (reached > lasts.frequency && size * re.length < TRUNCATION * tolerance * Math.abs(value))
      return { loss, crossing, period, part, partMasses: partMasses(loss, part), step, re, im }
    if (loss.budget.left < 0) return null
  }
}

/** log delta at an epsilon from the integrand, or null where it has cancelled. */
export const logDeltaOf = (integrand: Integrand, epsilon: number): LogDelta | null => {
  const { loss, crossing, period, part, step } = integrand
  const { tilt, moments } = crossing
  const logScale = moments.value - tilt * epsilon
  const { value, derivative, size } = sums(integrand, epsilon)
  if (Math.abs(value) < CANCELLED * size) return null
  const factor = (2 * step) / TWO_PI
  const aliases = period.folded ? foldedAliases(period, { tilt, epsilon }, integrand.partMasses) * exp(-logScale) : 0
  const total = value * factor - aliases + partDelta(loss, part, { epsilon, logScale: -logScale })
  return total > 0 ? { value: logScale + log(total), slope: (derivative * factor) / total } : null
}
