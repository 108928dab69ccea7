import { and, asc, desc, eq, gt, gte, sql } from 'drizzle-orm'
import type { DatasetPolicy } from '../../shared/api/index.ts'
import { canonicalJson } from '../../shared/ledger/index.ts'
import { distinctEvents, type EventCount, type MechanismEvent } from '../../shared/privacy/index.ts'
import type { LogFault } from '../ledger/index.ts'
import type { Database } from '../storage/index.ts'
import type { Charge, Registration } from './dataset.ts'
import { OPEN_POLICY } from './policy.ts'
import * as schema from './schema.ts'

export type DatasetQueries = ReturnType<typeof datasetQueries>

/** What a dataset is asked and told at every charge, built once. Each is for use inside `transact`. */
export function datasetQueries(database: Database) {
  const { charge, dataset, policy, reservation, segment, spend } = schema
  const log = schema.record
  const { placeholder } = sql
  const { event, left } = reservation
  const own = and(eq(reservation.run, placeholder('run')), eq(event, placeholder('event')), gt(left, 0))
  const made = {
    id: placeholder('id'),
    run: placeholder('run'),
    event: placeholder('event'),
    time: placeholder('time'),
  }
  const one = { target: spend.event, set: { count: sql`${spend.count} + 1` } }
  const reserved = { event, count: sql<number>`sum(${left})` }
  const built = database.prepare((db) => ({
    dataset: db.select().from(dataset).prepare(),
    policy: db.select().from(policy).prepare(),
    charge: db
      .select()
      .from(charge)
      .where(eq(charge.id, placeholder('id')))
      .prepare(),
    reservation: db.select().from(reservation).where(own).prepare(),
    take: db
      .update(reservation)
      .set({ left: sql`${left} - 1` })
      .where(own)
      .prepare(),
    addCharge: db.insert(charge).values(made).prepare(),
    addSpend: db
      .insert(spend)
      .values({ event: placeholder('event'), count: 1 })
      .onConflictDoUpdate(one)
      .prepare(),
    spent: db.select().from(spend).prepare(),
    lastRecord: db.select().from(log).orderBy(desc(log.seq)).limit(1).prepare(),
    addRecord: db
      .insert(log)
      .values({ seq: placeholder('seq'), line: placeholder('line') })
      .prepare(),
    reserved: db.select(reserved).from(reservation).where(gt(left, 0)).groupBy(event).prepare(),
  }))

  function registration(): Registration | null {
    const row = built.dataset.get()
    if (!row) return null
    const { id, units, unit, epsilon, delta, countNoise } = row
    const count = countNoise === null ? {} : { count: { noiseMultiplier: countNoise } }
    return { id, units, unit, ...count, budget: { epsilon, delta } }
  }

  function policyNow(): DatasetPolicy {
    const row = built.policy.get()
    return row ? (JSON.parse(row.policy) as DatasetPolicy) : OPEN_POLICY
  }

  /** All charges so far, those of one event together. */
  function history(): EventCount[] {
    return built.spent.all().map((row) => ({ event: JSON.parse(row.event) as MechanismEvent, count: row.count }))
  }

  /** What runs may still charge, together. */
  function reservations(): EventCount[] {
    return built.reserved.all().map((row) => ({ event: JSON.parse(row.event) as MechanismEvent, count: row.count }))
  }

  /** All that is charged or may still be charged without asking the budget. */
  const committed = (): EventCount[] => distinctEvents([...history(), ...reservations()])

  /** Writes a charge down, of what its run has reserved where it has. */
  function record(made: Charge & { time: number; isReserved: boolean }): void {
    const row = { id: made.id, run: made.run, event: canonicalJson(made.event) }
    if (made.isReserved) built.take.run(row)
    built.addCharge.run({ ...row, time: made.time })
    built.addSpend.run(row)
  }

  /** A charge that was made under an id. */
  const chargeBy = (id: string) => built.charge.get({ id })
  /** Whether a run has reserved a release of an event that it has not charged yet. */
  const isReserved = ({ run, event: wanted }: Charge): boolean =>
    built.reservation.get({ run, event: canonicalJson(wanted) }) !== undefined

  const lastRecord = () => built.lastRecord.get()
  const addRecord = (seq: number, line: string) => void built.addRecord.run({ seq, line })

  /** How many charges a run has made, by event. */
  function chargesOf(run: string): EventCount[] {
    const rows = database.read((db) =>
      db
        .select({ event: charge.event, count: sql<number>`count(*)` })
        .from(charge)
        .where(eq(charge.run, run))
        .groupBy(charge.event)
        .all(),
    )
    return rows.map((row) => ({ event: JSON.parse(row.event) as MechanismEvent, count: row.count }))
  }

  // What follows stands alone, each a transaction of its own.

  function lines(first: number, records: number): string[] {
    const rows = database.read((db) =>
      db.select({ line: log.line }).from(log).where(gte(log.seq, first)).orderBy(asc(log.seq)).limit(records).all(),
    )
    return rows.map(({ line }) => line)
  }

  const segments = () => database.read((db) => db.select().from(segment).orderBy(asc(segment.first)).all())

  /** Decides the segment that begins at a record, where none is decided: what is written from there on. @returns its records */
  function stage(first: number, most: number): number {
    const known = database.read((db) => db.select().from(segment).where(eq(segment.first, first)).get())
    if (known) return known.records
    const last = database.read(lastRecord)?.seq ?? -1
    const records = Math.min(most, last + 1 - first)
    if (records > 0) database.transact((db) => void db.insert(segment).values({ first, records }).run())
    return records
  }

  const markStored = (first: number) =>
    database.transact((db) => void db.update(segment).set({ stored: 1 }).where(eq(segment.first, first)).run())

  const fault = () => database.read(() => (built.dataset.get()?.fault ?? null) as LogFault | null)
  const setFault = (code: LogFault) => database.transact((db) => void db.update(dataset).set({ fault: code }).run())

  const ofLog = { lastRecord, addRecord, lines, segments, stage, markStored, fault, setFault }
  return {
    ...ofLog,
    chargesOf,
    registration,
    policy: policyNow,
    history,
    reservations,
    committed,
    record,
    chargeBy,
    isReserved,
  }
}
