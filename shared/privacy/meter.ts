import { PrivacyError } from './error.ts'
import { distinctEvents, type EventCount, type MechanismEvent, neighboursOf } from './event.ts'
import { addRounds, type Epsilon, epsilonFromRdp, RDP_ORDERS, validateDelta } from './rdp.ts'

/** What a run or a data set may spend in all. */
export interface Budget {
  readonly epsilon: number
  readonly delta: number
}

/**
 * Epsilon of all these releases together: the composition of charges, the least over all Renyi orders.
 *
 * It holds for parameters fixed beforehand, such as the stages of a spec, ended early or not. Where parameters were
 * chosen after seeing outputs, `odometer` reports and `canSpend` of the filter decides: a least over orders that the
 * outputs themselves may steer is not covered here.
 *
 * @example spend([{ event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 0.06 }), count: 300 }], 1e-5).epsilon
 * @throws PrivacyError `invalid_event`, `invalid_count`, `invalid_delta`, `invalid_orders`, `mixed_neighbours`
 */
export const spend = (
  history: Iterable<EventCount>,
  delta: number,
  orders: readonly number[] = RDP_ORDERS,
): Epsilon => {
  const distinct = distinctEvents(history)
  neighboursOf(distinct)
  const nothing: Float64Array = new Float64Array(orders.length)
  const curve = distinct.reduce((sum, { event, count }) => addRounds(sum, event, count, orders), nothing)
  return epsilonFromRdp(curve, delta, orders)
}

/** @throws PrivacyError `invalid_epsilon`, `invalid_delta` unless epsilon is finite, above 0, and 0 < delta < 1 */
export const validateBudget = ({ epsilon, delta }: Budget): void => {
  if (!(Number.isFinite(epsilon) && epsilon > 0)) {
    throw new PrivacyError('invalid_epsilon', 'a budget needs a finite epsilon above 0')
  }
  validateDelta(delta)
}

/**
 * May `next` still be released within the budget, in a schedule whose parameters were all fixed beforehand? It takes
 * the least epsilon over all orders, so it says yes a little longer than the filter of `filter.ts`, which is the one to
 * ask where parameters depend on earlier outputs: several runs on one data set.
 *
 * @returns `epsilonAfter`, the spend with `next` included, and whether it is within the budget
 * @throws PrivacyError `invalid_epsilon`, `invalid_delta`, `invalid_event`, `invalid_count`, `invalid_orders`,
 *   `mixed_neighbours`
 */
export const fitsSchedule = (question: {
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
 * Running account of one run, its parameters fixed beforehand: counts per distinct event, nothing else. Only `add` changes it, and only
 * upwards. `entries()` is its whole state: `new RdpMeter(meter.entries())` answers the same.
 */
export class RdpMeter {
  readonly #orders: readonly number[]
  #history: readonly EventCount[]

  /** @throws PrivacyError `invalid_event`, `invalid_count` */
  constructor(history: Iterable<EventCount> = [], orders: readonly number[] = RDP_ORDERS) {
    this.#history = distinctEvents(history)
    this.#orders = orders
  }

  /** @throws PrivacyError `invalid_event`, `invalid_count` */
  add(event: MechanismEvent, count = 1): void {
    this.#history = distinctEvents([...this.#history, { event, count }])
  }

  /** @throws PrivacyError `invalid_delta`, `invalid_orders`, `mixed_neighbours` */
  epsilon(delta: number): Epsilon {
    return spend(this.#history, delta, this.#orders)
  }

  /** What `epsilon(delta)` would be after `add(event, count)`; changes nothing. */
  wouldSpend(event: MechanismEvent, delta: number, count = 1): Epsilon {
    return spend([...this.#history, { event, count }], delta, this.#orders)
  }

  /** As `fitsSchedule`, with this account as the history. */
  canSpend(next: EventCount, budget: Budget): { ok: boolean; epsilonAfter: number } {
    return fitsSchedule({ history: this.#history, next, budget, orders: this.#orders })
  }

  /** Distinct events with their counts, in canonical order; plain data, fit for JSON. */
  entries(): EventCount[] {
    return this.#history.map(({ event, count }) => ({ event, count }))
  }
}
