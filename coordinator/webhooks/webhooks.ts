import { and, asc, desc, eq, gte, inArray, lt, ne, type SQL, sql } from 'drizzle-orm'
import type { Attempt, Delivery, EventType, Webhook } from '../../shared/api/index.ts'
import { newId, type Page, type PageRequest } from '../directory/index.ts'
import { type ActorStorage, Database } from '../storage/index.ts'
import { Dispatcher, type DispatchPorts } from './dispatch.ts'
import { endpointOf, webhookOf } from './endpoints.ts'
import { migrations } from './migrations.gen.ts'
import { LogReader, type ReadingPorts } from './reading.ts'
import * as schema from './schema.ts'
import { newSecret } from './send.ts'

export interface WebhookPorts extends ReadingPorts, DispatchPorts {
  readonly storage: ActorStorage
  /** Asks for `alarm()` at a time, in place of what was asked before; null for none. */
  readonly setAlarm: (at: number | null) => void
  /** A fault of work that nobody waits for; the code alone. */
  readonly onFault: (code: string) => void
}

/** All logs that are followed are looked at this often, should a notice have been lost. */
const SWEEP_MS = 60_000
/** How long a secret that was replaced still signs. */
const FORMER_SECRET_MS = 86_400_000

/**
 * Sends events of runs to addresses that asked for them, at least once and in no promised order. Events are read from the logs of
 * the runs, from where the last reading ended: a notice that is lost delays them, and loses none.
 */
export class Webhooks {
  readonly #ports: WebhookPorts
  readonly #database: Database
  readonly #reader: LogReader
  readonly #dispatcher: Dispatcher
  readonly #work = new Set<Promise<void>>()
  #sweepAt = 0
  #closed = false

  private constructor(ports: WebhookPorts, database: Database) {
    this.#ports = ports
    this.#database = database
    this.#reader = new LogReader(database, ports)
    this.#dispatcher = new Dispatcher(database, ports)
  }

  static async open(ports: WebhookPorts): Promise<Webhooks> {
    return new Webhooks(ports, await Database.open(ports.storage, migrations))
  }

  create({ url, events }: Pick<Webhook, 'url' | 'events'>): Webhook & { secret: string } {
    const { random, now } = this.#ports
    const [id, secret, created] = [newId('hook', random), newSecret(random), Math.floor(now())]
    this.#database.transact((db) => {
      const row = { id, url, events: JSON.stringify(events), secret, created }
      db.insert(schema.endpoint).values(row).run()
    })
    this.#sweepAt = 0
    this.#wake()
    return { id, url, events, created, disabled: false, secret }
  }

  list({ cursor = '', limit }: PageRequest): Page<Webhook> {
    const rows = this.#database.transact((db) =>
      db
        .select()
        .from(schema.endpoint)
        .where(sql`${schema.endpoint.id} > ${cursor}`)
        .orderBy(asc(schema.endpoint.id))
        .limit(limit + 1)
        .all(),
    )
    const items = rows.slice(0, limit).map(webhookOf)
    return { items, next: rows.length > limit ? items.at(-1)!.id : null }
  }

  get(id: string): Webhook | null {
    const row = this.#database.transact((db) => endpointOf(db, id))
    return row ? webhookOf(row) : null
  }

  /** Deletes an endpoint with its deliveries. @returns false where it is unknown */
  remove(id: string): boolean {
    return this.#database.transact((db) => {
      const row = endpointOf(db, id)
      if (row) {
        db.delete(schema.delivery).where(eq(schema.delivery.endpoint, row.number)).run()
        db.delete(schema.endpoint).where(eq(schema.endpoint.number, row.number)).run()
      }
      return row !== undefined
    })
  }

  /** Gives an endpoint a new secret; the old one signs too for a day. @returns null where it is unknown */
  rotate(id: string): (Webhook & { secret: string }) | null {
    const secret = newSecret(this.#ports.random)
    return this.#database.transact((db) => {
      const row = endpointOf(db, id)
      if (!row) return null
      const formerUntil = Math.floor(this.#ports.now()) + FORMER_SECRET_MS
      const change = { secret, formerSecret: row.secret, formerUntil }
      db.update(schema.endpoint).set(change).where(eq(schema.endpoint.number, row.number)).run()
      return { ...webhookOf(row), secret }
    })
  }

  /** What was sent to an endpoint, newest first; null where it is unknown. */
  deliveries(id: string, { cursor, limit }: PageRequest): Page<Delivery> | null {
    const before = cursor === undefined ? Number.MAX_SAFE_INTEGER : Number(cursor)
    return this.#database.transact((db) => {
      const row = endpointOf(db, id)
      if (!row) return null
      const rows = db
        .select()
        .from(schema.delivery)
        .innerJoin(schema.message, eq(schema.message.number, schema.delivery.message))
        .where(and(eq(schema.delivery.endpoint, row.number), lt(schema.delivery.message, before)))
        .orderBy(desc(schema.delivery.message))
        .limit(limit + 1)
        .all()
      const shown = rows.slice(0, limit)
      const next = rows.length > limit ? String(shown.at(-1)!.message.number) : null
      return { items: shown.map(deliveryOf), next }
    })
  }

  /** Sends one message again. @returns false where the endpoint or the message is unknown */
  replay(id: string, message: string): boolean {
    const count = this.#again(id, eq(schema.message.id, message))
    return count !== null && count > 0
  }

  /** Sends everything again since a time that was not delivered. @returns how many, or null where the endpoint is unknown */
  replaySince(id: string, since: number): number | null {
    return this.#again(id, gte(schema.message.time, since), ne(schema.delivery.state, 'delivered'))
  }

  /** Follows a run from its first record on, where anybody listens. */
  follow(run: string): void {
    this.#reader.follow(run)
  }

  /** The log of a run grew. */
  notice(run: string): void {
    this.#reader.follow(run)
    this.#begin(async () => {
      await this.#reader.catchUp(run)
      await this.#dispatch()
    })
  }

  /** The alarm that was asked for. Early, late or twice: no matter. */
  alarm(): void {
    this.#wake()
  }

  /** Resolves when what was begun is done. */
  async idle(): Promise<void> {
    while (this.#work.size > 0) await Promise.all(this.#work)
  }

  /** Begins nothing more. */
  async close(): Promise<void> {
    this.#closed = true
    await this.idle()
  }

  #begin(task: () => Promise<void>): void {
    if (this.#closed) return
    const work = task()
      .catch(() => this.#ports.onFault('webhooks'))
      .finally(() => this.#work.delete(work))
    this.#work.add(work)
  }

  /** Does what is due: reads the logs, sends, and asks for the next alarm. */
  #wake(): void {
    this.#begin(async () => {
      if (this.#sweepAt <= this.#ports.now()) {
        this.#sweepAt = this.#ports.now() + SWEEP_MS
        await this.#reader.sweep()
      }
      await this.#dispatch()
    })
  }

  async #dispatch(): Promise<void> {
    await this.#dispatcher.dispatch(() => this.#closed)
    const due = this.#dispatcher.nextDue()
    this.#ports.setAlarm(due === null || this.#closed ? null : Math.min(due, this.#sweepAt))
  }

  /** Makes messages due again, with all their attempts, and their endpoint enabled. */
  #again(id: string, messages: SQL, deliveries?: SQL): number | null {
    const { delivery, message } = schema
    const count = this.#database.transact((db) => {
      const row = endpointOf(db, id)
      if (!row) return null
      const numbers = db.select({ number: message.number }).from(message).where(messages)
      const chosen = and(eq(delivery.endpoint, row.number), inArray(delivery.message, numbers), deliveries)
      const changed = db
        .update(delivery)
        .set({ state: 'pending', due: Math.floor(this.#ports.now()), tries: 0 })
        .where(chosen)
        .returning({ message: delivery.message })
        .all()
      db.update(schema.endpoint).set({ disabled: false }).where(eq(schema.endpoint.number, row.number)).run()
      return changed.length
    })
    this.#wake()
    return count
  }
}

function deliveryOf(row: {
  delivery: typeof schema.delivery.$inferSelect
  message: typeof schema.message.$inferSelect
}): Delivery {
  const { delivery, message } = row
  const { id, run, time } = message
  const attempts = JSON.parse(delivery.attempts) as Attempt[]
  return { id, run, time, type: message.type as EventType, state: delivery.state, next: delivery.due, attempts }
}
