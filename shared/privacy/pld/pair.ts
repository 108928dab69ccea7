import { exp, expm1, log, log1p, normalTail, TAIL_ERROR } from '../elementary.ts'
import type { MechanismEvent } from '../event.ts'

/**
 * Dominating pairs (P, Q) of one release: delta(eps) of the release is at most E_P[(1 - e^(eps - L))_+] with the loss
 * L = log dP/dQ, for every pair of neighbouring data sets. With a(y) = 1 - q + q e^y:
 *
 * - remove: P = (1-q) M(0) + q M(1), Q = M(0), L = log a(y(x));
 * - add: P = M(0), Q = (1-q) M(0) + q M(1), L = -log a(y(x));
 * - replace: P = (1-q) M(0) + q M(-1), Q = (1-q) M(0) + q M(1), its own mirror image: two contributions of full length in
 *   opposite directions,
 *
 * where y(x) is the log ratio of the noise densities at x - 1 and at x: (2x-1)/(2s^2) for the Gaussian,
 * (|x| - |x-1|)/b for the Laplace distribution. (Zhu, Dong, Wang 2022, arXiv 2106.08567, for dominance and why a
 * composition is analysed direction by direction.) L is monotone in x, so every question about L is one about x.
 */
export interface DominatingPair {
  /** Point masses of the loss, by increasing loss. */
  readonly atoms: readonly { readonly loss: number; readonly p: number }[]
  /**
   * Where losses crowd when few units are sampled: at `loss`, with `below` of 1 parts under it and the rest above. Null
   * where no loss is favoured.
   */
  readonly crowd: { readonly loss: number; readonly below: number } | null
  /**
   * Masses of the loss beside its atoms, on both sides of `loss`.
   * @param masses receives P(L > loss), Q(L > loss), P(L <= loss), Q(L <= loss) and a bound on the relative rounding
   *   error of each, at this loss or one that rounding moved by a few ulps of 1 + |loss|
   */
  masses(loss: number, masses: Float64Array): void
}

/** One dominating pair for each direction in which neighbours may differ. */
export type DirectedPairs = readonly DominatingPair[]

/** Half an ulp, relative. */
const UNIT = 2 ** -53

/** y with a(y) = e^loss, that is log((e^loss - 1 + q) / q); -Infinity where a(y) > e^loss for every y. */
const exponentOf = (loss: number, rate: number): number => {
  if (rate === 1) return loss
  if (loss > 30) return loss - log(rate) + log1p((rate - 1) * exp(-loss))
  const ratio = expm1(loss) / rate
  return ratio <= -1 ? Number.NEGATIVE_INFINITY : log1p(ratio)
}

/**
 * Relative error of a normal tail whose argument has three roundings, and noise that was merged of several: d log S(t)/dt
 * is below |t| + 1.
 */
const tailError = (t: number) => TAIL_ERROR + 4 * UNIT + 8 * UNIT * Math.abs(t) * (Math.abs(t) + 1)

const set = (masses: Float64Array, upper: readonly [number, number], lower: readonly [number, number]) => {
  masses[0] = upper[0]
  masses[1] = upper[1]
  masses[2] = lower[0]
  masses[3] = lower[1]
}

const gaussian = (noise: number, rate: number): DirectedPairs => {
  const rest = 1 - rate
  const half = 0.5 / noise
  /** Tails of the mixture and of the noise alone beyond the x with log a = loss. */
  const split = (loss: number) => {
    const middle = noise * exponentOf(loss, rate)
    const still = middle + half
    const moved = middle - half
    const mixture = (sign: number) => rest * normalTail(sign * still) + rate * normalTail(sign * moved)
    return { still, moved, mixture }
  }
  // The release of a batch without the unit gains or loses log(1-q) nearly.
  const edge = rate < 1 ? log1p(-rate) : null
  const errorOf = (t: number, u: number) => (Number.isFinite(t) ? Math.max(tailError(t), tailError(u)) : TAIL_ERROR)
  const remove: DominatingPair = {
    atoms: [],
    crowd: edge === null ? null : { loss: edge, below: 0.1 },
    masses(loss, masses) {
      const { still, moved, mixture } = split(loss)
      set(masses, [mixture(1), normalTail(still)], [mixture(-1), normalTail(-still)])
      masses[4] = errorOf(still, moved)
    },
  }
  const add: DominatingPair = {
    atoms: [],
    crowd: edge === null ? null : { loss: -edge, below: 0.8 },
    masses(loss, masses) {
      const { still, moved, mixture } = split(-loss)
      set(masses, [normalTail(-still), mixture(-1)], [normalTail(still), mixture(1)])
      masses[4] = errorOf(still, moved)
    },
  }
  return [remove, add]
}

/** asinh(r/c sinh(v)) for v >= 0, given log(r/c) (-Infinity where r = 0), without overflow. */
const asinhOfScaledSinh = (logScale: number, v: number): number => {
  if (v === 0 || logScale === Number.NEGATIVE_INFINITY) return 0
  const logSinh = v < 20 ? log((expm1(v) - expm1(-v)) / 2) : v + log1p(-exp(-2 * v)) - log(2)
  const logZ = logScale + logSinh
  // asinh z = log(z + sqrt(z^2 + 1)); beyond e^20, log(2z) to the last bit.
  if (logZ > 20) return logZ + log(2)
  const z = exp(logZ)
  return log1p(z + (z * z) / (1 + Math.sqrt(1 + z * z)))
}

/** The x with L(x) = loss solves c e^loss w^2 + r (e^loss - 1) w - c = 0, w = e^(x/s^2), c = q e^(-1/(2s^2)), r = 1-q. */
const gaussianReplace = (noise: number, rate: number): DirectedPairs => {
  const rest = 1 - rate
  const logScale = rest === 0 ? Number.NEGATIVE_INFINITY : log(rest / rate) + 0.5 / noise / noise
  const shift = 1 / noise
  const mixture = (t: number, by: number) => rest * normalTail(t) + rate * normalTail(t + by)
  return [
    {
      atoms: [],
      crowd: { loss: 0, below: 0.45 },
      masses(loss, masses) {
        const half = Math.abs(loss) / 2
        const t = Math.sign(loss) * noise * (half + asinhOfScaledSinh(logScale, half))
        // L falls with x, and x/s = -t: L > loss where the noise lies below -t.
        set(masses, [mixture(t, -shift), mixture(t, shift)], [mixture(-t, shift), mixture(-t, -shift)])
        masses[4] = tailError(Math.abs(t) + shift)
      },
    },
  ]
}

/** P(Laplace(0, b) > x). */
const laplaceTail = (x: number, scale: number) => (x > 0 ? exp(-x / scale) / 2 : 1 - exp(x / scale) / 2)

/** Relative error of a mass of Laplace noise: exponentials of an argument with three roundings. */
const laplaceError = (scale: number) => 16 * UNIT * (1 + 2 / scale)

/** Mass of Laplace noise centred at `centre` between two points on one side of it, without cancellation. */
const laplaceBetween = (from: number, to: number, centre: number, scale: number): number => {
  const near = from >= centre ? from - centre : centre - to
  return (exp(-near / scale) * -expm1((from - to) / scale)) / 2
}

/** log a(y), keeping the digits of small and of large values. */
const lossOf = (y: number, rate: number): number => {
  if (rate === 1) return y
  if (y > 30) return y + log(rate) + log1p(((1 - rate) / rate) * exp(-y))
  return y < -0.5 ? log(1 - rate + rate * exp(y)) : log1p(rate * expm1(y))
}

const laplace = (scale: number, rate: number): DirectedPairs => {
  const rest = 1 - rate
  const mixture = (still: number, moved: number) => rest * still + rate * moved
  const edge = 1 / scale
  const [low, high] = [lossOf(-edge, rate), lossOf(edge, rate)]
  /** Where in [0, 1] log a equals `loss`: the loss is continuous there, and constant on either side. */
  const position = (loss: number) => Math.min(1, Math.max(0, (1 + scale * exponentOf(loss, rate)) / 2))
  const still = (from: number, to: number) => laplaceBetween(from, to, 0, scale)
  const moved = (from: number, to: number) => laplaceBetween(from, to, 1, scale)
  const ofMixture = (from: number, to: number) => mixture(still(from, to), moved(from, to))
  const half = 0.5
  const far = laplaceTail(1, scale)
  const error = laplaceError(scale)
  return [
    {
      atoms: [
        { loss: low, p: mixture(half, far) },
        { loss: high, p: mixture(far, half) },
      ],
      crowd: null,
      masses(loss, masses) {
        const x = position(loss)
        set(masses, [ofMixture(x, 1), still(x, 1)], [ofMixture(0, x), still(0, x)])
        masses[4] = error
      },
    },
    {
      atoms: [
        { loss: -high, p: far },
        { loss: -low, p: half },
      ],
      crowd: null,
      masses(loss, masses) {
        const x = position(-loss)
        set(masses, [still(0, x), ofMixture(0, x)], [still(x, 1), ofMixture(x, 1)])
        masses[4] = error
      },
    },
  ]
}

/**
 * Replacing one unit under Laplace noise: the loss is log a(y(-x)) - log a(y(x)), constant beyond |x| = 1, odd in x, and
 * falls in between; for 0 <= x <= 1 it is log a(-1/b) - log a((2x-1)/b).
 */
const laplaceReplace = (scale: number, rate: number): DirectedPairs => {
  const rest = 1 - rate
  const edge = 1 / scale
  const lowest = lossOf(-edge, rate)
  const top = lossOf(edge, rate) - lowest
  /** The x in [0, 1] with L(-x) = loss >= 0. */
  const depth = (loss: number) => {
    const y = exponentOf(loss + lowest, rate)
    return Math.min(1, Math.max(0, (1 + scale * y) / 2))
  }
  const between = (from: number, to: number, centre: number) => laplaceBetween(from, to, centre, scale)
  /** Masses of P between -to and -from, and of Q there; exchanged on the other side of 0. */
  const outer = (from: number, to: number): [number, number] => [
    rest * between(from, to, 0) + rate * between(from, to, 1),
    rest * between(from, to, 0) + rate * between(from, to, -1),
  ]
  const atomP = rest * laplaceTail(1, scale) + rate * 0.5
  const atomQ = rest * laplaceTail(1, scale) + rate * laplaceTail(2, scale)
  const error = laplaceError(scale)
  return [
    {
      atoms: [
        { loss: -top, p: atomQ },
        { loss: top, p: atomP },
      ],
      crowd: null,
      masses(loss, masses) {
        const x = depth(Math.abs(loss))
        const [far, farMirrored] = outer(x, 1)
        const [near, nearMirrored] = outer(0, x)
        const [all, allMirrored] = outer(0, 1)
        if (loss >= 0) set(masses, [far, farMirrored], [near + allMirrored, nearMirrored + all])
        else set(masses, [all + nearMirrored, allMirrored + near], [farMirrored, far])
        masses[4] = error
      },
    },
  ]
}

/** The dominating pairs of one release of an event, one for each direction: [remove, add], or the one of a replacement. */
export const dominatingPairs = (event: MechanismEvent): DirectedPairs => {
  const { mechanism, noiseMultiplier, samplingRate, neighbours } = event
  const replace = neighbours === 'replace-one'
  if (mechanism === 'gaussian') return (replace ? gaussianReplace : gaussian)(noiseMultiplier, samplingRate)
  return (replace ? laplaceReplace : laplace)(noiseMultiplier, samplingRate)
}
