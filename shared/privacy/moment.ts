import { exp, expm1, log, log1p } from './elementary.ts'

/** Powers and weights beyond these are handled as logarithms. */
const POWER_MAX = 300
const LOG_WEIGHT_MIN = -600

/**
 * Renyi divergence from a likelihood ratio known at quadrature nodes.
 *
 * For a pair (P, Q) with ratio 1 + u = P/Q, D_A(P||Q) = log(1 + M) / (A - 1) with M = E_Q[(1+u)^A] - 1. Since
 * E_Q[u] = 0, M = E_Q[f(u)] with f(u) = (1+u)^A - 1 - A u >= 0. No term is negative, so nothing cancels and a
 * divergence of 1e-18 keeps its digits.
 */
export interface RatioNodes {
  /** log of quadrature weight times density of Q, per node. */
  readonly logWeight: Float64Array
  /** exp(logWeight), or 0 below exp(LOG_WEIGHT_MIN). */
  readonly weight: Float64Array
  /** u = P/Q - 1; may have overflowed to Infinity. */
  readonly excess: Float64Array
  /** log(P/Q), accurate also where u is close to -1 or has overflowed. */
  readonly logRatio: Float64Array
}

/** One node: logWeight, excess, logRatio. */
export type RatioNode = readonly [number, number, number]

export const ratioNodes = (length: number, nodeAt: (i: number) => RatioNode): RatioNodes => {
  const logWeight = new Float64Array(length)
  const weight = new Float64Array(length)
  const excess = new Float64Array(length)
  const logRatio = new Float64Array(length)
  for (let i = 0; i < length; i++) {
    const node = nodeAt(i)
    logWeight[i] = node[0]
    weight[i] = node[0] < LOG_WEIGHT_MIN ? 0 : exp(node[0])
    excess[i] = node[1]
    logRatio[i] = node[2]
  }
  return { logWeight, weight, excess, logRatio }
}

/** 1 - q + q e^y for y up to 700; at rates near 1 the complement 1 - q is exact and keeps the digits of small sums. */
export const mixture = (rate: number, y: number) =>
  rate > 0.5 && y < -0.7 ? 1 - rate + rate * exp(y) : 1 + rate * expm1(y)

/** log(1 - q + q e^y), any y. */
export const logMixture = (rate: number, y: number) => {
  // Where e^y itself would overflow: q e^y (1 + (1/q - 1) e^-y).
  if (y > 700) return log(rate) + y + log1p((1 / rate - 1) * exp(-y))
  return rate > 0.5 && y < -0.7 ? log(1 - rate + rate * exp(y)) : log1p(rate * expm1(y))
}

/** Terms this much below the greatest (in log) are left out: at most 1e5 nodes of e^-60 are 1e-21 of the sum. */
const LOG_NEGLIGIBLE = 60
/** Ratios with A |u| below this use the binomial series of f, whose first term is its second-order one. */
const SERIES_BELOW = 0.1
/** With |A u|, |u| < 0.1 the terms fall faster than tenfold. */
const SERIES_TERMS = 18

/** Ratios of successive coefficients of f(u) = A(A-1)/2 u^2 (1 + c0 u (1 + c1 u (1 + ...))). */
const seriesOf = (order: number) => Float64Array.from({ length: SERIES_TERMS }, (_, k) => (order - k - 2) / (k + 3))

/** f(u) / (A - 1), given u and l = log(1+u), below POWER_MAX; written so that orders near 1 cancel nothing. */
const excessPower = (order: number, series: Float64Array, u: number, l: number) => {
  if (Math.abs(order * u) >= SERIES_BELOW) return ((1 + u) * expm1((order - 1) * l)) / (order - 1) - u
  let term = 1
  let sum = 1
  for (let k = 0; k < SERIES_TERMS && Math.abs(term) > 1e-17; k++) {
    term *= series[k]! * u
    sum += term
  }
  return 0.5 * order * u * u * sum
}

/** log(f(u) / (1+u)^A) where (1+u)^A > e^POWER_MAX: the term (A-1) (1+u)^-A is below rounding. */
const logShortfall = (order: number, l: number) => log1p(-order * exp((1 - order) * l))

/** log M of a moment so large that only logarithms hold it; `top` is the greatest log of an integrand w (1+u)^A. */
const largeLogMoment = (nodes: RatioNodes, order: number, length: number, top: number) => {
  const { logWeight, logRatio } = nodes
  let sum = 0
  for (let i = 0; i < length; i++) {
    const below = logWeight[i]! + order * logRatio[i]! - top
    if (below > -LOG_NEGLIGIBLE) sum += exp(below + logShortfall(order, logRatio[i]!))
  }
  return top + log(sum)
}

/** M of a moment that fits a double. */
const smallMoment = (nodes: RatioNodes, order: number, length: number) => {
  const { logWeight, weight, excess, logRatio } = nodes
  const series = seriesOf(order)
  let sum = 0
  for (let i = 0; i < length; i++) {
    const u = excess[i]!
    const l = logRatio[i]!
    const logW = logWeight[i]!
    const power = order * l
    if (power > POWER_MAX) sum += exp(logW + power + logShortfall(order, l)) / (order - 1)
    else if (logW < LOG_WEIGHT_MIN) sum += exp(logW + log(excessPower(order, series, u, l)))
    else sum += weight[i]! * excessPower(order, series, u, l)
  }
  return (order - 1) * sum
}

/**
 * Renyi divergence in nats.
 * @param nodes the ratio and its weights under Q; logRatio must be greatest at the last node in use
 * @param order A, above 1
 * @param length how many nodes are in use at this order
 */
export const nodesDivergence = (nodes: RatioNodes, order: number, length: number): number => {
  const { logWeight, logRatio } = nodes
  let top = 0
  if (order * logRatio[length - 1]! > 500) {
    for (let i = 0; i < length; i++) top = Math.max(top, logWeight[i]! + order * logRatio[i]!)
  }
  if (top > 500) return largeLogMoment(nodes, order, length, top) / (order - 1)
  return log1p(smallMoment(nodes, order, length)) / (order - 1)
}
