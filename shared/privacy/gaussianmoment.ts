import { exp, expm1, log, log1p } from './elementary.ts'
import { logMixture, mixture, nodesDivergence, type RatioNode, ratioNodes } from './moment.ts'

/** A Poisson-subsampled Gaussian with unit contributions: noise at least NOISE_EXACT_MIN, rate strictly within 0, 1. */
export interface SampledGaussian {
  readonly noise: number
  readonly rate: number
  /** P = (1-q) N(0) + q N(1) against Q = N(0); or, if replaced, against Q = (1-q) N(0) + q N(-1). */
  readonly replaced: boolean
}

/** Standard deviations kept beyond the outermost peak of the integrand: exp(-12^2/2) is 5e-32 of the peak. */
const REACH = 12
/** e^-45 is 3e-20: what is smaller by this factor does not count. */
const LOG_NOTHING = 45
const LOG_DENSITY = -0.9189385332046728

/** log((1-q)/q) */
const logOdds = (rate: number) => log1p(-rate) - log(rate)

/**
 * The trapezoid rule in t = x/s. Every ratio is analytic in |Im t| < pi s and Gaussian beyond, so the error falls as
 * exp(-2 pi^2 s/step) or exp(-2 pi^2/(c step^2)), c the greatest curvature at a peak of log(P^A Q^(1-A)). Against
 * N(0), c = 1. Against a mixture, Q's own bend at x = -s^2 log(q/(1-q)) sharpens a peak that meets it, which takes
 * A = 2/3 of that, and then c = 1 + (A-1)/(4 s^2): below 1 + log(q/(1-q))/6.
 */
const stepOf = ({ noise, rate, replaced }: SampledGaussian) => {
  if (!replaced) return Math.min(0.4, noise / 2.5)
  return Math.min(0.4 / Math.sqrt(1 + Math.max(0, -logOdds(rate)) / 6), noise / 3)
}

/** Node at t = x/s against N(0). */
const removedNode = ({ noise, rate }: SampledGaussian, t: number): RatioNode => {
  const y = (t - 0.5 / noise) / noise
  const logRatio = logMixture(rate, y)
  return [-0.5 * t * t, y < 700 ? rate * expm1(y) : expm1(logRatio), logRatio]
}

/** Node at t = x/s against the opposite mixture: u = 2 q e^(-1/2s^2) sinh(x/s^2) / Q, exact also where u is tiny. */
const replacedNode = ({ noise, rate }: SampledGaussian, t: number): RatioNode => {
  const z = t / noise
  const half = 0.5 / noise / noise
  const logQ = logMixture(rate, -z - half)
  const difference = logMixture(rate, z - half) - logQ
  const logWeight = -0.5 * t * t + logQ
  if (Math.abs(z) > 300) return [logWeight, expm1(difference), difference]
  const e = expm1(Math.abs(z))
  const u = (Math.sign(z) * rate * exp(-half) * (e + e / (e + 1))) / mixture(rate, -z - half)
  return [logWeight, u, u > -0.5 ? log1p(u) : difference]
}

/**
 * Above this order the peak at x = A lies where P = q N(1) and Q = (1-q) N(0), or N(0), up to a factor e^-45, and
 * that peak exceeds all else by more than e^45.
 */
const farOrder = ({ noise, rate }: SampledGaussian) =>
  1 + 2 * noise * noise * (Math.abs(logOdds(rate)) + LOG_NOTHING) + 2 * REACH * noise

/** Integral of that one peak: q^A (1-q)^(1-A) e^(A(A-1)/(2 s^2)), without the power of 1-q against N(0). */
const farDivergence = ({ noise, rate, replaced }: SampledGaussian, order: number) => {
  const peak = (order / noise / noise) * 0.5 + (order / (order - 1)) * log(rate)
  return replaced ? peak - log1p(-rate) : peak
}

/**
 * Renyi divergences of a subsampled Gaussian, any real orders above 1, in nats; relative error below 1e-10.
 *
 * Against N(0) this is the direction "remove"; "add" is never larger (Mironov, Talwar, Zhang 2019, arXiv 1908.10530,
 * theorem 5). The replaced pair is symmetric.
 */
export const gaussianDivergences = (sampled: SampledGaussian, orders: readonly number[]): Float64Array => {
  const { noise, replaced } = sampled
  const far = farOrder(sampled)
  const step = stepOf(sampled)
  const start = replaced ? -REACH - 2 / noise : -REACH
  // The outermost peak lies at x = 2 (of the second-order term), A, or, where both mixtures are shifted, 2A - 1.
  const lengthAt = (order: number) =>
    Math.ceil((REACH - start + (replaced ? 2 * order : Math.max(order, 2)) / noise) / step)
  const near = orders.filter((order) => order <= far)
  const nodeAt = replaced ? replacedNode : removedNode
  const scale = log(step) + LOG_DENSITY
  const nodes = ratioNodes(lengthAt(Math.max(1, ...near)), (i) => {
    const [logWeight, excess, logRatio] = nodeAt(sampled, start + i * step)
    return [logWeight + scale, excess, logRatio]
  })
  return Float64Array.from(orders, (order) =>
    order <= far ? nodesDivergence(nodes, order, lengthAt(order)) : farDivergence(sampled, order),
  )
}
