import { eq } from 'drizzle-orm'
import type { EventType, Webhook } from '../../shared/api/index.ts'
import type { Database } from '../storage/index.ts'
import * as schema from './schema.ts'

export type Transaction = Parameters<Parameters<Database['transact']>[0]>[0]
export type EndpointRow = typeof schema.endpoint.$inferSelect

export const endpointOf = (db: Transaction, id: string): EndpointRow | undefined =>
  db.select().from(schema.endpoint).where(eq(schema.endpoint.id, id)).get()

export const hasEndpoints = (db: Transaction): boolean =>
  db.select({ number: schema.endpoint.number }).from(schema.endpoint).limit(1).get() !== undefined

/** Numbers of those that messages are sent to. */
export const enabledOf = (db: Transaction): number[] =>
  db
    .select({ number: schema.endpoint.number })
    .from(schema.endpoint)
    .where(eq(schema.endpoint.disabled, false))
    .all()
    .map((row) => row.number)

/** Disables an endpoint that took nothing since a time. */
export function disable(db: Transaction, number: number, since: number): void {
  const row = db.select().from(schema.endpoint).where(eq(schema.endpoint.number, number)).get()
  if (!row || (row.lastTaken ?? 0) >= since) return
  db.update(schema.endpoint).set({ disabled: true }).where(eq(schema.endpoint.number, number)).run()
}

export function webhookOf({ id, url, events, created, disabled }: EndpointRow): Webhook {
  return { id, url, events: JSON.parse(events) as EventType[], created, disabled }
}
