import { exp, log } from '../elementary.ts'
import { type Moments, momentsAt, type TotalLoss } from './loss.ts'

const LOG_TWO_PI = 1.8378770664093456
/** Beyond these tilts there is no privacy, or nothing to measure. */
const TILT_MIN = 1e-9
const TILT_MAX = 1e9
/** The search ends this near, in nats or in log c: any c will do, the saddle's only best. */
const OFFSET = 0.01
const WIDTH = 0.001

/** A point of the real axis: the minimum of K(c) - c eps - log c(c+1) for the epsilon there. */
export interface Saddle {
  readonly tilt: number
  readonly moments: Moments
  readonly epsilon: number
  /** Estimate of log delta at that epsilon, by the saddle point's curvature alone. */
  readonly logDelta: number
}

const saddleAt = (loss: TotalLoss, tilt: number): Saddle | null => {
  const moments = momentsAt(loss, tilt)
  if (moments === null) return null
  const [inner, outer] = [1 / tilt, 1 / (tilt + 1)]
  const epsilon = moments.mean - inner - outer
  const curvature = moments.variance + inner * inner + outer * outer
  const exponent = moments.value - tilt * epsilon - log(tilt) - log(tilt + 1)
  return { tilt, moments, epsilon, logDelta: exponent - 0.5 * (LOG_TWO_PI + log(curvature)) }
}

/** Between the two tilts' logs: false position, and every other time the middle, as offsets may jump a millionfold. */
const between = (low: Probe, high: Probe, step: number) =>
  step % 2 === 0 ? low.at + ((high.at - low.at) * low.off) / (low.off - high.off) : (low.at + high.at) / 2

interface Probe {
  readonly saddle: Saddle
  /** log c */
  readonly at: number
  readonly off: number
}

/**
 * The saddle with offset(saddle) = 0, where offset falls from above 0 as the tilt grows: bracketed by factors of 4, then
 * narrowed. Null where none is found. Where the offset jumps, the saddle below the jump.
 */
const findSaddle = (loss: TotalLoss, start: number, offset: (saddle: Saddle) => number): Saddle | null => {
  const probe = (tilt: number): Probe | null => {
    const saddle = tilt >= TILT_MIN && tilt <= TILT_MAX ? saddleAt(loss, tilt) : null
    return saddle && { saddle, at: log(tilt), off: offset(saddle) }
  }
  let low = probe(start)
  let high = low
  while (low !== null && low.off <= 0) {
    high = low
    low = probe(low.saddle.tilt / 4)
  }
  while (high !== null && high.off > 0) {
    low = high
    high = probe(high.saddle.tilt * 4)
  }
  for (let step = 0; low !== null && high !== null; step++) {
    if (low.off < OFFSET || high.at - low.at < WIDTH) return low.saddle
    const next = probe(exp(between(low, high, step)))
    if (next === null) return null
    if (next.off > 0) low = next
    else high = next
  }
  return null
}

/** The saddle of an epsilon; `start` is any tilt, the nearer the faster. */
export const saddleOfEpsilon = (loss: TotalLoss, epsilon: number, start = 1): Saddle | null =>
  findSaddle(loss, start, (saddle) => (epsilon - saddle.epsilon) * saddle.tilt)

/** The saddle at which log delta is about `logDelta`. */
export const saddleOfDelta = (loss: TotalLoss, logDelta: number): Saddle | null =>
  findSaddle(loss, 1, (saddle) => saddle.logDelta - logDelta)

/** Chernoff's bound on log delta: delta <= e^(K(c) - c eps) c^c / (c+1)^(c+1) at every c; here at the saddle's. */
export const logDeltaBound = ({ tilt, moments }: Saddle, epsilon: number): number =>
  moments.value - tilt * epsilon - tilt * log((tilt + 1) / tilt) - log(tilt + 1)
