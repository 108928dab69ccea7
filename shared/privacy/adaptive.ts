/**
 * Accounting that holds when each release's parameters are chosen after seeing all earlier ones.
 *
 * Setting. X and X' are neighbours. Release t is drawn by a mechanism that, with whether there is a release at all, is
 * any function of the earlier outputs (and of coins that owe nothing to the data). L is the log ratio of the
 * probabilities of all outputs so far, under X over under X'; R(A) is the sum of the releases' divergences of order A.
 * Both are random, since the parameters are.
 *
 * One order. exp((A-1)(L - R(A))) multiplies at each step by a factor whose mean, given the past, is at most 1: a
 * supermartingale that starts at 1 (the Renyi filter and odometer of Feldman, Zrnic 2021, arXiv 2008.11193; Lecuyer
 * 2021, arXiv 2103.01379; Whitehouse et al. 2023, arXiv 2203.05481). So its mean is at most 1 at every stopping time.
 * With (1 - exp(-x))+ <= exp((A-1)x) (1-1/A)^(A-1) / A (Canonne, Kamath, Steinke 2020, arXiv 2004.00010, proposition
 * 12) and e(A, d) = R(A) + log(1 - 1/A) - log(A d)/(A-1), which is random as R is, at every stopping time
 *
 *     E[(1 - exp(e(A, d) - L))+] <= d.
 *
 * Several orders A_1..A_m with shares w_j >= 0, sum w_j <= 1, fixed before any output is seen. Let e be the least of
 * e(A_j, delta w_j), and split the outcomes by the first j that attains it. Summing over the parts,
 *
 *     E[(1 - exp(e - L))+] <= sum_j delta w_j <= delta,
 *
 * that is P(S) <= E'[exp(e) 1_S] + delta for every set S of outcomes, P under X and E' under X'. Where no outcome lets
 * e exceed a budget, that is (budget, delta) differential privacy: the filter. Where e is reported as it comes: the
 * odometer. A union over releases, over time or over levels of epsilon is not needed; the price is the shares.
 *
 * The shortcut "epsilon is 0" of `epsilonFromRdp` is left out: it has no such form at a random R.
 */
import { log, log1p } from './elementary.ts'
import { PrivacyError } from './error.ts'
import {
  canonicalEvent,
  type EventCount,
  type MechanismEvent,
  neighboursOf,
  validateCount,
  validateEvent,
} from './event.ts'
import { memo } from './memo.ts'
import { ROUNDING_SLACK, rdpCurve, validateDelta, validateOrders } from './rdp.ts'

/** A Renyi order and the share of delta that is set aside for outcomes that end at it. */
export interface WeightedOrder {
  /** Finite, above 1. */
  readonly order: number
  /** Above 0; all shares of a list together at most 1. */
  readonly share: number
}

/** A list of weighted orders, made ready for one delta. */
export interface Conversion {
  readonly orders: readonly number[]
  /** What `e` adds to the divergence at each order, rounding allowance included; nats. */
  readonly prices: Float64Array
  /** The orders as text: a key for curves. */
  readonly key: string
}

/** @throws PrivacyError `invalid_orders` unless orders increase above 1 and shares are positive, 1 or less in all */
const validateWeighted = (list: readonly WeightedOrder[]) => {
  validateOrders(list.map(({ order }) => order))
  const total = list.reduce((sum, { share }) => sum + share, 0)
  if (!(list.every(({ share }) => share > 0) && total <= 1)) {
    throw new PrivacyError('invalid_orders', 'the share of each order must be above 0, and all together at most 1')
  }
}

/** log(1 - 1/A) - log(A delta)/(A - 1): epsilon is the divergence of order A plus this. */
export const orderPrice = (order: number, logDelta: number): number =>
  log1p(-1 / order) - (log(order) + logDelta) / (order - 1)

/** The allowance of `epsilonFromRdp`, for the terms that do not depend on the divergence. */
const priceSlack = (order: number, logDelta: number) =>
  ROUNDING_SLACK * ((log(order) - logDelta) / (order - 1) - log1p(-1 / order))

/** @throws PrivacyError `invalid_orders`, `invalid_delta` */
export const conversionOf = (list: readonly WeightedOrder[], delta: number): Conversion => {
  validateWeighted(list)
  const logDelta = log(validateDelta(delta))
  const orders = list.map(({ order }) => order)
  const prices = Float64Array.from(list, ({ order, share }) => {
    // Added as logarithms: delta times share may underflow.
    const logShare = logDelta + log(share)
    return orderPrice(order, logShare) + priceSlack(order, logShare)
  })
  return { orders, prices, key: orders.join() }
}

interface Entry {
  readonly key: string
  readonly event: MechanismEvent
  readonly count: number
  /** Divergences of one release, nats, one per order. */
  readonly curve: Float64Array
}

const curves = memo<Float64Array>(4096)

/**
 * Running account at a fixed list of orders: one count per distinct event, summed in the order of the canonical keys,
 * so that the same charges give the same bits in whatever order they came. Only `add` changes it, and only upwards.
 */
export class AdaptiveAccount {
  readonly #conversion: Conversion
  #entries: readonly Entry[] = []

  /** @throws PrivacyError `invalid_event`, `invalid_count`, `mixed_neighbours` */
  constructor(conversion: Conversion, history: Iterable<EventCount> = []) {
    this.#conversion = conversion
    for (const charge of history) this.add(charge)
  }

  /** @throws PrivacyError `invalid_event`, `invalid_count`, `mixed_neighbours` */
  add(charge: EventCount): void {
    this.#entries = this.#with(this.#entryOf(charge))
  }

  /**
   * The least over the orders A of R(A) plus its price, in nats, 0 or more; with `next`, as if that had been added.
   * Infinity where no order gives a finite bound.
   * @throws PrivacyError `invalid_event`, `invalid_count`, `mixed_neighbours`
   */
  epsilon(next?: EventCount): number {
    return this.#epsilonOf(next ? this.#with(this.#entryOf(next)) : this.#entries)
  }

  /** Largest count up to `limit` of `event` for which `epsilon({ event, count })` is at most `target`; 0 if none is. */
  largestCount(event: MechanismEvent, target: number, limit: number): number {
    const once = this.#entryOf({ event, count: 1 })
    const fits = (count: number) => this.#epsilonOf(this.#with({ ...once, count })) <= target
    if (!fits(1)) return 0
    let low = 1
    let high = limit + 1
    // Doubling first: the answer is mostly far below the limit.
    for (let step = 2; step < high; step *= 2) {
      if (fits(step)) low = step
      else high = step
    }
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (fits(middle)) low = middle
      else high = middle
    }
    return low
  }

  /** Distinct events with their counts, in canonical order; plain data, fit for JSON. */
  entries(): EventCount[] {
    return this.#entries.map(({ event, count }) => ({ event, count }))
  }

  #entryOf(charge: EventCount): Entry {
    const event = validateEvent(charge.event)
    const key = canonicalEvent(event)
    const { orders, key: ordersKey } = this.#conversion
    const curve = curves(`${ordersKey}|${key}`, () => rdpCurve(event, orders))
    return { key, event, count: validateCount(charge.count), curve }
  }

  /** The entries with one more merged in at its place. */
  #with(next: Entry): readonly Entry[] {
    const [first] = this.#entries
    if (next.count === 0) return this.#entries
    if (first) neighboursOf([first, next])
    const at = this.#entries.findIndex(({ key }) => key >= next.key)
    if (at === -1) return [...this.#entries, next]
    const known = this.#entries[at]!
    if (known.key !== next.key) return this.#entries.toSpliced(at, 0, next)
    return this.#entries.with(at, { ...known, count: validateCount(known.count + next.count) })
  }

  #epsilonOf(entries: readonly Entry[]): number {
    // Nothing sampled, nothing seen; the formula's constant would remain.
    if (entries.every(({ event }) => event.samplingRate === 0)) return 0
    const { prices } = this.#conversion
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < prices.length; i++) {
      let divergence = 0
      for (const { count, curve } of entries) divergence += count * curve[i]!
      least = Math.min(least, divergence * (1 + ROUNDING_SLACK) + prices[i]!)
    }
    return Math.max(0, least)
  }
}
