import type { MechanismEvent } from './event.ts'
import { gaussianDivergences } from './gaussianmoment.ts'
import { laplaceDivergences, unsampledLaplace } from './laplacemoment.ts'

/** Below this noise the unsampled divergence is reported (larger, so still a bound); nobody is private there. */
export const NOISE_EXACT_MIN = 0.05
/** Rates below this are charged as this; the divergence grows with q. Keeps q^2 above the least double. */
const RATE_MIN = 1e-120

/** Above this order too, which keeps the quadrature below 2e5 nodes; no epsilon above 1e-6 is best served there. */
export const ORDER_EXACT_MAX = 2 ** 24

/** Divergence at rate 1, in closed form; `shift` is the distance of the two centres in units of sensitivity. */
const unsampled = ({ mechanism, noiseMultiplier: noise }: MechanismEvent, shift: number, order: number) =>
  mechanism === 'laplace' ? unsampledLaplace(shift / noise, order) : (order / noise / noise) * 0.5 * shift * shift

/** Divergences at a rate strictly within 0 and 1. */
const sampled = (event: MechanismEvent, orders: readonly number[]) => {
  const { mechanism, noiseMultiplier: noise, neighbours } = event
  const rate = Math.max(event.samplingRate, RATE_MIN)
  const replaced = neighbours === 'replace-one'
  if (mechanism === 'laplace') return laplaceDivergences({ scale: noise, rate, replaced }, orders)
  return gaussianDivergences({ noise, rate, replaced }, orders)
}

/**
 * Renyi divergences of one release, in nats, one per order: the greater direction of the event's pair (P, Q).
 *
 * With noise distribution N, rate q and P = (1-q) N(0) + q N(1): Q = N(0) under add-remove and zero-out, and
 * Q = (1-q) N(0) + q N(-1) under replace-one. Relative error below 1e-10 for noise from NOISE_EXACT_MIN up and orders
 * up to ORDER_EXACT_MAX; elsewhere an upper bound, that of rate 1.
 *
 * @param event already validated
 * @param orders reals above 1, already validated
 */
export const renyiDivergences = (event: MechanismEvent, orders: readonly number[]): Float64Array => {
  const { noiseMultiplier: noise, samplingRate, neighbours } = event
  const shift = neighbours === 'replace-one' ? 2 : 1
  if (samplingRate === 0) return new Float64Array(orders.length)
  if (samplingRate === 1 || noise < NOISE_EXACT_MIN) {
    return Float64Array.from(orders, (order) => unsampled(event, shift, order))
  }
  const exact = sampled(
    event,
    orders.map((order) => Math.min(order, ORDER_EXACT_MAX)),
  )
  return exact.map((value, i) => (orders[i]! > ORDER_EXACT_MAX ? unsampled(event, shift, orders[i]!) : value))
}
