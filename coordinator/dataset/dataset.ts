import { eq, sql } from 'drizzle-orm'
import type { Dataset } from '../../shared/api/index.ts'
import { canonicalJson } from '../../shared/ledger/index.ts'
import { type EventCount, type MechanismEvent, odometer, RdpFilter } from '../../shared/privacy/index.ts'
import { type ActorStorage, Database } from '../storage/index.ts'
import { migrations } from './migrations.gen.ts'
import * as schema from './schema.ts'

export type Registration = Omit<Dataset, 'spent'>

/** What a run's lease costs a dataset. The id is the lease's, so that a repeat after a crash is known as one. */
export interface Charge {
  readonly id: string
  readonly run: string
  readonly event: MechanismEvent
}

type Transaction = Parameters<Parameters<Database['transact']>[0]>[0]

/**
 * One dataset: its lifetime budget and every charge made to it, over all runs. One actor and one database each, so that
 * runs which share a dataset meet here and nowhere else.
 */
export class DatasetActor {
  readonly #database: Database
  readonly #now: () => number

  private constructor(database: Database, now: () => number) {
    this.#database = database
    this.#now = now
  }

  static async open(ports: { storage: ActorStorage; now: () => number }): Promise<DatasetActor> {
    return new DatasetActor(await Database.open(ports.storage, migrations), ports.now)
  }

  /**
   * Registers the dataset, or finds it registered: `same` content, or a `conflict`. A private count of its units is charged with
   * it; `exceeded`, and nothing done, where the lifetime budget does not pay for that.
   */
  register(wanted: Registration): 'created' | 'same' | 'conflict' | 'exceeded' {
    return this.#database.transact((db) => {
      const known = registration(db)
      if (known) return canonicalJson(known) === canonicalJson(wanted) ? 'same' : 'conflict'
      const { budget, count, ...row } = wanted
      const event = count && countEvent(count)
      if (event && !new RdpFilter(budget, []).canSpend({ event, count: 1 }).ok) return 'exceeded'
      db.insert(schema.dataset)
        .values({ one: 1, ...row, ...budget, countNoise: count?.noiseMultiplier ?? null })
        .run()
      if (event) record(db, { id: COUNT, run: COUNT, event }, this.#now())
      return 'created'
    })
  }

  describe(): Dataset | null {
    return this.#database.transact((db) => {
      const known = registration(db)
      if (!known) return null
      const history = historyOf(db)
      const { epsilon } = odometer(history, known.budget.delta)
      const ofBudget = new RdpFilter(known.budget, history).epsilon()
      return { ...known, spent: { epsilon, ofBudget, charges: history.reduce((sum, entry) => sum + entry.count, 0) } }
    })
  }

  /** Would the budget hold after these releases? Asks, and charges nothing. */
  preview(events: readonly EventCount[]): { ok: boolean; epsilonAfter: number } | null {
    return this.#database.transact((db) => {
      const known = registration(db)
      if (!known) return null
      const epsilonAfter = new RdpFilter(known.budget, [...historyOf(db), ...events]).epsilon()
      return { ok: epsilonAfter <= known.budget.epsilon, epsilonAfter }
    })
  }

  /** How many releases of an event the budget still pays for. */
  affordable(event: MechanismEvent): number | null {
    return this.#database.transact((db) => {
      const known = registration(db)
      return known && new RdpFilter(known.budget, historyOf(db)).affordable(event)
    })
  }

  /**
   * Charges one release, unless the composition with all before would exceed the lifetime budget. The same id and content
   * again is `charged` as before; the same id with other content is a `conflict`. A dry run answers the same, and charges
   * nothing.
   */
  charge(
    wanted: Charge,
    { dryRun = false }: { dryRun?: boolean } = {},
  ): 'charged' | 'exceeded' | 'conflict' | 'unknown' {
    return this.#database.transact((db) => {
      const known = registration(db)
      if (!known) return 'unknown'
      const event = canonicalJson(wanted.event)
      const before = db.select().from(schema.charge).where(eq(schema.charge.id, wanted.id)).get()
      if (before) return before.run === wanted.run && before.event === event ? 'charged' : 'conflict'
      const next = { event: wanted.event, count: 1 }
      if (!new RdpFilter(known.budget, historyOf(db)).canSpend(next).ok) return 'exceeded'
      if (dryRun) return 'charged'
      record(db, wanted, this.#now())
      return 'charged'
    })
  }
}

/** Id of the charge for the count of units; no lease of a run has such a short name. */
const COUNT = 'count'

/** A count is one release of the Gaussian mechanism over all units, of sensitivity 1. */
const countEvent = ({ noiseMultiplier }: NonNullable<Registration['count']>): MechanismEvent => {
  return { mechanism: 'gaussian', noiseMultiplier, samplingRate: 1, neighbours: 'add-remove' }
}

function record(db: Transaction, { id, run, event: released }: Charge, time: number): void {
  const event = canonicalJson(released)
  db.insert(schema.charge).values({ id, run, event, time }).run()
  db.insert(schema.spend)
    .values({ event, count: 1 })
    .onConflictDoUpdate({ target: schema.spend.event, set: { count: sql`${schema.spend.count} + 1` } })
    .run()
}

function registration(db: Transaction): Registration | null {
  const row = db.select().from(schema.dataset).get()
  if (!row) return null
  const { id, units, unit, epsilon, delta, countNoise } = row
  const count = countNoise === null ? {} : { count: { noiseMultiplier: countNoise } }
  return { id, units, unit, ...count, budget: { epsilon, delta } }
}

function historyOf(db: Transaction): EventCount[] {
  const rows = db.select().from(schema.spend).all()
  return rows.map(({ event, count }) => ({ event: JSON.parse(event) as MechanismEvent, count }))
}
