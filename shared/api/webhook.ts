import { z } from 'zod'
import { runEventSchema } from './resources.ts'
import { Identifier, secureUrl } from './scalar.ts'

export const EVENT_TYPES = runEventSchema.options.map(({ shape }) => shape.type.value)
const eventType = z.enum(EVENT_TYPES)
export type EventType = z.infer<typeof eventType>

/** Every round would be a message: those who want that say so. */
const FREQUENT: readonly EventType[] = ['round.opened', 'round.closed', 'lease.lost']
const DEFAULT_TYPES = EVENT_TYPES.filter((type) => !FREQUENT.includes(type))

/** Nobody's name or password is in it. */
const isAddress = (text: string): boolean => {
  const url = secureUrl(text)
  return url !== null && `${url.username}${url.password}` === ''
}

const shape = {
  url: z.string().max(2000).refine(isAddress, 'https, or http on this machine; no name or password in it'),
  events: z.array(eventType).min(1).describe('Types of events that are sent.'),
}
export const webhookRequestSchema = z
  .strictObject({
    ...shape,
    events: shape.events.default(DEFAULT_TYPES).describe('Default: all but those of every round.'),
  })
  .meta({ id: 'WebhookRequest' })

const state = {
  id: Identifier,
  ...shape,
  created: z.int().describe('Milliseconds since 1970; earlier events are not sent.'),
  disabled: z
    .boolean()
    .describe('Nothing is sent after it answered 410, or refused one message through all retries, until a replay.'),
}
export const webhookSchema = z.strictObject(state).meta({ id: 'Webhook' })
export type Webhook = z.infer<typeof webhookSchema>
export const webhookCreatedSchema = z
  .strictObject({
    ...state,
    secret: z.string().describe('Shown once. Verify signatures with it (standardwebhooks.com).'),
  })
  .meta({ id: 'WebhookCreated' })

const attemptSchema = z.strictObject({
  time: z.int().describe('Milliseconds since 1970.'),
  ms: z.int(),
  status: z.int().nullable().describe('Of the answer; its body is not read.'),
  outcome: z.enum(['delivered', 'refused', 'timeout', 'unreachable']),
})
export type Attempt = z.infer<typeof attemptSchema>
export const deliverySchema = z
  .strictObject({
    id: Identifier.describe('The header webhook-id: the same at each attempt and replay.'),
    type: eventType,
    run: Identifier,
    time: z.int().describe('Of the event.'),
    state: z.enum(['pending', 'delivered', 'failed']),
    next: z.int().nullable().describe('When it is tried next.'),
    attempts: z.array(attemptSchema).describe('The last 20.'),
  })
  .meta({ id: 'Delivery' })
export type Delivery = z.infer<typeof deliverySchema>

export const replayRequestSchema = z
  .strictObject({ since: z.int().nonnegative().describe('Milliseconds since 1970.') })
  .meta({ id: 'ReplayRequest' })
export const replayedSchema = z
  .strictObject({ messages: z.int().describe('That are sent again.') })
  .meta({ id: 'Replayed' })
