import { asc, eq, sql } from 'drizzle-orm'
import type { Database } from '../storage/index.ts'
import * as schema from './schema.ts'

export type Queries = ReturnType<typeof queriesOf>

/** What is asked at every lease and report, built once. */
export function queriesOf(database: Database) {
  const { hold, report, segment } = schema
  const { placeholder } = sql
  const named = <K extends string>(...names: K[]) =>
    Object.fromEntries(names.map((name) => [name, placeholder(name)])) as {
      [N in K]: ReturnType<typeof placeholder<N>>
    }
  const holdRow = named('lease', 'worker', 'taken', 'expires')
  const again = { target: hold.lease, set: { worker: sql`excluded.worker`, expires: sql`excluded.expires` } }
  const reportRow = named(
    ...(['lease', 'round', 'dataset', 'worker', 'bodyHash', 'integers', 'signature', 'publicKey'] as const),
    ...(['bytes', 'taken', 'received'] as const),
  )
  const { bodyHash, worker, dataset } = report
  const ofLease = eq(report.lease, placeholder('lease'))
  return database.prepare((db) => ({
    hold: db.insert(hold).values(holdRow).onConflictDoUpdate(again).prepare(),
    holdOf: db
      .select()
      .from(hold)
      .where(eq(hold.lease, placeholder('lease')))
      .prepare(),
    addReport: db.insert(report).values(reportRow).prepare(),
    reportOf: db.select({ bodyHash, worker, dataset }).from(report).where(ofLease).prepare(),
    reportsOf: db
      .select()
      .from(report)
      .where(eq(report.round, placeholder('round')))
      .orderBy(asc(report.dataset))
      .prepare(),
    addSegment: db.insert(segment).values(named('first', 'text')).prepare(),
    markStored: db
      .update(segment)
      .set({ stored: 1 })
      .where(eq(segment.first, placeholder('first')))
      .prepare(),
  }))
}
