import { createRoute, type z } from '@hono/zod-openapi'
import {
  pageOf,
  tokenRequestSchema,
  tokenSchema,
  tokenSummarySchema,
  workerCreatedSchema,
  workerKeySchema,
  workerRequestSchema,
  workerSchema,
  workerSelfSchema,
} from '../../shared/api/index.ts'
import { findDataset } from './datasets.ts'
import { ApiError } from './fault.ts'
import { once } from './once.ts'
import { allow, body, idParam, json, newApi, pageQuery, problems, security, workerOf } from './route.ts'
import type { Services } from './services.ts'

const done = { description: 'Done; again is the same.' } as const

/** Tokens of people. */
export function tokenRoutes(services: Services) {
  const admin = allow(services, 'admin')
  const create = createRoute({
    method: 'post',
    path: '/v1/tokens',
    summary: 'Make a token; it is shown once',
    security,
    middleware: admin,
    request: { body: body(tokenRequestSchema) },
    responses: { 201: json(tokenSchema, 'The token.'), ...problems },
  })
  const list = createRoute({
    method: 'get',
    path: '/v1/tokens',
    summary: 'List tokens, without themselves',
    security,
    middleware: admin,
    request: { query: pageQuery },
    responses: { 200: json(pageOf(tokenSummarySchema), 'A page.'), ...problems },
  })
  const revoke = createRoute({
    method: 'delete',
    path: '/v1/tokens/{id}',
    summary: 'Revoke a token, from its next request on',
    security,
    middleware: admin,
    request: { params: idParam },
    responses: { 204: done, ...problems },
  })
  return newApi()
    .openapi(create, async (c) => {
      const body = c.req.valid('json')
      const { scope, expiresInSeconds } = body
      const { answer } = await once(services, c, {
        body,
        draft: () => null,
        repeat: 'refuse',
        make: async () => {
          return { status: 201, answer: { scope, ...(await services.directory.createToken(scope, expiresInSeconds)) } }
        },
      })
      return c.json(answer as z.infer<typeof tokenSchema>, 201)
    })
    .openapi(list, async (c) => {
      const { cursor, limit } = c.req.valid('query')
      return c.json(await services.directory.listTokens({ cursor, limit }), 200)
    })
    .openapi(revoke, async (c) => {
      const { id } = c.req.valid('param')
      if (!(await services.directory.revokeToken(id))) throw new ApiError('not_found', `token ${id}`)
      return c.body(null, 204)
    })
}

/** Workers, each bound to one dataset. */
export function workerRoutes(services: Services) {
  const admin = allow(services, 'admin')
  const create = createRoute({
    method: 'post',
    path: '/v1/workers',
    summary: 'Make a worker of a dataset; its token is shown once',
    security,
    middleware: admin,
    request: { body: body(workerRequestSchema) },
    responses: { 201: json(workerCreatedSchema, 'The worker and its token.'), ...problems },
  })
  const list = createRoute({
    method: 'get',
    path: '/v1/workers',
    summary: 'List workers',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor'),
    request: { query: pageQuery },
    responses: { 200: json(pageOf(workerSchema), 'A page.'), ...problems },
  })
  const rotate = createRoute({
    method: 'post',
    path: '/v1/workers/{id}/rotate',
    summary: 'Replace the token of a worker, from its next request on, and let it enrol its key anew',
    security,
    middleware: admin,
    request: { params: idParam },
    responses: { 200: json(workerCreatedSchema, 'The worker and its new token.'), ...problems },
  })
  const revoke = createRoute({
    method: 'delete',
    path: '/v1/workers/{id}',
    summary: 'Revoke a worker, from its next request on',
    security,
    middleware: admin,
    request: { params: idParam },
    responses: { 204: done, ...problems },
  })
  return newApi()
    .openapi(create, async (c) => {
      const { dataset } = c.req.valid('json')
      await findDataset(services, dataset, 'unknown_dataset')
      const { answer } = await once(services, c, {
        body: { dataset },
        draft: () => null,
        repeat: 'refuse',
        make: async () => ({ status: 201, answer: await services.directory.createWorker(dataset) }),
      })
      return c.json(answer as z.infer<typeof workerCreatedSchema>, 201)
    })
    .openapi(list, async (c) => {
      const { cursor, limit } = c.req.valid('query')
      return c.json(await services.directory.listWorkers({ cursor, limit }), 200)
    })
    .openapi(rotate, async (c) => {
      const { id } = c.req.valid('param')
      const { answer } = await once(services, c, {
        body: null,
        draft: () => null,
        repeat: 'refuse',
        make: async () => {
          const rotated = await services.directory.rotateWorker(id)
          if (!rotated) throw new ApiError('not_found', `worker ${id}`)
          return { status: 200, answer: rotated }
        },
      })
      return c.json(answer as z.infer<typeof workerCreatedSchema>, 200)
    })
    .openapi(revoke, async (c) => {
      const { id } = c.req.valid('param')
      if (!(await services.directory.revokeWorker(id))) throw new ApiError('not_found', `worker ${id}`)
      return c.body(null, 204)
    })
}

/** What a worker sees of itself, and the key it enrols. */
export function selfRoutes(services: Services) {
  const worker = allow(services, 'worker')
  const self = createRoute({
    method: 'get',
    path: '/v1/workers/self',
    summary: 'The worker that this token speaks for, and its dataset',
    security,
    middleware: worker,
    responses: { 200: json(workerSelfSchema, 'The worker.'), ...problems },
  })
  const enrol = createRoute({
    method: 'put',
    path: '/v1/workers/self/key',
    summary: 'Enrol the key that this worker signs reports with; the first stays',
    security,
    middleware: worker,
    request: { body: body(workerKeySchema) },
    responses: { 204: done, ...problems },
  })
  return newApi()
    .openapi(self, async (c) => {
      const { id, dataset, publicKey } = workerOf(c)
      const log = services.logIdentity
      return c.json({ id, dataset: await findDataset(services, dataset), publicKey, log }, 200)
    })
    .openapi(enrol, async (c) => {
      const { id } = workerOf(c)
      const outcome = await services.directory.enrolKey(id, c.req.valid('json').publicKey)
      if (outcome === 'conflict') throw new ApiError('conflict', 'publicKey')
      return c.body(null, 204)
    })
}
