import { exp, expm1, log, log1p } from './elementary.ts'
import { GAUSS } from './legendre.ts'
import { logMixture, mixture, nodesDivergence, type RatioNode, ratioNodes } from './moment.ts'

/** A Poisson-subsampled Laplace with unit contributions: scale at least NOISE_EXACT_MIN, rate strictly within 0, 1. */
export interface SampledLaplace {
  readonly scale: number
  readonly rate: number
  /** P = (1-q) L(0) + q L(1) against Q = L(0); or, if replaced, against Q = (1-q) L(0) + q L(-1). */
  readonly replaced: boolean
}

const LOG_HALF = log(0.5)

/**
 * Panels of (0, 1) as widths, from 1 downwards. In y = (2x-1)/b the log of the integrand is convex with slope at most
 * A, so it is concentrated at the end x = 1 over a length of 1/A: panels double in width from there. At most 2 in y
 * keeps the rule's ellipse within |Im y| < pi, where the ratio is analytic.
 */
const panelWidths = (scale: number, orderMax: number) => {
  const widths: number[] = []
  let covered = 0
  while (covered < 1) {
    const width = Math.min(scale, Math.max((2 * scale) / orderMax, covered), 1 - covered)
    widths.push(width)
    covered = 1 - covered - width < 1e-9 ? 1 : covered + width
  }
  return widths
}

/** [1 - x, weight] of the composite rule on (0, 1), x falling. */
const innerPoints = (scale: number, orderMax: number) => {
  let covered = 0
  return panelWidths(scale, orderMax).flatMap((width) => {
    const middle = covered + width / 2
    covered += width
    return GAUSS.flatMap(([abscissa, weight]) =>
      [-1, 1].map((sign) => [middle + (sign * abscissa * width) / 2, (weight * width) / 2] as const),
    )
  })
}

/** Nodes against L(0): half of all mass sits at the least ratio (x <= 0), e^(-1/b)/2 at the greatest (x >= 1). */
const removedNodes = ({ scale, rate }: SampledLaplace, points: readonly (readonly [number, number])[]): RatioNode[] => {
  const node = (x: number, logWeight: number): RatioNode => {
    const y = (2 * x - 1) / scale
    return [logWeight, rate * expm1(y), logMixture(rate, y)]
  }
  return [
    node(0, LOG_HALF),
    ...points.map(([rest, weight]) => node(1 - rest, LOG_HALF + log(weight / scale) - (1 - rest) / scale)),
    node(1, LOG_HALF - 1 / scale),
  ]
}

/**
 * Nodes against the opposite mixture. For x in (0, 1) Q is c L(0) with c = 1-q + q e^(-1/b), and
 * u = q e^(-1/b) (e^(2x/b) - 1) / c. At -x the ratio is the inverse, with Q's mass larger by the ratio at x.
 */
const replacedNodes = (
  { scale, rate }: SampledLaplace,
  points: readonly (readonly [number, number])[],
): RatioNode[] => {
  const gain = exp(-1 / scale) / mixture(rate, -1 / scale)
  const logC = logMixture(rate, -1 / scale)
  const pair = (x: number, logMass: number): [RatioNode, RatioNode] => {
    const u = rate * gain * expm1((2 * x) / scale)
    const l = log1p(u)
    return [
      [logMass + logC + l, -u / (1 + u), -l],
      [logMass + logC, u, l],
    ]
  }
  const inner = points.map(([rest, weight]) => pair(1 - rest, LOG_HALF + log(weight / scale) - (1 - rest) / scale))
  return [...inner.flat(), ...pair(1, LOG_HALF - 1 / scale)]
}

/**
 * Renyi divergences of a subsampled Laplace, any real orders above 1, in nats; relative error below 1e-10.
 *
 * Against L(0) this is the direction "remove"; "add" is never larger (Mironov, Talwar, Zhang 2019, arXiv 1908.10530,
 * theorem 5: reflection at 1/2 exchanges L(0) and L(1)). The replaced pair is symmetric.
 */
export const laplaceDivergences = (sampled: SampledLaplace, orders: readonly number[]): Float64Array => {
  const points = innerPoints(sampled.scale, Math.max(2, ...orders))
  const list = sampled.replaced ? replacedNodes(sampled, points) : removedNodes(sampled, points)
  const nodes = ratioNodes(list.length, (i) => list[i]!)
  return Float64Array.from(orders, (order) => nodesDivergence(nodes, order, nodes.weight.length))
}

/** e^z - 1 - z */
const secondOrder = (z: number) => {
  if (Math.abs(z) >= 0.1) return expm1(z) - z
  let term = (z * z) / 2
  let sum = term
  for (let k = 3; Math.abs(term) > 1e-18 * sum; k++) {
    term *= z / k
    sum += term
  }
  return sum
}

/**
 * Renyi divergence of order A between L(0) and L(shift) with scale 1, in nats (Mironov 2017, arXiv 1702.07476,
 * proposition 6): log of A/(2A-1) e^((A-1) shift) + (A-1)/(2A-1) e^(-A shift), over A - 1. Both exponentials are
 * taken without their first two terms, which cancel.
 */
export const unsampledLaplace = (shift: number, order: number): number => {
  // A/(2A-1), which 2A itself could overflow.
  const share = 1 / (2 - 1 / order)
  const z = (order - 1) * shift
  if (z > 500) return shift + log(share) / (order - 1)
  const moment = share * (secondOrder(z) + ((order - 1) / order) * secondOrder(-order * shift))
  return log1p(moment) / (order - 1)
}
