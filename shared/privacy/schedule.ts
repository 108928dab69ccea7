import { canonicalEvent, distinctEvents, type EventCount } from './event.ts'
import { type Budget, validateBudget } from './meter.ts'
import { epsilonBounds } from './pld/bounds.ts'

/**
 * The filter of one run: may a history of its events stand? It may if it holds no event more often than an envelope that was
 * fixed before the data were seen, and the envelope's certified epsilon is within the budget.
 *
 * That is valid whoever decides which rounds are repeated, and after seeing what: every history that is let through is part
 * of one and the same fixed composition. Asking the accountant about each history as it comes would not be: who steers the
 * counts by what was released could end differently on different outcomes, each ending within the budget, and all together
 * not. Across runs, whose parameters may depend on earlier releases, ask `RdpFilter`.
 */
export class ScheduleFilter {
  readonly #envelope: readonly EventCount[]
  readonly #counts: ReadonlyMap<string, number>
  readonly #budget: Budget

  /**
   * @param envelope the most of each event that the run may charge: its schedule and its spare charges
   * @throws PrivacyError `invalid_epsilon`, `invalid_delta`, `invalid_event`, `invalid_count`
   */
  constructor(envelope: Iterable<EventCount>, budget: Budget) {
    validateBudget(budget)
    this.#budget = { epsilon: budget.epsilon, delta: budget.delta }
    this.#envelope = distinctEvents(envelope)
    this.#counts = new Map(this.#envelope.map(({ event, count }) => [canonicalEvent(event), count]))
  }

  /**
   * The certified upper bound of the whole envelope; nats. Composed when asked for: a run that only reads its log never is.
   * @throws PrivacyError `mixed_neighbours`
   */
  get epsilon(): number {
    return epsilonBounds(this.#envelope, this.#budget.delta).epsilon
  }

  /** @throws PrivacyError `invalid_event`, `invalid_count`, `mixed_neighbours` */
  allows(history: Iterable<EventCount>): boolean {
    const within = ({ event, count }: EventCount) => count <= (this.#counts.get(canonicalEvent(event)) ?? 0)
    return distinctEvents(history).every(within) && this.epsilon <= this.#budget.epsilon
  }
}
