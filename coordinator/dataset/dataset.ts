import { eq } from 'drizzle-orm'
import type { Dataset, DatasetPolicy } from '../../shared/api/index.ts'
import { canonicalJson } from '../../shared/ledger/index.ts'
import {
  distinctEvents,
  type EventCount,
  type MechanismEvent,
  odometer,
  RdpFilter,
} from '../../shared/privacy/index.ts'
import { type ActorStorage, Database } from '../storage/index.ts'
import { migrations } from './migrations.gen.ts'
import { limitBroken, type RunTerms } from './policy.ts'
import { type DatasetQueries, datasetQueries } from './queries.ts'
import * as schema from './schema.ts'

export type Registration = Omit<Dataset, 'spent' | 'reserved' | 'policy'>

/** What a run's lease costs a dataset. The id is the lease's, so that a repeat after a crash is known as one. */
export interface Charge {
  readonly id: string
  readonly run: string
  readonly event: MechanismEvent
}

/** What a run may come to charge, and what its owner's policy looks at. */
export interface Reservation {
  readonly run: string
  readonly events: readonly EventCount[]
  readonly terms: RunTerms
}

export type ChargeAnswer = 'charged' | 'exceeded' | 'frozen' | 'conflict' | 'unknown'

export type ReserveAnswer =
  | { readonly outcome: 'reserved' | 'exceeded' | 'frozen' | 'unknown' }
  | { readonly outcome: 'policy'; readonly limit: string }

/**
 * One dataset: its lifetime budget and every charge made to it, over all runs. One actor and one database each, so that
 * runs which share a dataset meet here and nowhere else.
 */
export class DatasetActor {
  readonly #database: Database
  readonly #queries: DatasetQueries
  readonly #now: () => number

  private constructor(database: Database, now: () => number) {
    this.#database = database
    this.#queries = datasetQueries(database)
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
      const known = this.#queries.registration()
      if (known) return canonicalJson(known) === canonicalJson(wanted) ? 'same' : 'conflict'
      const { budget, count, ...row } = wanted
      const event = count && countEvent(count)
      if (event && !new RdpFilter(budget, []).canSpend({ event, count: 1 }).ok) return 'exceeded'
      db.insert(schema.dataset)
        .values({ one: 1, ...row, ...budget, countNoise: count?.noiseMultiplier ?? null })
        .run()
      if (event) this.#queries.record({ id: COUNT, run: COUNT, event, time: this.#now(), isReserved: false })
      return 'created'
    })
  }

  describe(): Dataset | null {
    return this.#database.transact(() => {
      const known = this.#queries.registration()
      if (!known) return null
      const history = this.#queries.history()
      const { epsilon } = odometer(history, known.budget.delta)
      const reserved = this.#queries.reservations()
      const ofBudget = (entries: readonly EventCount[]) => new RdpFilter(known.budget, entries).epsilon()
      return {
        ...known,
        spent: { epsilon, ofBudget: ofBudget(history), charges: countOf(history) },
        reserved: { charges: countOf(reserved), ofBudget: ofBudget([...history, ...reserved]) },
        policy: this.#queries.policy(),
      }
    })
  }

  /** How many releases of an event the budget still pays for, beside what is reserved. */
  affordable(event: MechanismEvent): number | null {
    return this.#database.transact(() => {
      const known = this.#queries.registration()
      return known && new RdpFilter(known.budget, this.#queries.committed()).affordable(event)
    })
  }

  /** Sets what the owner allows, from the next charge or reservation on. @returns false where the dataset is unknown */
  setPolicy(policy: DatasetPolicy): boolean {
    return this.#database.transact((db) => {
      if (!this.#queries.registration()) return false
      const row = { policy: canonicalJson(policy) }
      db.insert(schema.policy)
        .values({ one: 1, ...row })
        .onConflictDoUpdate({ target: schema.policy.one, set: row })
        .run()
      return true
    })
  }

  /**
   * Reserves all that a run may ever charge, unless the lifetime budget does not pay for it beside what is charged and reserved,
   * or the owner does not allow it. A run reserves once: again is `reserved`. A dry run answers the same, and reserves nothing.
   */
  reserve({ run, events, terms }: Reservation, { dryRun = false }: { dryRun?: boolean } = {}): ReserveAnswer {
    return this.#database.transact((db): ReserveAnswer => {
      const known = this.#queries.registration()
      if (!known) return { outcome: 'unknown' }
      const { reservation } = schema
      if (db.select().from(reservation).where(eq(reservation.run, run)).get()) return { outcome: 'reserved' }
      const policy = this.#queries.policy()
      if (policy.frozen) return { outcome: 'frozen' }
      const limit = limitBroken(policy, terms)
      if (limit) return { outcome: 'policy', limit }
      const wanted = distinctEvents(events)
      const after = new RdpFilter(known.budget, [...this.#queries.committed(), ...wanted]).epsilon()
      if (!(after <= known.budget.epsilon)) return { outcome: 'exceeded' }
      for (const { event, count } of dryRun ? [] : wanted)
        db.insert(reservation)
          .values({ run, event: canonicalJson(event), left: count })
          .run()
      return { outcome: 'reserved' }
    })
  }

  /** Returns what a run has reserved and not charged. Again: the same. */
  release(run: string): void {
    this.#database.transact((db) => {
      db.update(schema.reservation).set({ left: 0 }).where(eq(schema.reservation.run, run)).run()
    })
  }

  /**
   * Charges one release: of what the run has reserved, else unless the composition with all that is charged and reserved would
   * exceed the lifetime budget. The same id and content again is `charged` as before; the same id with other content is a
   * `conflict`. A dry run answers the same, and charges nothing.
   */
  charge(wanted: Charge, { dryRun = false }: { dryRun?: boolean } = {}): ChargeAnswer {
    const work = (): ChargeAnswer => {
      const known = this.#queries.registration()
      if (!known) return 'unknown'
      const event = canonicalJson(wanted.event)
      const before = this.#queries.chargeBy(wanted.id)
      if (before) return before.run === wanted.run && before.event === event ? 'charged' : 'conflict'
      if (this.#queries.policy().frozen) return 'frozen'
      const isReserved = this.#queries.isReserved(wanted)
      const next = { event: wanted.event, count: 1 }
      if (!isReserved && !new RdpFilter(known.budget, this.#queries.committed()).canSpend(next).ok) return 'exceeded'
      if (dryRun) return 'charged'
      this.#queries.record({ ...wanted, time: this.#now(), isReserved })
      return 'charged'
    }
    return dryRun ? this.#database.read(work) : this.#database.transact(work)
  }
}

/** Id of the charge for the count of units; no lease of a run has such a short name. */
const COUNT = 'count'

/** A count is one release of the Gaussian mechanism over all units, of sensitivity 1. */
const countEvent = ({ noiseMultiplier }: NonNullable<Registration['count']>): MechanismEvent => {
  return { mechanism: 'gaussian', noiseMultiplier, samplingRate: 1, neighbours: 'add-remove' }
}

const countOf = (entries: readonly EventCount[]): number => entries.reduce((sum, { count }) => sum + count, 0)
