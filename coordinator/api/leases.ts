import { createRoute } from '@hono/zod-openapi'
import {
  type Lease,
  leaseRequestSchema,
  leaseSchema,
  reportAnswerSchema,
  reportSchema,
} from '../../shared/api/index.ts'
import type { WorkerIdentity } from '../directory/index.ts'
import { datasetTopic } from '../run/index.ts'
import { ApiError } from './fault.ts'
import { allow, body, idParam, json, newApi, problems, security, workerOf } from './route.ts'
import type { Services } from './services.ts'

/** The lease that a worker holds in any run, else the first that is free. One run's fault does not starve the others. */
async function findLease(services: Services, worker: WorkerIdentity): Promise<Lease | null> {
  const ids = await services.directory.runningRuns(worker.dataset)
  const runs = await Promise.all(ids.map((id) => services.runs.get(id)))
  for (const run of runs) {
    const held = await run.heldLease(worker)
    if (held) return held
  }
  const faults: unknown[] = []
  for (const run of runs) {
    try {
      const lease = await run.takeLease(worker)
      if (lease) return lease
    } catch (error) {
      faults.push(error)
    }
  }
  if (faults.length > 0) throw faults[0]
  return null
}

async function waitForLease(
  services: Services,
  { worker, token }: { worker: WorkerIdentity; token: string },
  patience: { ms: number; signal: AbortSignal },
): Promise<Lease | null> {
  const until = services.now() + patience.ms
  const topic = datasetTopic(worker.dataset)
  for (;;) {
    const mark = await services.bell.mark(topic)
    const lease = await findLease(services, worker)
    const ms = until - services.now()
    if (lease || ms <= 0 || patience.signal.aborted || services.bell.closed) return lease
    await services.bell.wait(topic, { mark, ms, signal: patience.signal })
    if (!(await services.directory.isValid(token))) throw new ApiError('unauthenticated')
  }
}

export function leaseRoutes(services: Services) {
  const worker = allow(services, 'worker')
  const lease = createRoute({
    method: 'post',
    path: '/v1/leases',
    summary: 'Wait for a lease; a worker that holds one gets the same again',
    security,
    middleware: worker,
    request: { body: body(leaseRequestSchema) },
    responses: {
      200: json(leaseSchema, 'The lease; its charge is in the log.'),
      204: { description: 'No work now.' },
      ...problems,
    },
  })
  const report = createRoute({
    method: 'put',
    path: '/v1/leases/{id}/report',
    summary: 'Send the report of a lease; the first is kept',
    security,
    middleware: worker,
    request: { params: idParam, body: body(reportSchema) },
    responses: { 200: json(reportAnswerSchema, 'Stored.'), ...problems },
  })
  return newApi()
    .openapi(lease, async (c) => {
      const ms = c.req.valid('json').waitSeconds * 1000
      const found = await waitForLease(
        services,
        { worker: workerOf(c), token: c.get('principal').token },
        { ms, signal: c.req.raw.signal },
      )
      return found ? c.json(found, 200) : c.body(null, 204)
    })
    .openapi(report, async (c) => {
      const { id } = c.req.valid('param')
      const sent = c.req.valid('json')
      if (!(await services.directory.hasRun(sent.run))) throw new ApiError('not_found', 'run')
      const run = await services.runs.get(sent.run)
      await run.report(workerOf(c), id, sent)
      return c.json({ lease: id, accepted: true as const }, 200)
    })
}
