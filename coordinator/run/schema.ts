import { sql } from 'drizzle-orm'
import { check, index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** The run itself: one row. The log is the truth of its state; `fault` alone stands outside, as a log that failed can not say so. */
export const run = sqliteTable(
  'run',
  {
    /** Always 1. */
    one: integer().primaryKey(),
    id: text().notNull(),
    /** Why this log may not go on: `log_conflict`, `ledger_behind_log`, `replay_mismatch`; null while it is sound. */
    fault: text(),
    /** Plain words for why the run ended, where its outcome alone does not say. */
    reason: text(),
  },
  (t) => [check('run_one_row', sql`${t.one} = 1`)],
)

/** Segments of the log, in order. A row with `stored` = 0 is staged: decided here, not yet known to lie in the object store. */
export const segment = sqliteTable(
  'segment',
  {
    /** Seq of the first record. */
    first: integer().primaryKey(),
    /** Canonical records, one a line. */
    text: text().notNull(),
    stored: integer().notNull().default(0),
  },
  (t) => [check('segment_first', sql`${t.first} >= 0`), check('segment_stored', sql`${t.stored} in (0, 1)`)],
)

/** Who holds a lease. A lease exists by its charge in the log; a row here says that it was handed out. */
export const hold = sqliteTable('hold', {
  lease: text().primaryKey(),
  worker: text().notNull(),
  /** When it was handed out, milliseconds since 1970. */
  taken: integer(),
  /** Milliseconds since 1970; not reported by then, the lease is lost. */
  expires: integer().notNull(),
})

/** Accepted reports: the first for a lease stays for ever, so that a repeat gets the first answer. */
export const report = sqliteTable(
  'report',
  {
    lease: text().primaryKey(),
    round: integer().notNull(),
    dataset: text().notNull(),
    worker: text().notNull(),
    /** SHA-256 of the canonical body, signature included. */
    bodyHash: text().notNull(),
    /** JSON array of the released integers. */
    integers: text().notNull(),
    signature: text().notNull(),
    /** What it is signed by: raw Ed25519, base64. */
    publicKey: text().notNull().default(''),
    /** Length of the accepted body. */
    bytes: integer().notNull(),
    /** When its lease was handed out, and when it came: milliseconds since 1970. */
    taken: integer(),
    received: integer(),
  },
  (t) => [
    index('report_round').on(t.round),
    check('report_hash', sql`length(${t.bodyHash}) = 64`),
    check('report_bytes', sql`${t.bytes} > 0`),
  ],
)

/** Stored trained states: a cache, each named by its hash. */
export const checkpoint = sqliteTable(
  'checkpoint',
  {
    /** Closed rounds in it. */
    rounds: integer().primaryKey(),
    /** Size of the log at its end. */
    size: integer().notNull(),
    sha256: text().notNull(),
  },
  (t) => [check('checkpoint_hash', sql`length(${t.sha256}) = 64`)],
)
