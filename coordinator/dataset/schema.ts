import { sql } from 'drizzle-orm'
import { check, integer, primaryKey, real, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** The dataset itself: one row. Nothing of it changes; `fault` alone stands outside, as a log that failed can not say so. */
export const dataset = sqliteTable(
  'dataset',
  {
    /** Always 1. */
    one: integer().primaryKey(),
    id: text().notNull(),
    /** Declared number of units N, public. */
    units: integer().notNull(),
    unit: text({ enum: ['record', 'user'] }).notNull(),
    /** Standard deviation of the noise of the count, where units were counted; null where they were declared. */
    countNoise: real(),
    /** Lifetime budget. */
    epsilon: real().notNull(),
    delta: real().notNull(),
    /** Why the log may not go on: `log_conflict`, `ledger_behind_log`; null while it is sound. */
    fault: text(),
  },
  (t) => [
    check('dataset_one_row', sql`${t.one} = 1`),
    check('dataset_units', sql`${t.units} > 0`),
    check('dataset_unit', sql`${t.unit} in ('record', 'user')`),
    check('dataset_epsilon', sql`${t.epsilon} > 0`),
    check('dataset_delta', sql`${t.delta} > 0 and ${t.delta} < 1`),
  ],
)

/** Every charge of every run. Rows are only ever added (triggers refuse the rest). */
export const charge = sqliteTable('charge', {
  /** The lease that the charge pays for; the same id again is the same charge. */
  id: text().primaryKey(),
  run: text().notNull(),
  /** Canonical JSON of the mechanism event. */
  event: text().notNull(),
  /** Milliseconds since 1970. */
  time: integer().notNull(),
})

/**
 * Charges that a run may still make: reserved before its first round, drawn on by its charges, nothing left once it has ended. A
 * row stays, so that a run reserves once.
 */
export const reservation = sqliteTable(
  'reservation',
  {
    run: text().notNull(),
    /** Canonical JSON of the mechanism event. */
    event: text().notNull(),
    left: integer().notNull(),
  },
  (t) => [primaryKey({ columns: [t.run, t.event] }), check('reservation_left', sql`${t.left} >= 0`)],
)

/** What the owner allows: one row, or none where nothing was said. */
export const policy = sqliteTable(
  'policy',
  {
    /** Always 1. */
    one: integer().primaryKey(),
    /** Canonical JSON. */
    policy: text().notNull(),
  },
  (t) => [check('policy_one_row', sql`${t.one} = 1`)],
)

/** Charges counted by distinct event, so that asking the budget costs nothing that grows with them. Never lowered. */
export const spend = sqliteTable(
  'spend',
  {
    /** Canonical JSON of the mechanism event. */
    event: text().primaryKey(),
    count: integer().notNull(),
  },
  (t) => [check('spend_count', sql`${t.count} > 0`)],
)

/** The log, record by record: each is written in the transaction that it tells of. Rows are only ever added. */
export const record = sqliteTable(
  'record',
  {
    seq: integer().primaryKey(),
    /** Canonical, without its newline. */
    line: text().notNull(),
  },
  (t) => [check('record_seq', sql`${t.seq} >= 0`)],
)

/** Segments of the log: records that go into the bucket as one object. The last may be decided and not known to lie there. */
export const segment = sqliteTable(
  'segment',
  {
    /** Seq of the first record. */
    first: integer().primaryKey(),
    records: integer().notNull(),
    stored: integer().notNull().default(0),
  },
  (t) => [check('segment_records', sql`${t.records} > 0`), check('segment_stored', sql`${t.stored} in (0, 1)`)],
)
