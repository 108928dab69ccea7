import { PrivacyError } from './error.ts'
import { canonicalEvent, type EventCount, type MechanismEvent, validateCount, validateEvent } from './event.ts'
import { addRounds, type Epsilon, epsilonFromRdp, RDP_ORDERS } from './rdp.ts'

/** What a run or a data set may spend in all. */
export interface Budget {
  readonly epsilon: number
  readonly delta: number
}

/**
 * One entry per distinct event, in the order of the canonical keys: two histories of the same releases, in whatever
 * order and grouping, give the same list and therefore the same epsilon to the last bit.
 */
const distinct = (history: Iterable<EventCount>): EventCount[] => {
  const counts = new Map<string, EventCount>()
  for (const { event, count } of history) {
    const key = canonicalEvent(event)
    const sum = validateCount(validateCount(count) + (counts.get(key)?.count ?? 0))
    counts.set(key, { event: validateEvent(event), count: sum })
  }
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry)
}

/**
 * Epsilon of all these releases together: the composition of charges.
 * @example spend([{ event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 0.06 }), count: 300 }], 1e-5).epsilon
 * @throws PrivacyError `invalid_event`, `invalid_count`, `invalid_delta`, `invalid_orders`
 */
export const spend = (history: Iterable<EventCount>, delta: number, orders: readonly number[] = RDP_ORDERS): Epsilon =>
  epsilonFromRdp(
    distinct(history).reduce<Float64Array>(
      (curve, { event, count }) => addRounds(curve, event, count, orders),
      new Float64Array(orders.length),
    ),
    delta,
    orders,
  )

/** @throws PrivacyError `invalid_epsilon`, `invalid_delta` unless epsilon is finite, above 0, and 0 < delta < 1 */
export const validateBudget = ({ epsilon, delta }: Budget): void => {
  if (!(Number.isFinite(epsilon) && epsilon > 0)) {
    throw new PrivacyError('invalid_epsilon', 'a budget needs a finite epsilon above 0')
  }
  if (!(delta > 0 && delta < 1)) throw new PrivacyError('invalid_delta', 'delta must be between 0 and 1, exclusive')
}

/**
 * The privacy filter: may `next` still be released within the budget? Ask before the charge is written; on `ok`,
 * write it.
 *
 * What is proven. With one order (`orders: [8]`), the filter holds under full adaptivity, each event chosen after
 * seeing all earlier releases (Feldman, Zrnic 2021, arXiv 2008.11193; Lecuyer 2021, arXiv 2103.01379). With several
 * orders the least epsilon is taken: right whenever the events are fixed beforehand (a stage schedule written in the
 * spec, ended early or not). If event parameters themselves are chosen from earlier releases so that different
 * outcomes end at different orders, the guarantee is (epsilon, m delta) with m the number of those orders, by a union
 * bound; a data owner who fears that gives `orders` with a single entry.
 *
 * @returns `epsilonAfter`, the spend with `next` included, and whether it is within the budget
 * @throws PrivacyError `invalid_epsilon`, `invalid_delta`, `invalid_event`, `invalid_count`, `invalid_orders`
 */
export const canSpend = (question: {
  history: Iterable<EventCount>
  next: EventCount
  budget: Budget
  orders?: readonly number[]
}): { ok: boolean; epsilonAfter: number } => {
  const { history, next, budget, orders } = question
  validateBudget(budget)
  const { epsilon: epsilonAfter } = spend([...history, next], budget.delta, orders)
  return { ok: epsilonAfter <= budget.epsilon, epsilonAfter }
}

/**
 * Running account of one run or data set: counts per distinct event, nothing else. Only `add` changes it, and only
 * upwards. `entries()` is its whole state: `new RdpMeter(meter.entries())` answers the same.
 */
export class RdpMeter {
  readonly #orders: readonly number[]
  #history: readonly EventCount[]

  /** @throws PrivacyError `invalid_event`, `invalid_count` */
  constructor(history: Iterable<EventCount> = [], orders: readonly number[] = RDP_ORDERS) {
    this.#history = distinct(history)
    this.#orders = orders
  }

  /** @throws PrivacyError `invalid_event`, `invalid_count` */
  add(event: MechanismEvent, count = 1): void {
    this.#history = distinct([...this.#history, { event, count }])
  }

  /** @throws PrivacyError `invalid_delta`, `invalid_orders` */
  epsilon(delta: number): Epsilon {
    return spend(this.#history, delta, this.#orders)
  }

  /** What `epsilon(delta)` would be after `add(event, count)`; changes nothing. */
  wouldSpend(event: MechanismEvent, delta: number, count = 1): Epsilon {
    return spend([...this.#history, { event, count }], delta, this.#orders)
  }

  /** As `canSpend`, with this account as the history. */
  canSpend(next: EventCount, budget: Budget): { ok: boolean; epsilonAfter: number } {
    return canSpend({ history: this.#history, next, budget, orders: this.#orders })
  }

  /** Distinct events with their counts, in canonical order; plain data, fit for JSON. */
  entries(): EventCount[] {
    return this.#history.map(({ event, count }) => ({ event, count }))
  }
}
