import { and, asc, eq, inArray, lte, sql } from 'drizzle-orm'
import type { Attempt } from '../../shared/api/index.ts'
import type { RandomBytes } from '../directory/index.ts'
import type { Database } from '../storage/index.ts'
import { disable, enabledOf, hasEndpoints } from './endpoints.ts'
import * as schema from './schema.ts'
import { type Envelope, type Fetch, pauseAfter, send } from './send.ts'

export interface DispatchPorts {
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly random: RandomBytes
  readonly fetch: Fetch
}

/** Messages to one endpoint that are under way at once. */
const AT_ONCE = 4
const ATTEMPTS_KEPT = 20

interface Due {
  readonly message: number
  readonly envelope: Envelope
}

/** Sends messages that are due, and writes down what became of each. */
export class Dispatcher {
  readonly #database: Database
  readonly #ports: DispatchPorts
  readonly #sending = new Set<number>()

  constructor(database: Database, ports: DispatchPorts) {
    this.#database = database
    this.#ports = ports
  }

  /** Sends what is due to all endpoints, side by side, until nothing is or `isOver`. */
  async dispatch(isOver: () => boolean): Promise<void> {
    const endpoints = this.#database.transact(enabledOf)
    await Promise.all(endpoints.map((endpoint) => this.#pump(endpoint, isOver)))
  }

  /** When the next message is due, Infinity where none is, null where nobody listens. */
  nextDue(): number | null {
    const { delivery } = schema
    return this.#database.transact((db) => {
      if (!hasEndpoints(db)) return null
      const waiting = and(eq(delivery.state, 'pending'), inArray(delivery.endpoint, enabledOf(db)))
      const first = sql<number | null>`min(${delivery.due})`
      return db.select({ first }).from(delivery).where(waiting).get()?.first ?? Number.POSITIVE_INFINITY
    })
  }

  async #pump(endpoint: number, isOver: () => boolean): Promise<void> {
    if (this.#sending.has(endpoint)) return
    this.#sending.add(endpoint)
    try {
      for (let due = this.#due(endpoint); due.length > 0 && !isOver(); due = this.#due(endpoint)) {
        await Promise.all(due.map((one) => this.#deliver(endpoint, one)))
      }
    } finally {
      this.#sending.delete(endpoint)
    }
  }

  #due(endpoint: number): Due[] {
    const { delivery, message } = schema
    return this.#database.transact((db) => {
      const row = db.select().from(schema.endpoint).where(eq(schema.endpoint.number, endpoint)).get()
      if (!row || row.disabled) return []
      const now = Math.floor(this.#ports.now())
      const former = row.formerSecret !== null && (row.formerUntil ?? 0) > now ? [row.formerSecret] : []
      const isDue = and(eq(delivery.endpoint, endpoint), eq(delivery.state, 'pending'), lte(delivery.due, now))
      const rows = db
        .select()
        .from(delivery)
        .innerJoin(message, eq(message.number, delivery.message))
        .where(isDue)
        .orderBy(asc(delivery.due), asc(delivery.message))
        .limit(AT_ONCE)
        .all()
      return rows.map(({ message: { number, id, body } }) => {
        return { message: number, envelope: { url: row.url, id, body, secrets: [row.secret, ...former] } }
      })
    })
  }

  async #deliver(endpoint: number, { message, envelope }: Due): Promise<void> {
    const attempt = await send(envelope, this.#ports)
    const { delivery } = schema
    this.#database.transact((db) => {
      const own = and(eq(delivery.endpoint, endpoint), eq(delivery.message, message))
      const row = db.select().from(delivery).where(own).get()
      if (!row) return
      const tries = row.tries + 1
      const attempts = JSON.stringify([...(JSON.parse(row.attempts) as Attempt[]), attempt].slice(-ATTEMPTS_KEPT))
      const pause = attempt.status === 410 ? null : pauseAfter(tries, this.#ports.random)
      const isTaken = attempt.outcome === 'delivered'
      const after = isTaken
        ? ({ state: 'delivered', due: null } as const)
        : pause === null
          ? ({ state: 'failed', due: null } as const)
          : { due: attempt.time + pause }
      const since = row.tries === 0 ? attempt.time : (row.since ?? attempt.time)
      db.update(delivery)
        .set({ ...after, tries, attempts, since })
        .where(own)
        .run()
      const { endpoint: table } = schema
      if (isTaken) db.update(table).set({ lastTaken: attempt.time }).where(eq(table.number, endpoint)).run()
      else if (pause === null) disable(db, endpoint, attempt.status === 410 ? Number.POSITIVE_INFINITY : since)
    })
  }
}
