import { createRoute, z } from '@hono/zod-openapi'
import {
  deliverySchema,
  Identifier,
  pageOf,
  replayedSchema,
  replayRequestSchema,
  webhookCreatedSchema,
  webhookRequestSchema,
  webhookSchema,
} from '../../shared/api/index.ts'
import { ApiError } from './fault.ts'
import { once } from './once.ts'
import { allow, body, idParam, json, newApi, numberedQuery, pageQuery, problems, security } from './route.ts'
import type { Services } from './services.ts'

const done = { description: 'Done; again is the same.' } as const
const deliveryParam = z.strictObject({ id: Identifier, delivery: Identifier })

/** Addresses that events are sent to, by Standard Webhooks. */
export function webhookRoutes(services: Services) {
  const admin = allow(services, 'admin')
  const readers = allow(services, 'admin', 'operator', 'auditor')
  const create = createRoute({
    method: 'post',
    path: '/v1/webhooks',
    summary: 'Send events to an address, signed; the secret is shown once',
    security,
    middleware: admin,
    request: { body: body(webhookRequestSchema) },
    responses: { 201: json(webhookCreatedSchema, 'The webhook and its secret.'), ...problems },
  })
  const list = createRoute({
    method: 'get',
    path: '/v1/webhooks',
    summary: 'List webhooks',
    security,
    middleware: readers,
    request: { query: pageQuery },
    responses: { 200: json(pageOf(webhookSchema), 'A page.'), ...problems },
  })
  const get = createRoute({
    method: 'get',
    path: '/v1/webhooks/{id}',
    summary: 'A webhook',
    security,
    middleware: readers,
    request: { params: idParam },
    responses: { 200: json(webhookSchema, 'The webhook.'), ...problems },
  })
  const remove = createRoute({
    method: 'delete',
    path: '/v1/webhooks/{id}',
    summary: 'Delete a webhook, and what was still to be sent to it',
    security,
    middleware: admin,
    request: { params: idParam },
    responses: { 204: done, ...problems },
  })
  const rotate = createRoute({
    method: 'post',
    path: '/v1/webhooks/{id}/rotate',
    summary: 'Replace the secret; the one before signs too for a day',
    security,
    middleware: admin,
    request: { params: idParam },
    responses: { 200: json(webhookCreatedSchema, 'The webhook and its new secret.'), ...problems },
  })
  const deliveries = createRoute({
    method: 'get',
    path: '/v1/webhooks/{id}/deliveries',
    summary: 'What was sent to a webhook in the last 30 days, newest first',
    security,
    middleware: readers,
    request: { params: idParam, query: numberedQuery },
    responses: { 200: json(pageOf(deliverySchema), 'A page.'), ...problems },
  })
  const replay = createRoute({
    method: 'post',
    path: '/v1/webhooks/{id}/deliveries/{delivery}/replay',
    summary: 'Send a message again',
    security,
    middleware: admin,
    request: { params: deliveryParam },
    responses: { 200: json(replayedSchema, 'It is on its way.'), ...problems },
  })
  const replaySince = createRoute({
    method: 'post',
    path: '/v1/webhooks/{id}/replay',
    summary: 'Enable a webhook, and send again what it did not take since a time',
    security,
    middleware: admin,
    request: { params: idParam, body: body(replayRequestSchema) },
    responses: { 200: json(replayedSchema, 'They are on their way.'), ...problems },
  })
  return newApi()
    .openapi(create, async (c) => {
      const body = c.req.valid('json')
      const { answer } = await once(services, c, {
        body,
        draft: () => null,
        repeat: 'refuse',
        make: async () => ({ status: 201, answer: await services.webhooks.create(body) }),
      })
      return c.json(answer as z.infer<typeof webhookCreatedSchema>, 201)
    })
    .openapi(list, async (c) => {
      const { cursor, limit } = c.req.valid('query')
      return c.json(await services.webhooks.list({ cursor, limit }), 200)
    })
    .openapi(get, async (c) => {
      const { id } = c.req.valid('param')
      return c.json(found(await services.webhooks.get(id), id), 200)
    })
    .openapi(remove, async (c) => {
      const { id } = c.req.valid('param')
      if (!(await services.webhooks.remove(id))) throw new ApiError('not_found', `webhook ${id}`)
      return c.body(null, 204)
    })
    .openapi(rotate, async (c) => {
      const { id } = c.req.valid('param')
      const { answer } = await once(services, c, {
        body: null,
        draft: () => null,
        repeat: 'refuse',
        make: async () => ({ status: 200, answer: found(await services.webhooks.rotate(id), id) }),
      })
      return c.json(answer as z.infer<typeof webhookCreatedSchema>, 200)
    })
    .openapi(deliveries, async (c) => {
      const { id } = c.req.valid('param')
      const { cursor, limit } = c.req.valid('query')
      return c.json(found(await services.webhooks.deliveries(id, { cursor, limit }), id), 200)
    })
    .openapi(replay, async (c) => {
      const { id, delivery } = c.req.valid('param')
      const { answer } = await once(services, c, {
        body: null,
        draft: () => null,
        repeat: 'store',
        make: async () => {
          if (!(await services.webhooks.replay(id, delivery))) throw new ApiError('not_found', `delivery ${delivery}`)
          return { status: 200, answer: { messages: 1 } }
        },
      })
      return c.json(answer as z.infer<typeof replayedSchema>, 200)
    })
    .openapi(replaySince, async (c) => {
      const { id } = c.req.valid('param')
      const body = c.req.valid('json')
      const { answer } = await once(services, c, {
        body,
        draft: () => null,
        repeat: 'store',
        make: async () => {
          const messages = found(await services.webhooks.replaySince(id, body.since), id)
          return { status: 200, answer: { messages } }
        },
      })
      return c.json(answer as z.infer<typeof replayedSchema>, 200)
    })
}

function found<T>(value: T | null, id: string): T {
  if (value === null) throw new ApiError('not_found', `webhook ${id}`)
  return value
}
