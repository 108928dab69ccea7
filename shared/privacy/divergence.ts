/**
 * Renyi divergence of the Poisson-subsampled Gaussian, any real order above 1.
 *
 * With noise s, rate q and a(x) = (1-q) + q exp((2x-1)/(2 s^2)), the order-A divergence of the direction "remove",
 * D(mixture || N(0,s^2)), is log E[a(x)^A] / (A-1) with x ~ N(0,s^2). The direction "add" is never larger
 * (Mironov, Talwar, Zhang 2019, arXiv 1908.10530, section 3), so this number covers both.
 *
 * Everything works on M = E[a^A] - 1 in log space: since E[a] = 1, M = E[f(u)] with u = a - 1 and
 * f(u) = (1+u)^A - 1 - A u >= 0. No term is negative, so nothing cancels and a divergence of 1e-18 keeps its digits.
 */

/** Largest integer order summed by the binomial series; above it, and at fractional orders, quadrature. */
const SERIES_ORDER_MAX = 2048
/** Below this noise the unsampled bound A/(2 s^2) is reported (larger, so still a bound); nobody is private there. */
export const NOISE_EXACT_MIN = 0.05
/** Rates below this are charged as this; the divergence grows with q. Keeps 1/q finite. */
const RATE_MIN = 1e-300

/** log(exp(x) - 1) for x > 0, without overflow. */
const logExpm1 = (x: number) => (x < 30 ? Math.log(Math.expm1(x)) : x + Math.log1p(-Math.exp(-x)))

/** log(1 + exp(x)), without overflow. */
const logOnePlusExp = (x: number) => (x < 30 ? Math.log1p(Math.exp(x)) : x + Math.log1p(Math.exp(-x)))

/** log of sum of exp over the first `length` entries. */
const logSumExp = (logs: Float64Array, length: number) => {
  let top = Number.NEGATIVE_INFINITY
  for (let i = 0; i < length; i++) top = Math.max(top, logs[i]!)
  if (top === Number.NEGATIVE_INFINITY) return top
  let sum = 0
  for (let i = 0; i < length; i++) sum += Math.exp(logs[i]! - top)
  return top + Math.log(sum)
}

/** log n! for n = 0..SERIES_ORDER_MAX, by compensated summation: each entry is right to about one ulp. */
const logFactorials = (() => {
  const table = new Float64Array(SERIES_ORDER_MAX + 1)
  let sum = 0
  let lost = 0
  for (let n = 2; n <= SERIES_ORDER_MAX; n++) {
    const next = Math.log(n)
    const total = sum + next
    lost += sum - total + next
    sum = total
    table[n] = sum + lost
  }
  return table
})()

interface Subsampled {
  /** Noise multiplier, at least NOISE_EXACT_MIN. */
  readonly noise: number
  /** Sampling rate, strictly between 0 and 1. */
  readonly rate: number
}

/** Returns A -> log M by the binomial series (arXiv 1908.10530, equation 5, with expm1 so that M alone is summed). */
const seriesOf = ({ noise, rate }: Subsampled) => {
  const logRate = Math.log(rate)
  const logRest = Math.log1p(-rate)
  const logs = new Float64Array(SERIES_ORDER_MAX)
  const moments = new Float64Array(SERIES_ORDER_MAX + 1)
  const moment = (i: number) => (moments[i] ||= i * logRate + logExpm1(((i * i - i) / noise / noise) * 0.5))
  return function logMomentAtInteger(order: number) {
    for (let i = 2; i <= order; i++) {
      const choose = logFactorials[order]! - logFactorials[i]! - logFactorials[order - i]!
      logs[i - 2] = choose + (order - i) * logRest + moment(i)
    }
    return logSumExp(logs, order - 1)
  }
}

/** log f(u) = log((1+u)^A - 1 - A u), given u and l = log(1+u); u may have overflowed to Infinity, l not. */
const logExcess = (order: number, u: number, l: number) => {
  if (Math.abs(order * u) < 0.1) {
    let term = 1
    let sum = 1
    for (let j = 3; Math.abs(term) > 1e-18; j++) {
      term *= ((order - j + 1) / j) * u
      sum += term
    }
    return 2 * Math.log(Math.abs(u)) + Math.log((order * (order - 1) * sum) / 2)
  }
  const power = order * l
  if (power < 30) return Math.log(Math.expm1(power) - order * u)
  return power + Math.log1p((order - 1) * Math.exp(-power) - order * Math.exp((1 - order) * l))
}

/** Standard deviations kept beyond the outermost peak of the integrand: exp(-12^2/2) is 5e-32 of the peak. */
const REACH = 12

/**
 * Returns A -> log M by the trapezoid rule in t = x/s. The integrand is analytic in |Im t| < pi s and Gaussian
 * beyond, so the error falls as exp(-2 pi^2 s/step) or exp(-2 pi^2/step^2): both below 1e-16 at this step.
 * Its peaks lie at 0, 2/s or A/s.
 */
const quadratureOf = ({ noise, rate }: Subsampled, orderMax: number) => {
  const step = Math.min(0.4, noise / 2.5)
  const nodesUpTo = (order: number) => Math.ceil((2 * REACH + Math.max(order, 2) / noise) / step)
  const count = nodesUpTo(orderMax)
  const u = new Float64Array(count)
  const l = new Float64Array(count)
  const density = new Float64Array(count)
  const logs = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    const t = i * step - REACH
    const logRatio = (t - 0.5 / noise) / noise
    // Written from l where the ratio itself would overflow: 1 + u = rate e^logRatio (1 + (1/rate - 1) e^-logRatio).
    if (logRatio < 700) {
      u[i] = rate * Math.expm1(logRatio)
      l[i] = Math.log1p(u[i]!)
    } else {
      l[i] = Math.log(rate) + logRatio + Math.log1p((1 / rate - 1) * Math.exp(-logRatio))
      u[i] = Math.expm1(l[i]!)
    }
    density[i] = -0.5 * t * t
  }
  const scale = Math.log(step) - 0.5 * Math.log(2 * Math.PI)
  return function logMomentAtReal(order: number) {
    const length = Math.min(count, nodesUpTo(order))
    for (let i = 0; i < length; i++) logs[i] = density[i]! + logExcess(order, u[i]!, l[i]!)
    return scale + logSumExp(logs, length)
  }
}

/**
 * Renyi divergences of one release, in nats, one per order. Relative error below 1e-10 for noise from
 * NOISE_EXACT_MIN up; below that noise an upper bound.
 *
 * @param mechanism noise multiplier above 0 and sampling rate 0..1, already validated
 * @param orders reals above 1, already validated
 * @param method 'quadrature' forces the integral at integer orders too (for cross-checks)
 */
export const renyiDivergences = (
  mechanism: { noiseMultiplier: number; samplingRate: number },
  orders: readonly number[],
  method: 'best' | 'quadrature' = 'best',
): Float64Array => {
  const { noiseMultiplier: noise, samplingRate } = mechanism
  if (samplingRate === 0) return new Float64Array(orders.length)
  if (samplingRate === 1 || noise < NOISE_EXACT_MIN) {
    return Float64Array.from(orders, (order) => (order / noise / noise) * 0.5)
  }
  const subsampled = { noise, rate: Math.max(samplingRate, RATE_MIN) }
  const bySeries = (order: number) => method === 'best' && Number.isInteger(order) && order <= SERIES_ORDER_MAX
  const series = seriesOf(subsampled)
  const fractional = orders.filter((order) => !bySeries(order))
  const quadrature = quadratureOf(subsampled, fractional.length > 0 ? Math.max(...fractional) : 1)
  return Float64Array.from(orders, (order) => {
    const logMoment = bySeries(order) ? series(order) : quadrature(order)
    return logOnePlusExp(logMoment) / (order - 1)
  })
}
