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
  readonly #counts: ReadonlyMap<string, number>
  /** The certified upper bound of the whole envelope; nats. */
  readonly epsilon: number
  readonly #affordable: boolean

  /**
   * @param envelope the most of each event that the run may charge: its schedule and its spare charges
   * @throws PrivacyError `invalid_epsilon`, `invalid_delta`, `invalid_event`, `invalid_count`, `mixed_neighbours`
   */
  constructor(envelope: Iterable<EventCount>, budget: Budget) {
    validateBudget(budget)
    const entries = distinctEvents(envelope)
    this.#counts = new Map(entries.map(({ event, count }) => [canonicalEvent(event), count]))
    this.epsilon = epsilonBounds(entries, budget.delta).epsilon
    this.#affordable = this.epsilon <= budget.epsilon
  }

  /** @throws PrivacyError `invalid_event`, `invalid_count` */
  allows(history: Iterable<EventCount>): boolean {
    const within = ({ event, count }: EventCount) => count <= (this.#counts.get(canonicalEvent(event)) ?? 0)
    return this.#affordable && distinctEvents(history).every(within)
  }
}
