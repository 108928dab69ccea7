import { createRoute, z } from '@hono/zod-openapi'
import {
  checkpointSchema,
  Identifier,
  pageOf,
  type Run as RunAnswer,
  runSchema,
  runStateSchema,
  runSummarySchema,
  updatesSchema,
} from '../../shared/api/index.ts'
import { runLog } from '../../shared/ledger/index.ts'
import { checkpointKey, type RunFacts } from '../run/index.ts'
import { ApiError } from './fault.ts'
import { DOWNLOAD_SECONDS } from './models.ts'
import { type ApiContext, allow, idParam, json, newApi, numberedQuery, problems, security } from './route.ts'
import type { Services } from './services.ts'

/** A run that the caller may see: people all, a worker those that read its dataset. @throws ApiError `not_found` */
export async function findRun(services: Services, c: ApiContext, id: string) {
  const missing = new ApiError('not_found', `run ${id}`)
  if (!(await services.directory.hasRun(id))) throw missing
  const run = await services.runs.get(id)
  const facts = await run.describe()
  const dataset = c.get('principal').worker?.dataset
  if (!facts || (dataset !== undefined && !facts.spec.datasets.some((d) => d.id === dataset))) throw missing
  return { run, facts }
}

type FoundRun = Awaited<ReturnType<typeof findRun>>['run']

/** A run as the API tells it. */
export async function answerOf(services: Services, facts: RunFacts): Promise<RunAnswer> {
  const { adapter } = facts
  const url = adapter && (await services.objects.signedGet(adapter.key, DOWNLOAD_SECONDS))
  return { ...facts, adapter: adapter && url !== null ? { ...adapter, url } : null }
}

/** Runs that are there: lists, one, and its end. */
export function runRoutes(services: Services) {
  const launchers = allow(services, 'admin', 'operator')
  const readers = allow(services, 'admin', 'operator', 'auditor', 'worker')
  const list = createRoute({
    method: 'get',
    path: '/v1/runs',
    summary: 'List runs, newest first; of one state or dataset where it is named',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor'),
    request: {
      query: numberedQuery.extend({
        state: runStateSchema.optional(),
        dataset: Identifier.optional().describe('Those that read it.'),
      }),
    },
    responses: { 200: json(pageOf(runSummarySchema), 'A page.'), ...problems },
  })
  const get = createRoute({
    method: 'get',
    path: '/v1/runs/{id}',
    summary: 'Show a run and what it spent',
    security,
    middleware: readers,
    request: { params: idParam },
    responses: { 200: json(runSchema, 'The run.'), ...problems },
  })
  const cancel = createRoute({
    method: 'post',
    path: '/v1/runs/{id}/cancel',
    summary: 'Cancel a run; what it spent stays spent',
    security,
    middleware: launchers,
    request: { params: idParam },
    responses: { 200: json(runSchema, 'The cancelled run.'), ...problems },
  })
  const pausing = (verb: 'pause' | 'resume', summary: string) =>
    createRoute({
      method: 'post',
      path: `/v1/runs/{id}/${verb}`,
      summary,
      security,
      middleware: launchers,
      request: { params: idParam },
      responses: { 200: json(runSchema, 'The run.'), ...problems },
    })
  const pause = pausing('pause', 'Open no round after the one that is open; again is the same')
  const resume = pausing('resume', 'Go on with a paused run; again is the same')
  /** Does something to a run, and answers with it. */
  const changed = async (c: ApiContext, id: string, change: (run: FoundRun) => Promise<void> | void) => {
    const { run } = await findRun(services, c, id)
    await change(run)
    const { facts } = await findRun(services, c, id)
    return await answerOf(services, facts)
  }
  return newApi()
    .openapi(list, async (c) => {
      const { cursor, ...wanted } = c.req.valid('query')
      return c.json(await services.directory.listRuns({ cursor, ...wanted }), 200)
    })
    .openapi(get, async (c) => {
      const { facts } = await findRun(services, c, c.req.valid('param').id)
      return c.json(await answerOf(services, facts), 200)
    })
    .openapi(cancel, async (c) => {
      return c.json(await changed(c, c.req.valid('param').id, (run) => run.cancel()), 200)
    })
    .openapi(pause, async (c) => {
      return c.json(await changed(c, c.req.valid('param').id, (run) => run.setPaused(true)), 200)
    })
    .openapi(resume, async (c) => {
      return c.json(await changed(c, c.req.valid('param').id, (run) => run.setPaused(false)), 200)
    })
}

/** Checkpoints that a run is looked through for: of a million rounds it has 20,000. */
const CHECKPOINTS_MOST = 20_000

/** Stored states of a run. */
export function checkpointRoutes(services: Services) {
  const checkpoints = createRoute({
    method: 'get',
    path: '/v1/runs/{id}/checkpoints',
    summary: 'Stored trained states of a run, newest first: a cache of what its log leads to',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor', 'worker'),
    request: {
      params: idParam,
      query: numberedQuery,
    },
    responses: { 200: json(pageOf(checkpointSchema), 'A page.'), ...problems },
  })
  return newApi().openapi(checkpoints, async (c) => {
    const { id } = c.req.valid('param')
    const { cursor, limit } = c.req.valid('query')
    const { run } = await findRun(services, c, id)
    const all = await run.checkpoints(CHECKPOINTS_MOST)
    const older = cursor === undefined ? all : all.filter(({ rounds }) => rounds < Number(cursor))
    const items = await Promise.all(
      older.slice(0, limit).map(async (each) => ({
        round: each.rounds,
        size: each.size,
        sha256: each.sha256,
        time: each.time,
        url: await services.objects.signedGet(checkpointKey(id, each), DOWNLOAD_SECONDS),
      })),
    )
    const last = items.at(-1)
    return c.json({ items, next: older.length > limit && last ? String(last.round) : null }, 200)
  })
}

/** The log of a run, for those who replay it. */
export function updateRoutes(services: Services) {
  const updates = createRoute({
    method: 'get',
    path: '/v1/runs/{id}/updates',
    summary: 'Segments of the log from a record on, and the newest checkpoint',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor', 'worker'),
    request: {
      params: idParam,
      query: z.strictObject({ after: z.coerce.number().int().nonnegative().default(0) }),
    },
    responses: { 200: json(updatesSchema, 'Signed URLs, in order.'), ...problems },
  })
  return newApi().openapi(updates, async (c) => {
    const { id } = c.req.valid('param')
    const { run } = await findRun(services, c, id)
    const { head, segments, checkpoint } = await run.updates(c.req.valid('query').after)
    const url = (key: string) => services.objects.signedGet(key, DOWNLOAD_SECONDS)
    const answer = {
      head,
      segments: await Promise.all(
        segments.map(async ({ first }) => ({ first, url: await url(runLog.segmentKey(id, first)) })),
      ),
      checkpoint: checkpoint && {
        round: checkpoint.rounds,
        size: checkpoint.size,
        sha256: checkpoint.sha256,
        url: await url(checkpointKey(id, checkpoint)),
      },
    }
    return c.json(answer, 200)
  })
}
