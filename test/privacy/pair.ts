import { upperTail } from './tail.ts'

/** One release, in the words of the accountant's events. */
export interface Release {
  readonly mechanism: 'gaussian' | 'laplace'
  readonly noiseMultiplier: number
  readonly samplingRate: number
  readonly neighbours: 'add-remove' | 'zero-out' | 'replace-one'
}

/** `remove`: P has the unit, Q has not; `add`: the reverse; `replace`: P and Q have opposite contributions of it. */
export type Direction = 'remove' | 'add' | 'replace'

/**
 * The dominating pair (P, Q) of one release. With output x, noise scale s and rate q, a(x) = 1-q + q e^y(x) is the
 * ratio of "unit sampled with rate q" over "unit absent"; y = (2x-1)/(2s^2) for Gaussian, (|x|-|x-1|)/s for Laplace
 * noise. The loss L = log dP/dQ is log a(x), -log a(x) or log a(-x) - log a(x), monotone in x.
 */
export interface Pair {
  /** E_P[(1 - e^(epsilon-L))_+] of this release alone, in closed form. */
  delta(epsilon: number): number
  /** Losses with a probability of their own under P. */
  readonly atoms: readonly { loss: number; mass: number }[]
  /** Where the rest of P lives: ends of intervals on which loss and density are analytic. */
  readonly edges: readonly number[]
  /** Length on which the density varies. */
  readonly width: number
  density(x: number): number
  loss(x: number): number
  /** The inverse of `loss`; not finite where no x has this loss. */
  place(loss: number): number
  /** Losses at which `delta` is not analytic, or close to such in the complex plane. */
  readonly kinks: readonly number[]
}

/** log(1-q + q e^y) and its inverse. */
const logRatio = (y: number, q: number) => (q === 1 ? y : Math.log1p(q * Math.expm1(y)))
const exponent = (loss: number, q: number) => {
  if (q === 1) return loss
  const excess = Math.expm1(loss) / q
  // An attainable loss may fall on the other side of the bound by rounding alone.
  return Math.log1p(excess < -1 && excess > -1 - 1e-9 ? -1 : excess)
}

/** delta(-e) = 1 - e^-e + e^-e delta(e) where swapping P and Q changes nothing. */
const mirrored = (delta: (epsilon: number) => number) => (epsilon: number) =>
  epsilon >= 0 ? delta(epsilon) : -Math.expm1(epsilon) + Math.exp(epsilon) * delta(-epsilon)

/** Standard deviations kept on both sides: beyond lies 4e-33 of the probability. */
const REACH = 12

const normalDensity = (t: number) => Math.exp(-0.5 * t * t) / Math.sqrt(2 * Math.PI)

/**
 * P(x > x0) - e^epsilon Q(x > x0) of direction remove, at y(x0) = y, over q. The terms with 1-q cancel, because
 * e^epsilon = 1-q + q e^y.
 */
const gaussianAbove = (s: number, y: number) => upperTail(s * y - 0.5 / s) - Math.exp(y) * upperTail(s * y + 0.5 / s)
/** The same for x < x0 and direction add, over q e^epsilon. */
const gaussianBelow = (s: number, y: number) => Math.exp(y) * upperTail(-s * y - 0.5 / s) - upperTail(-s * y + 0.5 / s)

const gaussianDelta = (s: number, q: number): Record<Direction, (epsilon: number) => number> => {
  const lowest = Math.log1p(-q)
  const crossing = gaussianCrossing(s, q)
  return {
    remove: (e) => (e <= lowest ? -Math.expm1(e) : q * gaussianAbove(s, exponent(e, q))),
    add: (e) => (-e <= lowest ? 0 : Math.exp(e) * q * gaussianBelow(s, exponent(-e, q))),
    replace: mirrored((e) => {
      const x = crossing(e)
      // The unit's part of P against the absent unit, and the absent unit against the unit's part of Q.
      const above = gaussianAbove(s, (-x - 0.5) / (s * s))
      return q * (above + Math.exp(e) * gaussianBelow(s, (x - 0.5) / (s * s)))
    }),
  }
}

/** x with log a(-x) - log a(x) = loss: a quadratic equation in w = e^(x/s^2), for loss >= 0; odd in the loss. */
const gaussianCrossing = (s: number, q: number) => (loss: number) => {
  const size = Math.abs(loss)
  const c = q * Math.exp(-0.5 / (s * s))
  const b = (1 - q) * Math.expm1(size)
  const w = (2 * c) / (b + Math.sqrt(b * b + 4 * Math.exp(size) * c * c))
  return Math.sign(loss) * s * s * Math.log(w)
}

const gaussianPair = ({ noiseMultiplier: s, samplingRate: q }: Release, direction: Direction): Pair => {
  const y = (x: number) => (2 * x - 1) / (2 * s * s)
  const centre = { remove: 1, add: 0, replace: -1 }[direction]
  const [loss, place] = {
    remove: [(x: number) => logRatio(y(x), q), (l: number) => s * s * exponent(l, q) + 0.5],
    add: [(x: number) => -logRatio(y(x), q), (l: number) => s * s * exponent(-l, q) + 0.5],
    replace: [(x: number) => logRatio(y(-x), q) - logRatio(y(x), q), gaussianCrossing(s, q)],
  }[direction] as [(x: number) => number, (loss: number) => number]
  // Replacing: `crossing` has branch points at losses of about +-2iq e^(-1/(2 s^2)), as near to 0 as q is small.
  const kinks = { remove: [Math.log1p(-q)], add: [-Math.log1p(-q)], replace: [0] }[direction]
  return {
    delta: gaussianDelta(s, q)[direction],
    atoms: [],
    edges: [Math.min(0, centre) - REACH * s, Math.max(0, centre) + REACH * s],
    width: s,
    density: (x) => ((1 - q) * normalDensity(x / s) + q * normalDensity((x - centre) / s)) / s,
    loss,
    place,
    kinks: q === 1 ? [] : kinks,
  }
}

const laplaceDelta = (b: number, q: number): Record<Direction, (epsilon: number) => number> => {
  const top = logRatio(1 / b, q)
  const bottom = logRatio(-1 / b, q)
  const between = (e: number, inside: (e: number) => number, [low, high]: [number, number]) => {
    if (e <= low) return -Math.expm1(e)
    return e >= high ? 0 : inside(e)
  }
  /** q P1(x > x0) - (e^epsilon - (1-q)) P0(x > x0) at y(x0) = y, where both tails are exponentials. */
  const above = (y: number) => -q * Math.expm1((y - 1 / b) / 2)
  const below = (y: number) => -q * Math.exp(y) * Math.expm1(-(y + 1 / b) / 2)
  return {
    remove: (e) => between(e, () => above(exponent(e, q)), [bottom, top]),
    add: (e) => between(e, () => Math.exp(e) * below(exponent(-e, q)), [-top, -bottom]),
    replace: mirrored((e) => between(e, () => above(exponent(e + bottom, q)), [bottom - top, top - bottom])),
  }
}

const laplacePair = ({ noiseMultiplier: b, samplingRate: q }: Release, direction: Direction): Pair => {
  const y = (x: number) => (Math.abs(x) - Math.abs(x - 1)) / b
  const centre = { remove: 1, add: 0, replace: -1 }[direction]
  const around = (x: number) => Math.exp(-Math.abs(x) / b) / (2 * b)
  const below = (x: number) => (x < 0 ? 0.5 * Math.exp(x / b) : 1 - 0.5 * Math.exp(-x / b))
  const mixture = (f: (x: number) => number) => (x: number) => (1 - q) * f(x) + q * f(x - centre)
  const bottom = logRatio(-1 / b, q)
  const inverse = (loss: number) => (b * exponent(loss, q) + 1) / 2
  const [loss, place] = {
    remove: [(x: number) => logRatio(y(x), q), inverse],
    add: [(x: number) => -logRatio(y(x), q), (l: number) => inverse(-l)],
    replace: [
      (x: number) => logRatio(y(-x), q) - logRatio(y(x), q),
      (l: number) => -Math.sign(l) * inverse(Math.abs(l) + bottom),
    ],
  }[direction] as [(x: number) => number, (loss: number) => number]
  const edges = direction === 'replace' ? [-1, 0, 1] : [0, 1]
  const [first, last] = [edges[0]!, edges.at(-1)!]
  return {
    delta: laplaceDelta(b, q)[direction],
    atoms: [
      { loss: loss(first), mass: mixture(below)(first) },
      { loss: loss(last), mass: mixture((x) => below(-x))(last) },
    ],
    edges,
    width: Math.min(b, 0.25),
    density: mixture(around),
    loss,
    place,
    kinks: edges.map(loss),
  }
}

export const pairOf = (release: Release, direction: Direction): Pair =>
  release.mechanism === 'gaussian' ? gaussianPair(release, direction) : laplacePair(release, direction)
