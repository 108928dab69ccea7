import { createRoute, z } from '@hono/zod-openapi'
import {
  curvesSchema,
  Identifier,
  pageOf,
  reportMetadataSchema,
  roundDetailSchema,
  roundSchema,
  stageProgressSchema,
} from '../../shared/api/index.ts'
import { ApiError } from './fault.ts'
import { allow, idParam, json, newApi, numberedQuery, problems, security } from './route.ts'
import { findRun } from './runs.ts'
import type { Services } from './services.ts'

/** Some hundred bytes each. */
const CURVE_ROUNDS = 2000

const round = z.coerce.number().int().min(0).max(1_000_000_000)

/** Stages, rounds and reports of a run, as its log tells them. */
export function roundRoutes(services: Services) {
  const readers = allow(services, 'admin', 'operator', 'auditor', 'worker')
  const stages = createRoute({
    method: 'get',
    path: '/v1/runs/{id}/stages',
    summary: 'Stages of a run, with how far each is',
    security,
    middleware: readers,
    request: { params: idParam },
    responses: { 200: json(z.strictObject({ items: z.array(stageProgressSchema) }), 'All of them.'), ...problems },
  })
  const rounds = createRoute({
    method: 'get',
    path: '/v1/runs/{id}/rounds',
    summary: 'Rounds of a run that were opened, newest first',
    security,
    middleware: readers,
    request: { params: idParam, query: numberedQuery },
    responses: { 200: json(pageOf(roundSchema), 'A page.'), ...problems },
  })
  const curves = createRoute({
    method: 'get',
    path: '/v1/runs/{id}/curves',
    summary: 'Closed rounds of a run in columns, oldest first: what is drawn of it',
    security,
    middleware: readers,
    request: {
      params: idParam,
      query: z.strictObject({
        after: round.default(0).describe('The first round that is wanted.'),
        limit: z.coerce.number().int().min(1).max(CURVE_ROUNDS).default(CURVE_ROUNDS),
      }),
    },
    responses: { 200: json(curvesSchema, 'A page.'), ...problems },
  })
  const get = createRoute({
    method: 'get',
    path: '/v1/runs/{id}/rounds/{round}',
    summary: 'A round with its leases',
    security,
    middleware: readers,
    request: { params: idParam.extend({ round }) },
    responses: { 200: json(roundDetailSchema, 'The round.'), ...problems },
  })
  const reports = createRoute({
    method: 'get',
    path: '/v1/runs/{id}/reports',
    summary: 'Accepted reports of a run, newest first; of one round or dataset where it is named',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor'),
    request: {
      params: idParam,
      query: numberedQuery.extend({ round: round.optional(), dataset: Identifier.optional() }),
    },
    responses: { 200: json(pageOf(reportMetadataSchema), 'A page.'), ...problems },
  })
  return newApi()
    .openapi(stages, async (c) => {
      const { run } = await findRun(services, c, c.req.valid('param').id)
      return c.json({ items: await run.stages() }, 200)
    })
    .openapi(rounds, async (c) => {
      const { cursor, limit } = c.req.valid('query')
      const { run } = await findRun(services, c, c.req.valid('param').id)
      const before = cursor === undefined ? Number.MAX_SAFE_INTEGER : Number(cursor)
      return c.json(await run.rounds({ before, limit }), 200)
    })
    .openapi(curves, async (c) => {
      const { run } = await findRun(services, c, c.req.valid('param').id)
      return c.json(await run.curves(c.req.valid('query')), 200)
    })
    .openapi(get, async (c) => {
      const { id, round: wanted } = c.req.valid('param')
      const { run } = await findRun(services, c, id)
      const found = await run.round(wanted)
      if (!found) throw new ApiError('not_found', `round ${wanted}`)
      return c.json(found, 200)
    })
    .openapi(reports, async (c) => {
      const { cursor, ...wanted } = c.req.valid('query')
      const { run } = await findRun(services, c, c.req.valid('param').id)
      const before = cursor === undefined ? Number.MAX_SAFE_INTEGER : Number(cursor)
      return c.json(await run.reports({ before, ...wanted }), 200)
    })
}
