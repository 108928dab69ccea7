import { canonicalEvent, distinctEvents, type EventCount } from './event.ts'
import { type Budget, validateBudget } from './meter.ts'
import { epsilonBounds } from './pld/bounds.ts'

/** For each event of either history, the larger count. */
const envelope = (a: readonly EventCount[], b: readonly EventCount[]): EventCount[] => {
  const counts = new Map(a.map(({ event, count }) => [canonicalEvent(event), { event, count }]))
  for (const { event, count } of b) {
    const key = canonicalEvent(event)
    counts.set(key, { event, count: Math.max(count, counts.get(key)?.count ?? 0) })
  }
  return [...counts.values()]
}

const covers = (large: readonly EventCount[], small: readonly EventCount[]): boolean => {
  const counts = new Map(large.map(({ event, count }) => [canonicalEvent(event), count]))
  return small.every(({ event, count }) => count <= (counts.get(canonicalEvent(event)) ?? 0))
}

/**
 * The filter of one run, whose schedule of events is fixed before the data are seen: may a history of such events stand
 * within the budget? It decides by the certified upper bound of `epsilonBounds`, the tight number, which holds for fixed
 * parameters only; which rounds are repeated because a lease was lost must not depend on what was released. Across runs,
 * whose parameters may depend on earlier releases, ask `RdpFilter`.
 *
 * Fewer releases never cost more, so a history within one that is known to fit needs no accounting: a run is composed
 * once, and again when it exceeds its plan.
 */
export class ScheduleFilter {
  readonly #schedule: readonly EventCount[]
  readonly #budget: Budget
  #fits: readonly EventCount[] = []

  /** @throws PrivacyError `invalid_epsilon`, `invalid_delta`, `invalid_event`, `invalid_count` */
  constructor(schedule: Iterable<EventCount>, budget: Budget) {
    validateBudget(budget)
    this.#schedule = distinctEvents(schedule)
    this.#budget = { epsilon: budget.epsilon, delta: budget.delta }
  }

  /** @throws PrivacyError `invalid_event`, `invalid_count`, `mixed_neighbours` */
  allows(history: Iterable<EventCount>): boolean {
    const charges = distinctEvents(history)
    if (covers(this.#fits, charges)) return true
    return this.#admits(envelope(this.#schedule, charges)) || this.#admits(charges)
  }

  #admits(charges: readonly EventCount[]): boolean {
    const { epsilon, delta } = this.#budget
    if (!(epsilonBounds(charges, delta).epsilon <= epsilon)) return false
    this.#fits = charges
    return true
  }
}
