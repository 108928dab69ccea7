import { and, asc, desc, eq, gt, inArray, lt } from 'drizzle-orm'
import type { ModelManifest } from '../../shared/api/index.ts'
import { canonicalJson } from '../../shared/ledger/index.ts'
import { type ActorStorage, Database } from '../storage/index.ts'
import { migrations } from './migrations.gen.ts'
import { type Queries, queriesOf } from './queries.ts'
import { type Begun, beginRequest, finishRequest, type Request } from './requests.ts'
import * as schema from './schema.ts'
import { newId, newToken, type RandomBytes, sameHash, tokenHash } from './secret.ts'

export type Scope = 'admin' | 'operator' | 'auditor' | 'worker'
export interface WorkerIdentity {
  readonly id: string
  readonly dataset: string
  readonly publicKey: string | null
}
/** Whom a token speaks for; `worker` is set exactly where the scope is `worker`. */
export interface Principal {
  readonly token: string
  readonly scope: Scope
  readonly worker: WorkerIdentity | null
}
export type RunState = 'running' | 'paused' | 'completed' | 'cancelled' | 'budget_exhausted' | 'failed'
export interface Page<T> {
  readonly items: T[]
  readonly next: string | null
}
export interface PageRequest {
  readonly cursor: string | undefined
  readonly limit: number
}

/** Which runs are listed: of one state, or those that read one dataset. */
export interface RunFilter {
  readonly state?: RunState | undefined
  readonly dataset?: string | undefined
}

/** Writes `lastSeen` at most this often for one worker. */
const SEEN_EVERY_MS = 1000

/** Tokens, workers, models, idempotency keys, and the index of runs and datasets. */
export class Directory {
  readonly #database: Database
  readonly #queries: Queries
  readonly #random: RandomBytes
  readonly #now: () => number

  private constructor(database: Database, ports: { random: RandomBytes; now: () => number }) {
    this.#database = database
    this.#queries = queriesOf(database)
    this.#random = ports.random
    this.#now = ports.now
  }

  static async open(ports: { storage: ActorStorage; random: RandomBytes; now: () => number }): Promise<Directory> {
    return new Directory(await Database.open(ports.storage, migrations), ports)
  }

  /** @param seconds after which the token speaks for nobody; left out for never. */
  createToken(
    scope: Exclude<Scope, 'worker'>,
    seconds?: number,
  ): { id: string; token: string; expires: number | null } {
    const expires = seconds === undefined ? null : Math.ceil(this.#now() + 1000 * seconds)
    const created = { id: newId('token', this.#random), token: newToken(this.#random), expires }
    this.#database.transact((db) => {
      db.insert(schema.token)
        .values({ id: created.id, hash: tokenHash(created.token), scope, expires })
        .run()
    })
    return created
  }

  /** Tokens without what they are: neither themselves nor their hashes. */
  listTokens({ cursor = '', limit }: PageRequest): Page<Omit<typeof schema.token.$inferSelect, 'hash'>> {
    const { id, scope, worker, revoked, expires } = schema.token
    const rows = this.#database.transact((db) =>
      db
        .select({ id, scope, worker, revoked, expires })
        .from(schema.token)
        .where(gt(id, cursor))
        .orderBy(asc(id))
        .limit(limit + 1)
        .all(),
    )
    return pageOf(rows, limit, (row) => row.id)
  }

  /** Makes a token that the operator chose an admin's; one that was revoked stays so. */
  admitAdmin(token: string): void {
    const id = newId('token', this.#random)
    this.#database.transact((db) => {
      db.insert(schema.token)
        .values({ id, hash: tokenHash(token), scope: 'admin' })
        .onConflictDoNothing()
        .run()
    })
  }

  /** Whom a token speaks for, or null where it is unknown, revoked or expired. Workers are marked as seen. */
  authenticate(token: string): Principal | null {
    const hash = tokenHash(token)
    return this.#database.read(() => {
      const row = this.#queries.tokenByHash.get({ hash })
      if (!row || !sameHash(row.hash, hash) || row.revoked) return null
      if (row.expires !== null && row.expires <= this.#now()) return null
      if (row.worker === null) return { token: row.id, scope: row.scope, worker: null }
      const worker = this.#queries.worker.get({ id: row.worker })
      if (!worker || worker.revoked) return null
      if ((worker.lastSeen ?? 0) + SEEN_EVERY_MS < this.#now()) {
        this.#database.transact((db) =>
          db.update(schema.worker).set({ lastSeen: this.#now() }).where(eq(schema.worker.id, worker.id)).run(),
        )
      }
      const { id, dataset, publicKey } = worker
      return { token: row.id, scope: row.scope, worker: { id, dataset, publicKey } }
    })
  }

  revokeToken(id: string): boolean {
    return this.#database.transact((db) => {
      const rows = db
        .update(schema.token)
        .set({ revoked: true })
        .where(eq(schema.token.id, id))
        .returning({ id: schema.token.id })
        .all()
      return rows.length > 0
    })
  }

  createWorker(dataset: string): { id: string; dataset: string; token: string } {
    const id = newId('worker', this.#random)
    const token = newToken(this.#random)
    const tokenId = newId('token', this.#random)
    this.#database.transact((db) => {
      db.insert(schema.worker).values({ id, dataset }).run()
      db.insert(schema.token)
        .values({ id: tokenId, hash: tokenHash(token), scope: 'worker', worker: id })
        .run()
    })
    return { id, dataset, token }
  }

  listWorkers({ cursor = '', limit }: PageRequest): Page<typeof schema.worker.$inferSelect> {
    const rows = this.#database.transact((db) =>
      db
        .select()
        .from(schema.worker)
        .where(gt(schema.worker.id, cursor))
        .orderBy(asc(schema.worker.id))
        .limit(limit + 1)
        .all(),
    )
    return pageOf(rows, limit, (row) => row.id)
  }

  /** Revokes a worker with its tokens, from its next request on. */
  revokeWorker(id: string): boolean {
    return this.#database.transact((db) => {
      const rows = db
        .update(schema.worker)
        .set({ revoked: true })
        .where(eq(schema.worker.id, id))
        .returning({ id: schema.worker.id })
        .all()
      db.update(schema.token).set({ revoked: true }).where(eq(schema.token.worker, id)).run()
      return rows.length > 0
    })
  }

  /**
   * Gives a worker a new token in the place of all it had, and lets it enrol a key anew. @returns null where it is unknown or
   * revoked
   */
  rotateWorker(id: string): { id: string; dataset: string; token: string } | null {
    const token = newToken(this.#random)
    const tokenId = newId('token', this.#random)
    return this.#database.transact((db) => {
      const { worker } = schema
      const known = db
        .update(worker)
        .set({ publicKey: null })
        .where(and(eq(worker.id, id), eq(worker.revoked, false)))
        .returning({ dataset: worker.dataset })
        .get()
      if (!known) return null
      db.update(schema.token).set({ revoked: true }).where(eq(schema.token.worker, id)).run()
      db.insert(schema.token)
        .values({ id: tokenId, hash: tokenHash(token), scope: 'worker', worker: id })
        .run()
      return { id, dataset: known.dataset, token }
    })
  }

  /** Whether a token still speaks for whom it did: what waits for long asks again. */
  isValid(token: string): boolean {
    const row = this.#database.read(() => this.#queries.token.get({ id: token }))
    return row !== undefined && !row.revoked && (row.expires === null || row.expires > this.#now())
  }

  /** Enrols the key that a worker signs with. The first one stays: another is a `conflict`. */
  enrolKey(worker: string, publicKey: string): 'enrolled' | 'conflict' {
    return this.#database.transact((db) => {
      const known = db.select().from(schema.worker).where(eq(schema.worker.id, worker)).get()
      if (!known) return 'conflict'
      if (known.publicKey !== null) return known.publicKey === publicKey ? 'enrolled' : 'conflict'
      db.update(schema.worker).set({ publicKey }).where(eq(schema.worker.id, worker)).run()
      return 'enrolled'
    })
  }

  noteDataset(id: string): void {
    this.#database.transact((db) => {
      db.insert(schema.dataset).values({ id }).onConflictDoNothing().run()
    })
  }

  hasDataset(id: string): boolean {
    return this.#database.transact(
      (db) => db.select().from(schema.dataset).where(eq(schema.dataset.id, id)).get() !== undefined,
    )
  }

  listDatasets({ cursor = '', limit }: PageRequest): Page<string> {
    const rows = this.#database.transact((db) =>
      db
        .select()
        .from(schema.dataset)
        .where(gt(schema.dataset.id, cursor))
        .orderBy(asc(schema.dataset.id))
        .limit(limit + 1)
        .all(),
    )
    const { items, next } = pageOf(rows, limit, (row) => row.id)
    return { items: items.map((row) => row.id), next }
  }

  noteModel(id: string, manifest: ModelManifest): void {
    this.#database.transact((db) => {
      db.insert(schema.model)
        .values({ id, manifest: canonicalJson(manifest) })
        .onConflictDoNothing()
        .run()
    })
  }

  model(id: string): ModelManifest | null {
    const row = this.#database.transact((db) => db.select().from(schema.model).where(eq(schema.model.id, id)).get())
    return row ? (JSON.parse(row.manifest) as ModelManifest) : null
  }

  /** Notes a run before its actor makes the first record; it counts from `noteRun` on. */
  draftRun(wanted: { id: string; model: string; datasets: readonly string[]; created: number }): void {
    const { id, model, datasets, created } = wanted
    this.#database.transact((db) => {
      const known = db.select().from(schema.run).where(eq(schema.run.id, id)).get()
      if (known) return
      db.insert(schema.run).values({ id, state: 'draft', model, created }).run()
      for (const dataset of datasets) db.insert(schema.runDataset).values({ run: id, dataset }).run()
    })
  }

  /** Whether a run was noted, begun or not. */
  hasDraft(id: string): boolean {
    return this.#database.transact(
      (db) => db.select().from(schema.run).where(eq(schema.run.id, id)).get() !== undefined,
    )
  }

  /** Copies a run's state from its log. */
  noteRun(id: string, state: RunState): void {
    this.#database.transact((db) => {
      const noted = state === 'paused' ? { state: 'running' as const, paused: true } : { state, paused: false }
      db.update(schema.run).set(noted).where(eq(schema.run.id, id)).run()
    })
  }

  /** Newest first; of one state, or those that read one dataset, where these are named. */
  listRuns({ cursor, limit, state, dataset }: PageRequest & RunFilter): Page<{
    id: string
    state: RunState
    created: number
  }> {
    const before = cursor === undefined ? Number.MAX_SAFE_INTEGER : Number(cursor)
    const isPaused = state === 'paused'
    const ofState = state && and(eq(schema.run.state, isPaused ? 'running' : state), eq(schema.run.paused, isPaused))
    const rows = this.#database.transact((db) =>
      db
        .select()
        .from(schema.run)
        .where(
          and(
            lt(schema.run.number, before),
            inArray(schema.run.state, STATES),
            ofState,
            dataset === undefined
              ? undefined
              : inArray(
                  schema.run.id,
                  db
                    .select({ id: schema.runDataset.run })
                    .from(schema.runDataset)
                    .where(eq(schema.runDataset.dataset, dataset)),
                ),
          ),
        )
        .orderBy(desc(schema.run.number))
        .limit(limit + 1)
        .all(),
    )
    const { items, next } = pageOf(rows, limit, (row) => String(row.number))
    const stateOf = ({ state, paused }: (typeof rows)[number]) => (paused ? 'paused' : (state as RunState))
    return { items: items.map((row) => ({ id: row.id, state: stateOf(row), created: row.created })), next }
  }

  /** The cursor of the page of runs that follows one; undefined where it is not known. */
  cursorAfter(id: string): string | undefined {
    const row = this.#database.transact((db) => db.select().from(schema.run).where(eq(schema.run.id, id)).get())
    return row && String(row.number)
  }

  /** Whether a run is known and began (its spec record is stored). */
  hasRun(id: string): boolean {
    const row = this.#database.read(() => this.#queries.run.get({ id }))
    return row !== undefined && row.state !== 'draft'
  }

  /** Whether a run that reads a dataset trains a model. */
  isModelOf({ dataset, model }: { dataset: string; model: string }): boolean {
    return this.#database.transact((db) => {
      const found = db
        .select({ id: schema.run.id })
        .from(schema.run)
        .innerJoin(schema.runDataset, eq(schema.runDataset.run, schema.run.id))
        .where(
          and(eq(schema.run.model, model), eq(schema.runDataset.dataset, dataset), inArray(schema.run.state, STATES)),
        )
        .get()
      return found !== undefined
    })
  }

  /** Running runs, paused ones too, whose open round is still worked off; oldest first, of one dataset where it is named. */
  runningRuns(dataset?: string): string[] {
    const { running, runningOf } = this.#queries
    const rows = this.#database.read(() => (dataset === undefined ? running.all() : runningOf.all({ dataset })))
    return rows.map((row) => row.id)
  }

  beginRequest(wanted: Request, draft: unknown): Begun {
    return beginRequest(this.#database, wanted, draft)
  }

  finishRequest(wanted: Request, answer: unknown): void {
    finishRequest(this.#database, wanted, answer)
  }
}

/** As the index has them: a paused run is a running one. */
const STATES: Exclude<RunState, 'paused'>[] = ['running', 'completed', 'cancelled', 'budget_exhausted', 'failed']

function pageOf<T>(rows: T[], limit: number, cursorOf: (row: T) => string): Page<T> {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return { items, next: rows.length > limit && last !== undefined ? cursorOf(last) : null }
}
