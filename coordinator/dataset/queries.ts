import { and, eq, gt, sql } from 'drizzle-orm'
import type { DatasetPolicy } from '../../shared/api/index.ts'
import { canonicalJson } from '../../shared/ledger/index.ts'
import { distinctEvents, type EventCount, type MechanismEvent } from '../../shared/privacy/index.ts'
import type { Database } from '../storage/index.ts'
import type { Charge, Registration } from './dataset.ts'
import { OPEN_POLICY } from './policy.ts'
import * as schema from './schema.ts'

export type DatasetQueries = ReturnType<typeof datasetQueries>

/** What a dataset is asked and told at every charge, built once. Each is for use inside `transact`. */
export function datasetQueries(database: Database) {
  const { charge, dataset, policy, reservation, spend } = schema
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

  return { registration, policy: policyNow, history, reservations, committed, record, chargeBy, isReserved }
}
