import { streamSSE } from 'hono/streaming'
import { runEventSchema } from '../../shared/api/index.ts'
import { EventFold, runTopic } from '../run/index.ts'
import { ApiError } from './fault.ts'
import { allow, idParam, newApi, problems, security } from './route.ts'
import { findRun } from './runs.ts'
import type { Services } from './services.ts'

/** A comment this often keeps proxies from closing a silent stream. */
const HEARTBEAT_MS = 15_000

/** Events of a run by SSE. They are read from its log: `id` is the record's seq, and `Last-Event-ID` goes on after it. */
export function eventRoutes(services: Services) {
  const api = newApi()
  api.openAPIRegistry.registerPath({
    method: 'get',
    path: '/v1/runs/{id}/events',
    summary: 'Events of a run as server-sent events, from the first or after Last-Event-ID',
    security,
    request: { params: idParam },
    responses: {
      200: { description: 'Ends after run.ended.', content: { 'text/event-stream': { schema: runEventSchema } } },
      ...problems,
    },
  })
  api.get('/v1/runs/:id/events', allow(services, 'admin', 'operator', 'auditor'), async (c) => {
    const parsed = idParam.safeParse(c.req.param())
    if (!parsed.success) throw new ApiError('bad_request', 'id')
    const last = c.req.header('Last-Event-ID') ?? '-1'
    if (!/^(?:-1|\d{1,15})$/.test(last)) throw new ApiError('bad_request', 'Last-Event-ID')
    const { run } = await findRun(services, c, parsed.data.id)
    return streamSSE(c, async (stream) => {
      const aborted = new AbortController()
      stream.onAbort(() => aborted.abort())
      const fold = new EventFold()
      for (let next = 0; !stream.aborted && !services.bell.closed; ) {
        const mark = await services.bell.mark(runTopic(parsed.data.id))
        const { records, ended } = await run.records(next)
        for (const record of records) {
          next = record.seq + 1
          if (record.seq <= Number(last)) fold.skip(record)
          else {
            const event = fold.push(record)
            if (event) await send(event)
          }
          if (record.type === 'end') return
        }
        // A log that failed has no end record: its last word takes the place after the last record.
        if (ended) return await send({ type: 'run.ended', seq: next, time: services.now(), state: 'failed' })
        // Records come some at a time: nothing is waited for while there are more.
        if (records.length === 0 && !services.bell.closed) await quiet(mark)
      }

      async function send(event: { type: string; seq: number; [field: string]: unknown }): Promise<void> {
        await stream.writeSSE({ id: String(event.seq), event: event.type, data: JSON.stringify(event) })
      }
      async function quiet(mark: number): Promise<void> {
        const topic = runTopic(parsed.data!.id)
        await services.bell.wait(topic, { mark, ms: HEARTBEAT_MS, signal: aborted.signal })
        if ((await services.bell.mark(topic)) === mark && !stream.aborted) await stream.write(': still here\n\n')
      }
    })
  })
  return api
}
