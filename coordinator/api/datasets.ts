import { createRoute, z } from '@hono/zod-openapi'
import {
  affordableSchema,
  type Dataset,
  datasetRequestSchema,
  datasetSchema,
  noiseSchema,
  pageOf,
  policySchema,
  SCALE_MAX,
} from '../../shared/api/index.ts'
import { ApiError } from './fault.ts'
import { once } from './once.ts'
import { allow, body, idParam, json, newApi, pageQuery, problems, security } from './route.ts'
import type { Services } from './services.ts'

/** A registered dataset. @throws ApiError `not_found`, or as given. */
export async function findDataset(
  services: Services,
  id: string,
  missing: 'not_found' | 'unknown_dataset' = 'not_found',
): Promise<Dataset> {
  const found = (await services.directory.hasDataset(id)) ? await (await services.datasets.get(id)).describe() : null
  if (!found) throw new ApiError(missing, `dataset ${id}`)
  return found
}

export function datasetRoutes(services: Services) {
  const create = createRoute({
    method: 'post',
    path: '/v1/datasets',
    summary: 'Register a dataset with its lifetime budget',
    security,
    middleware: allow(services, 'admin'),
    request: { body: body(datasetRequestSchema) },
    responses: {
      200: json(datasetSchema, 'It was registered with this content.'),
      201: json(datasetSchema, 'Registered.'),
      ...problems,
    },
  })
  const list = createRoute({
    method: 'get',
    path: '/v1/datasets',
    summary: 'List datasets',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor'),
    request: { query: pageQuery },
    responses: { 200: json(pageOf(datasetSchema), 'A page.'), ...problems },
  })
  const get = createRoute({
    method: 'get',
    path: '/v1/datasets/{id}',
    summary: 'Show a dataset and what was spent of its budget',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor'),
    request: { params: idParam },
    responses: { 200: json(datasetSchema, 'The dataset.'), ...problems },
  })
  const affordable = createRoute({
    method: 'get',
    path: '/v1/datasets/{id}/affordable',
    summary: 'How many more rounds of a mechanism the lifetime budget pays for, beside what is reserved',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor'),
    request: {
      params: idParam,
      query: z.strictObject({
        mechanism: noiseSchema.default('gaussian'),
        noiseMultiplier: z.coerce.number().positive().max(SCALE_MAX),
        samplingRate: z.coerce.number().gte(1e-6).lte(1),
      }),
    },
    responses: { 200: json(affordableSchema, 'By the filter that decides on charges.'), ...problems },
  })
  const policy = createRoute({
    method: 'put',
    path: '/v1/datasets/{id}/policy',
    summary: 'Set what the owner allows, from the next charge on; freezing stops all charges',
    security,
    middleware: allow(services, 'admin'),
    request: { params: idParam, body: body(policySchema) },
    responses: { 200: json(datasetSchema, 'The dataset.'), ...problems },
  })
  return newApi()
    .openapi(create, async (c) => {
      const wanted = c.req.valid('json')
      const { status, answer } = await once(services, c, {
        body: wanted,
        draft: () => null,
        repeat: 'store',
        make: async () => {
          const actor = await services.datasets.get(wanted.id)
          const outcome = await actor.register(wanted)
          if (outcome === 'conflict') throw new ApiError('conflict', `dataset ${wanted.id}`)
          if (outcome === 'exceeded') throw new ApiError('dataset_budget_exceeded', 'count.noiseMultiplier')
          await services.directory.noteDataset(wanted.id)
          const status = outcome === 'created' ? (201 as const) : (200 as const)
          return { status, answer: await findDataset(services, wanted.id) }
        },
      })
      return c.json(answer as Dataset, status)
    })
    .openapi(list, async (c) => {
      const { cursor, limit } = c.req.valid('query')
      const page = await services.directory.listDatasets({ cursor, limit })
      const items = await Promise.all(page.items.map((id) => findDataset(services, id)))
      return c.json({ items, next: page.next }, 200)
    })
    .openapi(affordable, async (c) => {
      const { id } = c.req.valid('param')
      await findDataset(services, id)
      const event = { ...c.req.valid('query'), neighbours: 'add-remove' as const }
      return c.json({ rounds: (await (await services.datasets.get(id)).affordable(event)) ?? 0 }, 200)
    })
    .openapi(policy, async (c) => {
      const { id } = c.req.valid('param')
      await findDataset(services, id)
      await (await services.datasets.get(id)).setPolicy(c.req.valid('json'))
      return c.json(await findDataset(services, id), 200)
    })
    .openapi(get, async (c) => c.json(await findDataset(services, c.req.valid('param').id), 200))
}
