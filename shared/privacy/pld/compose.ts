import { exp, log } from '../elementary.ts'
import type { EnclosedLoss } from './discretise.ts'
import { type Transform, transformError, transformOf } from './fft.ts'

/** `count` releases whose loss is enclosed by the same lattice distributions. */
export interface EnclosedReleases {
  readonly loss: EnclosedLoss
  readonly count: number
}

/**
 * The loss of a whole composition on one lattice, exponentially tilted: entry i of `upper` times
 * exp(logMass - tilt * (loss_i - centre)) bounds the mass at loss_i = start + i * step from above, and so for `lower`
 * from below, FFT rounding included. Tilting puts the peak where the answer lies, so that rounding errors are small
 * beside the answer at any delta.
 */
export interface ComposedLoss {
  readonly step: number
  readonly start: number
  readonly centre: number
  readonly tilt: number
  readonly logMass: number
  readonly upper: Float64Array
  readonly lower: Float64Array
  /** Bounds on the tilted mass below and above the window. */
  readonly outside: { readonly below: number; readonly above: number }
  /** Mass at infinite loss, of the upper side. */
  readonly infinite: number
  /** Bound on the relative rounding error of masses, beside what the entries allow for. */
  readonly relative: number
  /** Bound on the rounding error of the losses themselves, in nats. */
  readonly shift: number
}

/** Limits of the work. */
export interface Effort {
  /** Tilted mass that may lie outside of the window, at either end. */
  readonly outside: number
  /** Largest FFT. */
  readonly pointsMax: number
}

const UNIT = 2 ** -53

interface Tilted {
  readonly count: number
  readonly first: number
  readonly upper: Float64Array
  readonly lower: Float64Array
  /** log of the sum of the upper masses times exp(tilt * loss). */
  readonly logSum: number
  /** Mean and variance of the index under the tilted masses. */
  readonly mean: number
  readonly variance: number
}

/** Both distributions times exp(tilt * loss), over the sum of the upper one. */
const tilted = ({ loss, count }: EnclosedReleases, tilt: number): Tilted => {
  const { lattice, first } = loss
  const size = loss.upper.length
  const growth = tilt * lattice.step
  const upper = new Float64Array(size)
  const lower = new Float64Array(size)
  let [sum, moment, square] = [0, 0, 0]
  for (let j = 0; j < size; j++) {
    const factor = exp(growth * (j - size + 1))
    upper[j] = loss.upper[j]! * factor
    lower[j] = loss.lower[j]! * factor
    sum += upper[j]!
    moment += upper[j]! * j
  }
  const middle = moment / sum
  for (let j = 0; j < size; j++) {
    upper[j]! /= sum
    lower[j]! /= sum
    square += upper[j]! * (j - middle) * (j - middle)
  }
  const logSum = log(sum) + tilt * (lattice.offset + (first + size - 1) * lattice.step)
  return { count, first, upper, lower, logSum, mean: first + middle, variance: square }
}

/** log E[exp(slope (index - mean))] under the tilted masses, the larger of both sides; Infinity where it overflows. */
const logMoment = ({ upper, lower, first, mean }: Tilted, slope: number): number => {
  const ratio = exp(slope)
  const start = slope * (first - mean)
  // A factor below the normal doubles has lost digits.
  if (start < -700) return Number.POSITIVE_INFINITY
  let factor = exp(start)
  let [above, below] = [0, 0]
  for (let j = 0; j < upper.length; j++) {
    above += upper[j]! * factor
    below += lower[j]! * factor
    factor *= ratio
  }
  const sum = Math.max(above, below)
  // About the mean it is never below 0 (Jensen): rounding must not make it so.
  return Number.isFinite(sum) ? Math.max(0, log(sum)) : Number.POSITIVE_INFINITY
}

/** Slopes tried, over the standard deviation of the sum. */
const SLOPES = [0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 10, 14, 20, 40]

/** Steps beyond the mean within which all but `mass` of the sum lies, on one side, by Chernoff's bound. */
const reach = (parts: readonly Tilted[], deviation: number, { mass, side }: { mass: number; side: 1 | -1 }): number => {
  let best = Number.POSITIVE_INFINITY
  for (const slope of SLOPES) {
    const d = slope / deviation
    const total = sum(parts, (part) => logMoment(part, side * d) + 8 * UNIT * part.upper.length)
    const candidate = (total - log(mass)) / d
    // The bound is convex in the slope: once it rises it goes on rising.
    if (candidate > best) break
    best = candidate
  }
  return best
}

const sum = (parts: readonly Tilted[], of: (part: Tilted) => number) =>
  parts.reduce((total, part) => total + part.count * of(part), 0)

interface Window {
  /** Lattice index of its first point, and its length, a power of two. */
  readonly first: number
  readonly size: number
  readonly mean: number
  /** The last index that the sum can have. */
  readonly largest: number
  readonly outside: ComposedLoss['outside']
}

/** The window that holds the sum, all of it or but for the mass allowed outside; null where it would be too long. */
const windowOf = (parts: readonly Tilted[], { outside, pointsMax }: Effort): Window | null => {
  const mean = sum(parts, (part) => part.mean)
  const deviation = Math.max(1, Math.sqrt(sum(parts, (part) => part.variance)))
  const smallest = sum(parts, (part) => part.first)
  const largest = sum(parts, (part) => part.first + part.upper.length - 1)
  const below = reach(parts, deviation, { mass: outside, side: -1 })
  const above = reach(parts, deviation, { mass: outside, side: 1 })
  const first = Math.max(smallest, Math.floor(mean - below) - 1)
  const needed = Math.min(largest, Math.ceil(mean + above) + 1) - first + 1
  if (!(needed <= pointsMax)) return null
  let size = 64
  while (size < needed) size *= 2
  return {
    first,
    size,
    mean,
    largest,
    outside: { below: first > smallest ? outside : 0, above: first + size - 1 < largest ? outside : 0 },
  }
}

interface Spectrum {
  /** Upper and lower, for frequencies 0 to size / 2. */
  readonly upperRe: Float64Array
  readonly upperIm: Float64Array
  readonly lowerRe: Float64Array
  readonly lowerIm: Float64Array
  /** A bound on the magnitudes of both, and on their errors. */
  readonly magnitude: Float64Array
  readonly error: Float64Array
}

const identity = (length: number): Spectrum => ({
  upperRe: new Float64Array(length).fill(1),
  upperIm: new Float64Array(length),
  lowerRe: new Float64Array(length).fill(1),
  lowerIm: new Float64Array(length),
  magnitude: new Float64Array(length).fill(1),
  error: new Float64Array(length),
})

/** Spectra of both distributions from one complex transform; losses beyond the window wrap around, as they do when added. */
const transformed = (part: Tilted, transform: Transform): { re: Float64Array; im: Float64Array } => {
  const { size } = transform
  const re = new Float64Array(size)
  const im = new Float64Array(size)
  let at = part.first - Math.floor(part.first / size) * size
  for (let j = 0; j < part.upper.length; j++) {
    re[at]! += part.upper[j]!
    im[at]! += part.lower[j]!
    at = at + 1 === size ? 0 : at + 1
  }
  transform.forward(re, im)
  return { re, im }
}

const realPower = (base: number, exponent: number): number => {
  let result = 1
  for (let [b, e] = [base, exponent]; e > 0; e = Math.floor(e / 2), b *= b) if (e % 2 === 1) result *= b
  return result
}

/** Multiplies re + i im, an entry of a spectrum, by the power of x + i y. */
const multiplyByPower = (
  into: { re: Float64Array; im: Float64Array },
  k: number,
  { x, y, count }: { x: number; y: number; count: number },
) => {
  let re = into.re[k]!
  let im = into.im[k]!
  let [a, b] = [x, y]
  for (let left = count; ; ) {
    if (left % 2 === 1) {
      const next = re * a - im * b
      im = re * b + im * a
      re = next
    }
    left = Math.floor(left / 2)
    if (left === 0) break
    const next = a * a - b * b
    b = 2 * a * b
    a = next
  }
  into.re[k] = re
  into.im[k] = im
}

/** Below this magnitude a frequency is left out, and its magnitude counted as error. */
const NEGLIGIBLE = 1e-30

/**
 * Multiplies a spectrum by a part's to the power of its count, with a running bound on the error:
 * |F^n - G^n| <= n |F - G| max(|F|, |G|)^(n-1).
 */
const multiply = (into: Spectrum, part: Tilted, transform: Transform) => {
  const { re, im } = transformed(part, transform)
  const { size } = transform
  const { count } = part
  // Both sums of magnitudes are at most 1 but for rounding.
  const wraps = Math.ceil(part.upper.length / size)
  const inputError = 3 * transformError(size) + 2 * wraps * UNIT
  const upper = { re: into.upperRe, im: into.upperIm }
  const lower = { re: into.lowerRe, im: into.lowerIm }
  for (let k = 0; k <= size / 2; k++) {
    const magnitude = into.magnitude[k]!
    if (magnitude === 0) continue
    const mirror = k === 0 ? 0 : size - k
    const [x, y, v, w] = [re[k]!, im[k]!, re[mirror]!, im[mirror]!]
    const [ux, uy, lx, ly] = [(x + v) / 2, (y - w) / 2, (y + w) / 2, (v - x) / 2]
    const bound = Math.sqrt(Math.max(ux * ux + uy * uy, lx * lx + ly * ly)) * (1 + 8 * UNIT) + inputError
    const rest = realPower(bound, count - 1)
    const power = rest * bound
    const product = magnitude * power
    into.error[k] = into.error[k]! * power + magnitude * rest * count * (inputError + 8 * UNIT * bound)
    if (product < NEGLIGIBLE) {
      into.error[k]! += product
      into.magnitude[k] = upper.re[k] = upper.im[k] = lower.re[k] = lower.im[k] = 0
      continue
    }
    into.magnitude[k] = product
    multiplyByPower(upper, k, { x: ux, y: uy, count })
    multiplyByPower(lower, k, { x: lx, y: ly, count })
  }
}

/** Both distributions of the sum, from the product of spectra by one transform, and the error bound of any entry. */
const inverted = (spectrum: Spectrum, transform: Transform) => {
  const { size } = transform
  const { upperRe, upperIm, lowerRe, lowerIm, magnitude, error } = spectrum
  const re = new Float64Array(size)
  const im = new Float64Array(size)
  let [errors, magnitudes] = [0, 0]
  for (let k = 0; k <= size / 2; k++) {
    re[k] = upperRe[k]! - lowerIm[k]!
    im[k] = upperIm[k]! + lowerRe[k]!
    const twice = k === 0 || k === size / 2 ? 1 : 2
    if (twice === 2) {
      re[size - k] = upperRe[k]! + lowerIm[k]!
      im[size - k] = lowerRe[k]! - upperIm[k]!
    }
    errors += twice * error[k]!
    magnitudes += twice * magnitude[k]!
  }
  transform.backward(re, im)
  return { re, im, error: ((errors + 3 * transformError(size) * magnitudes) / size) * (1 + 1e-9) }
}

/**
 * From wrapped-around indices to increasing losses, scaled, shifted by the error, not below 0, and 0 where the sum can not
 * be.
 */
const unwrapped = (values: Float64Array, { first, size, largest }: Window, shift: number): Float64Array => {
  const start = first - Math.floor(first / size) * size
  const last = Math.min(size - 1, largest - first)
  const masses = new Float64Array(size)
  for (let i = 0; i <= last; i++) masses[i] = Math.max(0, values[(start + i) & (size - 1)]! / size + shift)
  return masses
}

/** The parts that spread most come first: they leave the fewest frequencies to the others. */
const productOf = (parts: readonly Tilted[], transform: Transform): Spectrum => {
  const spectrum = identity(transform.size / 2 + 1)
  const spread = (part: Tilted) => part.count * part.variance
  for (const part of [...parts].sort((a, b) => spread(b) - spread(a))) multiply(spectrum, part, transform)
  return spectrum
}

/** Everything that the tilted entries do not carry: where they lie, what they leave out, how far off they may be. */
const framed = (releases: readonly EnclosedReleases[], parts: readonly Tilted[], tilt: number) => {
  const count = sum(parts, () => 1)
  const spans = releases.map(
    ({ loss }) => Math.min(745, tilt * loss.lattice.step * loss.upper.length) + loss.upper.length,
  )
  const heights = releases.map(({ loss: { lattice, first, upper } }) =>
    Math.max(
      Math.abs(lattice.offset + first * lattice.step),
      Math.abs(lattice.offset + (first + upper.length) * lattice.step),
    ),
  )
  return {
    offset: releases.reduce((total, { loss, count: times }) => total + times * loss.lattice.offset, 0),
    logSum: sum(parts, (part) => part.logSum),
    infinite: releases.reduce((total, { loss, count: times }) => total + times * loss.infinite, 0),
    relative: 4 * UNIT * releases.reduce((total, { count: times }, i) => total + times * (spans[i]! + 16), 0),
    shift: 48 * UNIT * releases.reduce((total, { count: times }, i) => total + times * (1 + heights[i]!), count),
  }
}

/**
 * Composes releases: the product of the spectra of all, one inverse transform.
 * @param tilt above 0; any value is right, the exponent of delta's decay near the answer makes it precise
 * @returns null where the window needs more than `pointsMax` points
 */
export const compose = (releases: readonly EnclosedReleases[], tilt: number, effort: Effort): ComposedLoss | null => {
  const parts = releases.map((release) => tilted(release, tilt))
  const window = windowOf(parts, effort)
  if (!window) return null
  const transform = transformOf(window.size)
  const { re, im, error } = inverted(productOf(parts, transform), transform)
  const { offset, logSum, infinite, relative, shift } = framed(releases, parts, tilt)
  const { step } = releases[0]!.loss.lattice
  const centre = offset + window.mean * step
  return {
    step,
    start: offset + window.first * step,
    centre,
    tilt,
    logMass: logSum - tilt * centre,
    upper: unwrapped(re, window, error),
    lower: unwrapped(im, window, -error),
    outside: window.outside,
    infinite,
    relative: relative + 8 * UNIT * (Math.abs(logSum) + Math.abs(tilt * centre)),
    shift,
  }
}
