import { sql } from 'drizzle-orm'
import { check, index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** Bearer tokens by their SHA-256; the token itself is nowhere. */
export const token = sqliteTable(
  'token',
  {
    id: text().primaryKey(),
    hash: text().notNull().unique(),
    scope: text({ enum: ['admin', 'operator', 'auditor', 'worker'] }).notNull(),
    /** The worker that a worker token speaks for. */
    worker: text().references(() => worker.id),
    revoked: integer({ mode: 'boolean' }).notNull().default(false),
    /** Milliseconds since 1970, after which it speaks for nobody; null for never. */
    expires: integer(),
  },
  (t) => [
    check('token_scope', sql`${t.scope} in ('admin', 'operator', 'auditor', 'worker')`),
    check('token_worker', sql`(${t.scope} = 'worker') = (${t.worker} is not null)`),
    check('token_hash', sql`length(${t.hash}) = 64`),
  ],
)

export const worker = sqliteTable('worker', {
  id: text().primaryKey(),
  /** The one dataset that the worker may see leases of. */
  dataset: text().notNull(),
  /** Raw Ed25519, base64; the first one stays. */
  publicKey: text(),
  /** Milliseconds since 1970. */
  lastSeen: integer(),
  revoked: integer({ mode: 'boolean' }).notNull().default(false),
})

/** Index of datasets; each has its own actor. */
export const dataset = sqliteTable('dataset', { id: text().primaryKey() })

/** Model manifests by the SHA-256 of their canonical JSON. */
export const model = sqliteTable('model', { id: text().primaryKey(), manifest: text().notNull() }, (t) => [
  check('model_id', sql`length(${t.id}) = 64`),
])

/** Index of runs; each has its own actor, and its log is the truth of its state. */
export const run = sqliteTable(
  'run',
  {
    /** Order of creation: the cursor of lists. */
    number: integer().primaryKey({ autoIncrement: true }),
    id: text().notNull().unique(),
    /** `draft` until the spec record is stored; then a copy of what the log says. */
    state: text({ enum: ['draft', 'running', 'completed', 'cancelled', 'budget_exhausted', 'failed'] }).notNull(),
    /** Of a running one: whether it opens no round for now. */
    paused: integer({ mode: 'boolean' }).notNull().default(false),
    /** Hash of the manifest of its model. */
    model: text().notNull(),
    /** Milliseconds since 1970. */
    created: integer().notNull(),
  },
  (t) => [
    index('run_state').on(t.state),
    check(
      'run_state_word',
      sql`${t.state} in ('draft', 'running', 'completed', 'cancelled', 'budget_exhausted', 'failed')`,
    ),
  ],
)

/** Which datasets a run reads. */
export const runDataset = sqliteTable('run_dataset', { run: text().notNull(), dataset: text().notNull() }, (t) => [
  primaryKey({ columns: [t.run, t.dataset] }),
  index('run_dataset_dataset').on(t.dataset),
])

/** Requests made under an Idempotency-Key. No secret is kept here: a request that makes a token has no stored answer. */
export const request = sqliteTable(
  'request',
  {
    /** SHA-256 of caller, route and key. */
    id: text().primaryKey(),
    /** SHA-256 of the canonical body. */
    bodyHash: text().notNull(),
    /** JSON of what was drawn for the request (such as a run's id), so that a retry goes on instead of beginning again. */
    draft: text().notNull(),
    /** JSON of the first answer; null while there is none. */
    answer: text(),
  },
  (t) => [check('request_hash', sql`length(${t.bodyHash}) = 64`)],
)
