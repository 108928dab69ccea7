import { and, asc, desc, eq, gte, lte, max, sql } from 'drizzle-orm'
import type { ReportMetadata } from '../../shared/api/index.ts'
import type { LogFault, StoredSegment } from '../ledger/index.ts'
import { type ActorStorage, Database } from '../storage/index.ts'
import { migrations } from './migrations.gen.ts'
import { type Queries, queriesOf } from './queries.ts'
import * as schema from './schema.ts'

export type Fault = LogFault | 'log_broken' | 'replay_mismatch'
export interface Hold {
  readonly lease: string
  readonly worker: string
  /** When it was handed out; null where nobody wrote that down. */
  readonly taken: number | null
  readonly expires: number
}
export interface StoredReport {
  readonly lease: string
  readonly round: number
  readonly dataset: string
  readonly worker: string
  readonly bodyHash: string
  readonly integers: number[]
  readonly signature: string
  readonly publicKey: string
  readonly bytes: number
  readonly taken: number | null
  readonly received: number | null
}
export interface Checkpoint {
  readonly rounds: number
  readonly size: number
  readonly sha256: string
}

/** What a dataset has reported. */
export interface Traffic {
  readonly reports: number
  readonly bytes: number
  /** From lease to report, all reports together. */
  readonly seconds: number
}
/** Which reports are asked for: those before one, of a round or a dataset where it is named. */
export interface ReportQuestion {
  readonly before: number
  readonly limit: number
  readonly round?: number | undefined
  readonly dataset?: string | undefined
}

/** Segments answered by one call. */
const SEGMENTS_MAX = 1000

/** All SQL of a run. */
export class RunStore {
  readonly #database: Database
  readonly #queries: Queries

  private constructor(database: Database) {
    this.#database = database
    this.#queries = queriesOf(database)
  }

  static async open(storage: ActorStorage): Promise<RunStore> {
    return new RunStore(await Database.open(storage, migrations))
  }

  /** The run's row and everything staged or stored of its log, or null before its first record. */
  load(): {
    id: string
    fault: Fault | null
    reason: string | null
    segments: StoredSegment[]
    staged: StoredSegment | null
  } | null {
    return this.#database.transact((db) => {
      const row = db.select().from(schema.run).get()
      if (!row) return null
      const segments = db.select().from(schema.segment).orderBy(asc(schema.segment.first)).all()
      const staged = segments.find((segment) => segment.stored === 0) ?? null
      const stored = segments.filter((segment) => segment.stored === 1)
      return { id: row.id, fault: row.fault as Fault | null, reason: row.reason, segments: stored, staged }
    })
  }

  /** Decides the next segment: from here on it is these bytes and no others that go to the object store. */
  stage(segment: StoredSegment, run: { id: string; reason?: string | undefined }): void {
    this.#database.transact((db) => {
      if (segment.first === 0) db.insert(schema.run).values({ one: 1, id: run.id }).onConflictDoNothing().run()
      if (run.reason !== undefined) db.update(schema.run).set({ reason: run.reason }).run()
      this.#queries.addSegment.run({ ...segment })
    })
  }

  markStored(first: number): void {
    this.#database.transact(() => this.#queries.markStored.run({ first }))
  }

  setFault(fault: Fault): void {
    this.#database.transact((db) => {
      db.update(schema.run).set({ fault }).run()
    })
  }

  /** Stored segments from the one that holds record `after` on. */
  segmentsFrom(after: number, limit = SEGMENTS_MAX): StoredSegment[] {
    return this.#database.transact((db) => {
      const stored = eq(schema.segment.stored, 1)
      const holder = db
        .select({ first: max(schema.segment.first) })
        .from(schema.segment)
        .where(and(stored, lte(schema.segment.first, after)))
        .get()
      return db
        .select({ first: schema.segment.first, text: schema.segment.text })
        .from(schema.segment)
        .where(and(stored, gte(schema.segment.first, holder?.first ?? 0)))
        .orderBy(asc(schema.segment.first))
        .limit(limit)
        .all()
    })
  }

  hold(wanted: Hold): void {
    this.#database.transact(() => this.#queries.hold.run({ ...wanted }))
  }

  holdOf(lease: string): Hold | null {
    return this.#database.read(() => this.#queries.holdOf.get({ lease }) ?? null)
  }

  /** Keeps the first report of a lease. */
  keepReport(wanted: StoredReport): void {
    this.#database.transact(() => this.#queries.addReport.run({ ...wanted, integers: JSON.stringify(wanted.integers) }))
  }

  reportOf(lease: string): { bodyHash: string; worker: string; dataset: string } | null {
    return this.#database.read(() => this.#queries.reportOf.get({ lease }) ?? null)
  }

  reportsOf(round: number): StoredReport[] {
    const rows = this.#database.read(() => this.#queries.reportsOf.all({ round }))
    return rows.map((row) => ({ ...row, integers: JSON.parse(row.integers) as number[] }))
  }

  /** Accepted reports before one by its number, newest first. */
  reportsBefore(wanted: ReportQuestion): { items: ReportMetadata[]; next: string | null } {
    const { lease, round, dataset, worker, bytes, taken, received } = schema.report
    const number = sql<number>`${schema.report}.rowid`
    const rows = this.#database.transact((db) =>
      db
        .select({ number, lease, round, dataset, worker, bytes, taken, received })
        .from(schema.report)
        .where(
          and(
            sql`${number} < ${wanted.before}`,
            wanted.round === undefined ? undefined : eq(round, wanted.round),
            wanted.dataset === undefined ? undefined : eq(dataset, wanted.dataset),
          ),
        )
        .orderBy(desc(number))
        .limit(wanted.limit + 1)
        .all(),
    )
    const shown = rows.slice(0, wanted.limit)
    const next = rows.length > wanted.limit ? String(shown.at(-1)!.number) : null
    return { items: shown.map(({ number: _, ...metadata }) => metadata), next }
  }

  /** Accepted reports, the length of their bodies and the time that they took, by dataset. */
  traffic(): Map<string, Traffic> {
    const rows = this.#database.transact((db) =>
      db
        .select({
          dataset: schema.report.dataset,
          reports: sql<number>`count(*)`,
          bytes: sql<number>`sum(${schema.report.bytes})`,
          seconds: sql<number>`coalesce(sum(${schema.report.received} - ${schema.report.taken}), 0) / 1000.0`,
        })
        .from(schema.report)
        .groupBy(schema.report.dataset)
        .all(),
    )
    return new Map(rows.map(({ dataset, ...traffic }) => [dataset, traffic]))
  }

  keepCheckpoint(wanted: Checkpoint): void {
    this.#database.transact((db) => {
      db.insert(schema.checkpoint).values(wanted).onConflictDoNothing().run()
    })
  }

  /** Newest first. */
  checkpoints(limit = 3): Checkpoint[] {
    return this.#database.transact((db) =>
      db.select().from(schema.checkpoint).orderBy(desc(schema.checkpoint.rounds)).limit(limit).all(),
    )
  }
}
