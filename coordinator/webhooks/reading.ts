import { and, eq, inArray, lt, lte, ne, sql } from 'drizzle-orm'
import type { EventType, RunEvent } from '../../shared/api/index.ts'
import type { RunRecord } from '../../shared/ledger/index.ts'
import { EventFold } from '../run/index.ts'
import type { Database } from '../storage/index.ts'
import { hasEndpoints, type Transaction } from './endpoints.ts'
import * as schema from './schema.ts'

export interface ReadingPorts {
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Records of a run's stored log from a seq on, and whether more can come. */
  readonly records: (run: string, from: number) => Promise<{ records: RunRecord[]; ended: boolean }>
  readonly runningRuns: () => Promise<string[]>
}

const KEPT_MS = 30 * 86_400_000

/** Turns the logs of runs into messages for those who want them, each log from where its last reading ended. */
export class LogReader {
  readonly #database: Database
  readonly #ports: ReadingPorts
  /** Of runs that are followed: events count what was spent from the first record on. */
  readonly #folds = new Map<string, { fold: EventFold; next: number }>()
  readonly #reading = new Map<string, { again: boolean }>()

  constructor(database: Database, ports: ReadingPorts) {
    this.#database = database
    this.#ports = ports
  }

  /** Follows a run from its first record on, where anybody listens. */
  follow(run: string): void {
    this.#database.transact((db) => {
      if (!hasEndpoints(db)) return
      db.insert(schema.position).values({ run, next: 0 }).onConflictDoNothing().run()
    })
  }

  /** Reads all logs that are followed, and forgets messages that are old. */
  async sweep(): Promise<void> {
    if (!this.#database.transact(hasEndpoints)) return
    for (const run of await this.#ports.runningRuns()) this.follow(run)
    const { position } = schema
    const followed = this.#database.transact((db) =>
      db.select({ run: position.run }).from(position).where(eq(position.ended, false)).all(),
    )
    for (const { run } of followed) await this.catchUp(run)
    this.#database.transact((db) => forget(db, this.#ports.now() - KEPT_MS))
  }

  /** Reads what a run's log has since the last reading. One reading at a time for each run. */
  async catchUp(run: string): Promise<void> {
    const reading = this.#reading.get(run)
    if (reading) {
      reading.again = true
      return
    }
    const own = { again: true }
    this.#reading.set(run, own)
    try {
      while (own.again) {
        own.again = false
        await this.#read(run)
      }
    } finally {
      this.#reading.delete(run)
    }
  }

  async #read(run: string): Promise<void> {
    const { position } = schema
    const at = this.#database.transact((db) => db.select().from(position).where(eq(position.run, run)).get())
    if (!at || at.ended) return
    const known = this.#folds.get(run) ?? { fold: new EventFold(), next: 0 }
    this.#folds.set(run, known)
    const { records, ended } = await this.#ports.records(run, known.next)
    const events: RunEvent[] = []
    for (const record of records) {
      known.next = record.seq + 1
      const event = record.seq < at.next ? known.fold.skip(record) : known.fold.push(record)
      if (event) events.push(event)
    }
    // A log that failed has no end record.
    if (ended && records.at(-1)?.type !== 'end') {
      events.push({ type: 'run.ended', seq: known.next, time: Math.floor(this.#ports.now()), state: 'failed' })
    }
    this.#database.transact((db) => {
      for (const event of events) enqueue(db, { run, event, now: this.#ports.now() })
      const next = Math.max(at.next, known.next)
      db.update(position).set({ next, ended }).where(eq(position.run, run)).run()
    })
    if (ended) this.#folds.delete(run)
    // Records come some at a time.
    else if (records.length > 0) this.#reading.get(run)!.again = true
  }
}

/** One message for all endpoints that want the event; those that are disabled have it among what was not delivered. */
function enqueue(db: Transaction, { run, event, now }: { run: string; event: RunEvent; now: number }): void {
  const { type, time, ...data } = event
  const wanting = db
    .select()
    .from(schema.endpoint)
    .where(lte(schema.endpoint.created, time))
    .all()
    .filter((row) => (JSON.parse(row.events) as EventType[]).includes(type))
  if (wanting.length === 0) return
  const id = `msg-${run}-${event.seq}`
  const body = JSON.stringify({ type, timestamp: new Date(time).toISOString(), data: { run, ...data } })
  const { number } = db
    .insert(schema.message)
    .values({ id, run, type, body, time })
    .returning({ number: schema.message.number })
    .get()
  for (const row of wanting) {
    const state = row.disabled
      ? ({ state: 'failed', due: null } as const)
      : ({ state: 'pending', due: Math.floor(now) } as const)
    db.insert(schema.delivery)
      .values({ endpoint: row.number, message: number, ...state })
      .run()
  }
}

/** Forgets messages before a time, but for those that are still sent. */
function forget(db: Transaction, before: number): void {
  const { delivery, message } = schema
  const old = lt(message.time, before)
  const numbers = db.select({ number: message.number }).from(message).where(old)
  db.delete(delivery)
    .where(and(ne(delivery.state, 'pending'), inArray(delivery.message, numbers)))
    .run()
  db.delete(message)
    .where(and(old, sql`${message.number} not in (select ${delivery.message} from ${delivery})`))
    .run()
}
