import { sql } from 'drizzle-orm'
import { check, index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** Addresses that events are sent to. */
export const endpoint = sqliteTable('endpoint', {
  number: integer().primaryKey({ autoIncrement: true }),
  id: text().notNull().unique(),
  url: text().notNull(),
  /** JSON: the types that are sent. */
  events: text().notNull(),
  /** What messages are signed with. */
  secret: text().notNull(),
  /** The one before, which signs too until `formerUntil`. */
  formerSecret: text(),
  formerUntil: integer(),
  /** Milliseconds since 1970. */
  created: integer().notNull(),
  disabled: integer({ mode: 'boolean' }).notNull().default(false),
  /** When it last took a message. */
  lastTaken: integer(),
})

/** How far the log of a run was read. */
export const position = sqliteTable('position', {
  run: text().primaryKey(),
  /** Seq of the first record that was not read. */
  next: integer().notNull(),
  ended: integer({ mode: 'boolean' }).notNull().default(false),
})

/** An event as it is sent, once for all endpoints. */
export const message = sqliteTable('message', {
  number: integer().primaryKey({ autoIncrement: true }),
  /** The header `webhook-id`. */
  id: text().notNull().unique(),
  run: text().notNull(),
  type: text().notNull(),
  body: text().notNull(),
  /** Of the event, milliseconds since 1970. */
  time: integer().notNull(),
})

export const delivery = sqliteTable(
  'delivery',
  {
    endpoint: integer()
      .notNull()
      .references(() => endpoint.number, { onDelete: 'cascade' }),
    message: integer()
      .notNull()
      .references(() => message.number, { onDelete: 'cascade' }),
    state: text({ enum: ['pending', 'delivered', 'failed'] }).notNull(),
    /** Attempts since it was new or replayed. */
    tries: integer().notNull().default(0),
    /** When the first of them was, milliseconds since 1970. */
    since: integer(),
    /** Milliseconds since 1970; set exactly where it is pending. */
    due: integer(),
    /** JSON: the last attempts. */
    attempts: text().notNull().default('[]'),
  },
  (t) => [
    primaryKey({ columns: [t.endpoint, t.message] }),
    index('delivery_due').on(t.endpoint, t.state, t.due),
    check('delivery_state', sql`${t.state} in ('pending', 'delivered', 'failed')`),
    check('delivery_due', sql`(${t.state} = 'pending') = (${t.due} is not null)`),
  ],
)
