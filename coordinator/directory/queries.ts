import { and, asc, eq, sql } from 'drizzle-orm'
import type { Database } from '../storage/index.ts'
import * as schema from './schema.ts'

export type Queries = ReturnType<typeof queriesOf>

/** What is asked at every request, built once. */
export function queriesOf(database: Database) {
  const { run, runDataset, token, worker } = schema
  const { placeholder } = sql
  const ofDataset = eq(runDataset.dataset, placeholder('dataset'))
  return database.prepare((db) => ({
    token: db
      .select()
      .from(token)
      .where(eq(token.id, placeholder('id')))
      .prepare(),
    tokenByHash: db
      .select()
      .from(token)
      .where(eq(token.hash, placeholder('hash')))
      .prepare(),
    worker: db
      .select()
      .from(worker)
      .where(eq(worker.id, placeholder('id')))
      .prepare(),
    run: db
      .select()
      .from(run)
      .where(eq(run.id, placeholder('id')))
      .prepare(),
    running: db.select({ id: run.id }).from(run).where(eq(run.state, 'running')).orderBy(asc(run.number)).prepare(),
    runningOf: db
      .select({ id: run.id })
      .from(run)
      .innerJoin(runDataset, and(eq(runDataset.run, run.id), ofDataset))
      .where(eq(run.state, 'running'))
      .orderBy(asc(run.number))
      .prepare(),
  }))
}
