import type { RunEvent } from '../../shared/api/index.ts'
import { UnreachableError } from '../failure.ts'
import { type Measurement, measurementsOf } from './measured.ts'
import { within } from './within.ts'

/** Points of one request: some hundred kilobytes, where collectors take megabytes. */
const BATCH = 2000
/** How long a measurement waits for others, so that a request is worth it. */
const FLUSH_MS = 2000
const RETRY_MOST_MS = 60_000

export interface Forwarding {
  readonly send: (measurements: readonly Measurement[]) => Promise<void>
  /** Whether a collector that is away is waited for, while the run goes on. */
  readonly patient: boolean
  /** Told of what does not end the command. */
  readonly note: (words: string) => void
}

/**
 * Sends what events measure, as they come.
 * @returns how many points the collector took
 * @throws what `send` throws; what came before an interrupt is sent before it is thrown
 */
export async function forward(events: AsyncGenerator<RunEvent>, forwarding: Forwarding): Promise<number> {
  const outbox = new Outbox(forwarding)
  try {
    for (let next = asked(events); ; ) {
      const got = await within(next, outbox.due())
      if (got?.done) break
      if (got) {
        outbox.put(measurementsOf(got.value))
        next = asked(events)
      }
      if (outbox.due() <= 0) await outbox.attempt()
    }
  } catch (error) {
    if (!(error instanceof Error && error.name === 'AbortError')) throw error
    await outbox.flush()
    throw error
  }
  await outbox.flush()
  return outbox.sent
}

/** The next event. It may fail while a request is under way, and is waited for after that. */
function asked(events: AsyncGenerator<RunEvent>): Promise<IteratorResult<RunEvent>> {
  const next = events.next()
  next.catch(() => {})
  return next
}

/** Measurements on their way: each is kept until the collector has taken it. */
class Outbox {
  sent = 0
  readonly #held: Measurement[] = []
  readonly #forwarding: Forwarding
  #at = Number.POSITIVE_INFINITY
  #pause = FLUSH_MS

  constructor(forwarding: Forwarding) {
    this.#forwarding = forwarding
  }

  put(measurements: readonly Measurement[]): void {
    this.#held.push(...measurements)
    if (this.#held.length > 0) this.#at = Math.min(this.#at, performance.now() + this.#pause)
  }

  /** Milliseconds until something is to be sent. */
  due(): number {
    return this.#at - performance.now()
  }

  async flush(): Promise<void> {
    while (this.#held.length > 0) {
      const batch = this.#held.slice(0, BATCH)
      await this.#forwarding.send(batch)
      this.#held.splice(0, batch.length)
      this.sent += batch.length
    }
    this.#pause = FLUSH_MS
    this.#at = Number.POSITIVE_INFINITY
  }

  /** A flush that may fail where the collector is waited for. */
  async attempt(): Promise<void> {
    try {
      await this.flush()
    } catch (error) {
      if (!this.#forwarding.patient || !(error instanceof UnreachableError)) throw error
      this.#pause = Math.min(2 * this.#pause, RETRY_MOST_MS)
      this.#at = performance.now() + this.#pause
      this.#forwarding.note(`${this.#held.length} points wait: ${error.message}`)
    }
  }
}
