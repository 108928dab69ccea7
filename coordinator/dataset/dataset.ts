import { eq, sql } from 'drizzle-orm'
import type { Dataset, DatasetPolicy } from '../../shared/api/index.ts'
import { COUNT, canonicalJson, countEvent, type DatasetEntry } from '../../shared/ledger/index.ts'
import {
  distinctEvents,
  type EventCount,
  type MechanismEvent,
  odometer,
  RdpFilter,
} from '../../shared/privacy/index.ts'
import type { BucketParts } from '../ledger/index.ts'
import { type ActorStorage, Database } from '../storage/index.ts'
import { DatasetLog } from './log.ts'
import { migrations } from './migrations.gen.ts'
import { limitBroken, type RunTerms } from './policy.ts'
import { type DatasetQueries, datasetQueries } from './queries.ts'
import * as schema from './schema.ts'

export type Registration = Omit<Dataset, 'spent' | 'reserved' | 'policy' | 'fault'>

export interface DatasetPorts {
  readonly storage: ActorStorage
  readonly objects: BucketParts['objects']
  /** What the log is signed with. */
  readonly logKey: BucketParts['key']
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** A fault of work that nobody waits for. */
  readonly onFault: (error: unknown) => void
  /**
   * Resolves when what the database has outlives power loss, where a commit alone does not see to that: the bucket must never have
   * what a database may come to forget.
   */
  readonly synced?: () => Promise<void>
}

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
 * One dataset: its lifetime budget, every charge made to it, over all runs, and the log that says so to anybody who has the
 * bucket. One actor and one database each, so that runs which share a dataset meet here and nowhere else. What is answered
 * lies in the bucket, but for charges that a reservation there covers.
 */
export class DatasetActor {
  readonly #database: Database
  readonly #queries: DatasetQueries
  readonly #log: DatasetLog
  readonly #now: () => number

  private constructor(database: Database, { objects, logKey: key, now, onFault, synced }: DatasetPorts) {
    this.#database = database
    this.#queries = datasetQueries(database)
    this.#log = new DatasetLog({ queries: this.#queries, objects, key, now, onFault, synced })
    this.#now = now
  }

  static async open(ports: DatasetPorts): Promise<DatasetActor> {
    const actor = new DatasetActor(await Database.open(ports.storage, migrations), ports)
    actor.#writeWhatWasNot()
    return actor
  }

  /** Resolves when everything begun so far is done. */
  async idle(): Promise<void> {
    await this.#log.idle()
  }

  /**
   * Registers the dataset, or finds it registered: `same` content, or a `conflict`. A private count of its units is charged with
   * it; `exceeded`, and nothing done, where the lifetime budget does not pay for that.
   * @throws LogFaultError, StoreError
   */
  async register(wanted: Registration): Promise<'created' | 'same' | 'conflict' | 'exceeded'> {
    const outcome = this.#database.transact((db) => {
      const known = this.#queries.registration()
      if (known) return canonicalJson(known) === canonicalJson(wanted) ? 'same' : 'conflict'
      const { budget, count, ...row } = wanted
      const event = count && countEvent(count)
      if (event && !new RdpFilter(budget, []).canSpend({ event, count: 1 }).ok) return 'exceeded'
      db.insert(schema.dataset)
        .values({ one: 1, ...row, ...budget, countNoise: count?.noiseMultiplier ?? null })
        .run()
      this.#log.append([{ type: 'register', dataset: wanted }])
      if (event) this.#charge({ id: COUNT, run: COUNT, event }, false)
      return 'created'
    })
    if (outcome === 'created' || outcome === 'same') await this.#log.commit({ isSigned: true })
    return outcome
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
        fault: this.#queries.fault(),
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

  /**
   * Sets what the owner allows, from the next charge or reservation on. @returns false where the dataset is unknown
   * @throws LogFaultError, StoreError: it holds here, and the bucket does not say so yet
   */
  async setPolicy(policy: DatasetPolicy): Promise<boolean> {
    const isKnown = this.#database.transact((db) => {
      if (!this.#queries.registration()) return false
      const { frozen } = policy
      if (frozen !== this.#queries.policy().frozen) this.#log.append([{ type: 'freeze', frozen }])
      const row = { policy: canonicalJson(policy) }
      db.insert(schema.policy)
        .values({ one: 1, ...row })
        .onConflictDoUpdate({ target: schema.policy.one, set: row })
        .run()
      return true
    })
    if (isKnown) await this.#log.commit()
    return isKnown
  }

  /**
   * Reserves all that a run may ever charge, unless the lifetime budget does not pay for it beside what is charged and reserved,
   * or the owner does not allow it. A run reserves once: again is `reserved`. A dry run answers the same, and reserves nothing.
   * @throws LogFaultError, StoreError
   */
  async reserve(
    { run, events, terms }: Reservation,
    { dryRun = false }: { dryRun?: boolean } = {},
  ): Promise<ReserveAnswer> {
    await this.#log.inspect()
    const answer = this.#database.transact((db): ReserveAnswer => {
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
      if (dryRun) return { outcome: 'reserved' }
      for (const { event, count } of wanted)
        db.insert(reservation)
          .values({ run, event: canonicalJson(event), left: count })
          .run()
      this.#log.append([{ type: 'reserve', run, events: wanted }])
      return { outcome: 'reserved' }
    })
    if (answer.outcome === 'reserved' && !dryRun) await this.#log.commit()
    return answer
  }

  /**
   * Returns what a run has reserved and not charged. Again: the same. A run whose own log charged more than this database knows of
   * shows that the database was rolled back: nothing is returned, nor charged any more.
   * @param charged what the run's log says that it charged here
   * @throws LogFaultError, StoreError
   */
  async release(run: string, charged: readonly EventCount[]): Promise<void> {
    await this.#log.inspect()
    const isBehind = this.#database.transact((db) => {
      const made = new Map(this.#queries.chargesOf(run).map(({ event, count }) => [canonicalJson(event), count]))
      if (charged.some(({ event, count }) => (made.get(canonicalJson(event)) ?? 0) < count)) return true
      const own = eq(schema.reservation.run, run)
      const left = db.select().from(schema.reservation).where(own).all()
      const returned = left.filter((row) => row.left > 0)
      db.update(schema.reservation).set({ left: 0 }).where(own).run()
      const events = returned.map((row) => ({ event: JSON.parse(row.event) as MechanismEvent, count: row.left }))
      if (events.length > 0) this.#log.append([{ type: 'release', run, events }])
      return false
    })
    if (isBehind) throw this.#log.fail('ledger_behind_log')
    await this.#log.commit({ isSigned: true })
  }

  /**
   * Charges one release: of what the run has reserved, else unless the composition with all that is charged and reserved would
   * exceed the lifetime budget. The same id and content again is `charged` as before; the same id with other content is a
   * `conflict`. A dry run answers the same, and charges nothing.
   * @throws LogFaultError, StoreError
   */
  async charge(wanted: Charge, { dryRun = false }: { dryRun?: boolean } = {}): Promise<ChargeAnswer> {
    await this.#log.inspect()
    const work = (): { answer: ChargeAnswer; isCovered?: boolean } => {
      const known = this.#queries.registration()
      if (!known) return { answer: 'unknown' }
      const event = canonicalJson(wanted.event)
      const before = this.#queries.chargeBy(wanted.id)
      if (before) return { answer: before.run === wanted.run && before.event === event ? 'charged' : 'conflict' }
      if (this.#queries.policy().frozen) return { answer: 'frozen' }
      const isReserved = this.#queries.isReserved(wanted)
      const next = { event: wanted.event, count: 1 }
      if (!isReserved && !new RdpFilter(known.budget, this.#queries.committed()).canSpend(next).ok)
        return { answer: 'exceeded' }
      if (!dryRun) this.#charge(wanted, isReserved)
      return { answer: 'charged', isCovered: isReserved }
    }
    const { answer, isCovered } = dryRun ? this.#database.read(work) : this.#database.transact(work)
    if (answer !== 'charged' || dryRun) return answer
    if (isCovered) this.#log.commitSoon()
    else await this.#log.commit()
    return answer
  }

  /** For use inside a transaction. */
  #charge({ id, run, event }: Charge, isReserved: boolean): void {
    this.#queries.record({ id, run, event, time: this.#now(), isReserved })
    this.#log.append([{ type: 'charge', run, lease: id, event, reserved: isReserved }])
  }

  /** A database from before there were logs of datasets begins one, with all that it has charged and reserved. */
  #writeWhatWasNot(): void {
    this.#database.transact((db) => {
      const known = this.#queries.registration()
      if (!known || this.#queries.lastRecord()) return
      const charges = db.select().from(schema.charge).orderBy(sql`rowid`).all()
      const reserved = db.select().from(schema.reservation).all()
      const entries: DatasetEntry[] = [{ type: 'register', dataset: known }]
      for (const { id, run, event } of charges)
        entries.push({ type: 'charge', run, lease: id, event: JSON.parse(event) as MechanismEvent, reserved: false })
      for (const run of new Set(reserved.map((row) => row.run))) {
        const own = reserved.filter((row) => row.run === run && row.left > 0)
        const events = own.map((row) => ({ event: JSON.parse(row.event) as MechanismEvent, count: row.left }))
        entries.push({ type: 'reserve', run, events })
      }
      if (this.#queries.policy().frozen) entries.push({ type: 'freeze', frozen: true })
      this.#log.append(entries)
    })
  }
}

const countOf = (entries: readonly EventCount[]): number => entries.reduce((sum, { count }) => sum + count, 0)
