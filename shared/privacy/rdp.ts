import { renyiDivergences } from './divergence.ts'
import { log, log1p } from './elementary.ts'
import { PrivacyError } from './error.ts'
import { canonicalEvent, type MechanismEvent, validateCount, validateEvent } from './event.ts'
import { memo } from './memo.ts'

const orders = (from: number, to: number, step: number, divisor = 1) =>
  Array.from({ length: Math.round((to - from) / step) + 1 }, (_, i) => (from + i * step) / divisor)

/**
 * The Renyi orders of every published epsilon, increasing. The best order of an epsilon of 100 is near 1.5 and falls
 * toward 1 beyond; that of an epsilon of 1e-4 at delta 1e-8 is 1.2e5. Four orders per octave cost less than 1 % of
 * epsilon. A finer grid could only lower epsilon.
 */
export const RDP_ORDERS: readonly number[] = Object.freeze([
  ...[1.001, 1.002, 1.005, 1.01, 1.02, 1.03, 1.05, 1.07],
  ...orders(11, 109, 1, 10),
  ...orders(11, 64, 1),
  ...[64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072].flatMap((octave) =>
    orders(5, 8, 1).map((quarter) => (octave / 4) * quarter),
  ),
])

/**
 * Relative allowance for double rounding, on the magnitude of every term of the conversion. Divergences are right to
 * 1e-10, sums and logarithms to 1e-14; ten times more is added, so a printed epsilon is never below the exact value
 * of its formula.
 */
export const ROUNDING_SLACK = 1e-9

/** An epsilon with the order that gave it. */
export interface Epsilon {
  /** Upper bound in nats, 0 or more; Infinity when no order gives a finite bound. */
  readonly epsilon: number
  /** The order with the least bound. */
  readonly order: number
  /** True when that order is the first or last of the grid and epsilon is above 0: a wider grid may give less. */
  readonly atEnd: boolean
}

/** @throws PrivacyError `invalid_delta` unless 0 < delta < 1 */
export const validateDelta = (delta: number): number => {
  if (!(delta > 0 && delta < 1)) throw new PrivacyError('invalid_delta', 'delta must be between 0 and 1, exclusive')
  return delta
}

/** What the conversion needs of each order A: log A and log(1 - 1/A). */
interface Grid {
  readonly logOrder: Float64Array
  readonly gap: Float64Array
}

const computeGrid = (list: readonly number[]): Grid => ({
  logOrder: Float64Array.from(list, log),
  gap: Float64Array.from(list, (order) => log1p(-1 / order)),
})

const grids = new WeakMap<readonly number[], Grid>()

/** @throws PrivacyError `invalid_orders` unless there is an order, and all are finite, above 1 and increasing */
export const validateOrders = (list: readonly number[]): void => {
  const increasing = list.every((order, i) => Number.isFinite(order) && order > (i === 0 ? 1 : list[i - 1]!))
  if (list.length === 0 || !increasing) {
    throw new PrivacyError('invalid_orders', 'orders must be finite, above 1 and increasing')
  }
}

/**
 * A frozen list is checked and computed once; another may have been changed since.
 * @throws PrivacyError `invalid_orders`
 */
const gridOf = (list: readonly number[]): Grid => {
  const known = grids.get(list)
  if (known) return known
  validateOrders(list)
  const grid = computeGrid(list)
  if (Object.isFrozen(list)) grids.set(list, grid)
  return grid
}

const curves = memo<Float64Array>(512)

const curveOf = (event: MechanismEvent, list: readonly number[]) => {
  if (list === RDP_ORDERS) return curves(canonicalEvent(event), () => renyiDivergences(event, RDP_ORDERS))
  gridOf(list)
  return renyiDivergences(validateEvent(event), list)
}

/**
 * Renyi divergence of one release at each order, in nats. Curves on the default orders are cached for the 512 latest
 * distinct events; the caller gets a copy, so nothing it does changes a later answer.
 * @throws PrivacyError `invalid_event`, `invalid_orders`
 */
export const rdpCurve = (event: MechanismEvent, list: readonly number[] = RDP_ORDERS): Float64Array =>
  curveOf(event, list).slice()

/**
 * RDP composition (Mironov 2017, arXiv 1702.07476, proposition 1): a new curve, `curve` plus `count` releases.
 * @throws PrivacyError `invalid_event`, `invalid_count`, `invalid_orders`, `invalid_curve`
 */
export const addRounds = (
  curve: Float64Array,
  event: MechanismEvent,
  count: number,
  list: readonly number[] = RDP_ORDERS,
): Float64Array => {
  if (curve.length !== list.length) throw new PrivacyError('invalid_curve', 'the curve has another number of orders')
  const added = curveOf(event, list)
  // An infinite divergence times no release would be NaN.
  if (validateCount(count) === 0) return curve.slice()
  return curve.map((value, i) => value + count * added[i]!)
}

const validateCurve = (curve: Float64Array, length: number) => {
  if (curve.length !== length) throw new PrivacyError('invalid_curve', 'the curve has another number of orders')
  for (let i = 0; i < length; i++) {
    if (!(curve[i]! >= 0)) throw new PrivacyError('invalid_curve', 'a divergence must be 0 or more')
  }
}

/**
 * Returns (A's place in the list, rdp) -> that order's epsilon; monotone in `rdp` in floating point too, as every
 * operation in it is.
 */
const conversion = (list: readonly number[], delta: number) => {
  const { logOrder, gap } = gridOf(list)
  const logDelta = log(delta)
  const free = -log1p(-delta * delta)
  return function epsilonAt(i: number, rdp: number) {
    // Total variation <= sqrt(1 - exp(-KL)) (Bretagnolle, Huber 1979) and KL <= RDP: below delta, epsilon is 0.
    if (rdp * (1 + ROUNDING_SLACK) < free) return 0
    const above = list[i]! - 1
    const price = (logOrder[i]! + logDelta) / above
    const slack = ROUNDING_SLACK * (rdp - gap[i]! + (logOrder[i]! - logDelta) / above)
    return Math.max(0, rdp + gap[i]! - price + slack)
  }
}

/**
 * Epsilon of a composed curve: the least over the orders A of rdp + log(1 - 1/A) - log(A delta)/(A - 1)
 * (Canonne, Kamath, Steinke 2020, arXiv 2004.00010, proposition 12), not below 0, plus ROUNDING_SLACK of its terms.
 * Cheap on RDP_ORDERS and on any frozen list, whose logarithms are kept.
 * @throws PrivacyError `invalid_delta`, `invalid_orders`, `invalid_curve` (length, or a value that is no divergence)
 */
export const epsilonFromRdp = (curve: Float64Array, delta: number, list: readonly number[] = RDP_ORDERS): Epsilon => {
  const epsilonAt = conversion(list, validateDelta(delta))
  validateCurve(curve, list.length)
  let best = 0
  let epsilon = Number.POSITIVE_INFINITY
  for (let i = 0; i < list.length && epsilon > 0; i++) {
    const candidate = epsilonAt(i, curve[i]!)
    if (candidate >= epsilon) continue
    epsilon = candidate
    best = i
  }
  return { epsilon, order: list[best]!, atEnd: epsilon > 0 && (best === 0 || best === list.length - 1) }
}
