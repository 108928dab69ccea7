import { createRoute, z } from '@hono/zod-openapi'
import { Identifier, logIdentitySchema, segmentsSchema } from '../../shared/api/index.ts'
import { datasetLog, runLog } from '../../shared/ledger/index.ts'
import { adapterKey } from '../../shared/zo/index.ts'
import type { ObjectStore } from '../objects/store.ts'
import { ApiError } from './fault.ts'
import { allow, json, newApi, problems, security } from './route.ts'
import type { Services } from './services.ts'

/** Whose logs these are, for those who verify them. */
export function logRoutes(services: Services) {
  const log = createRoute({
    method: 'get',
    path: '/v1/log',
    summary: 'Name and public key of the logs of this coordinator',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor', 'worker'),
    responses: { 200: json(logIdentitySchema, 'Pin it.'), ...problems },
  })
  const object = createRoute({
    method: 'get',
    path: '/v1/log/objects',
    summary:
      'An object that an audit reads: a segment or the checkpoint of a log, or the adapter of a run, as it lies in the store',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor'),
    request: { query: z.strictObject({ key: z.string().max(200) }) },
    responses: {
      200: { description: 'Its bytes.', content: { 'application/octet-stream': { schema: z.string() } } },
      204: { description: 'There is none: a log is read until that is the answer.' },
      ...problems,
    },
  })
  const segments = createRoute({
    method: 'get',
    path: '/v1/log/segments',
    summary:
      'Segments of a log, one after the other as they lie in the store: fewer requests for those who read all of it',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor'),
    request: {
      query: z.strictObject({
        of: z.enum(['runs', 'datasets']),
        id: Identifier,
        first: z.coerce.number().int().min(0).max(99_999_999).describe('Record that the first of them begins with.'),
      }),
    },
    responses: { 200: json(segmentsSchema, 'None where no segment begins there.'), ...problems },
  })
  return newApi()
    .openapi(log, async (c) => c.json(services.logIdentity, 200))
    .openapi(object, async (c) => {
      const { key } = c.req.valid('query')
      if (!isAudited(key)) throw new ApiError('not_found', 'key')
      if (((await services.objects.size(key)) ?? 0) > OBJECT_BYTES_MAX) throw new ApiError('object_too_large', 'key')
      const bytes = await services.objects.fetch(key)
      if (!bytes) return c.body(null, 204)
      return c.body(bytes as Uint8Array<ArrayBuffer>, 200, { 'Content-Type': 'application/octet-stream' })
    })
    .openapi(segments, async (c) => {
      const { of, id, first } = c.req.valid('query')
      const form = of === 'runs' ? runLog : datasetLog
      return c.json(await segmentsFrom(services.objects, (record) => form.segmentKey(id, record), first), 200)
    })
}

/** Of one answer: a Worker may ask its store twice for each of so many objects in one request, with room to spare. */
const SEGMENTS_MOST = 20
/** No honest segment is near it; a larger one is read as the object that it is, which is refused beyond its own bound. */
const SEGMENT_BYTES_MOST = 4 * 2 ** 20

/** Segments from a record on. One that is no text, or too large, ends them. */
async function segmentsFrom(objects: ObjectStore, keyOf: (first: number) => string, first: number) {
  const items: { first: number; text: string }[] = []
  let bytes = 0
  for (let at = first; items.length < SEGMENTS_MOST; ) {
    bytes += (await objects.size(keyOf(at))) ?? 0
    if (bytes > SEGMENT_BYTES_MOST) break
    const object = await objects.fetch(keyOf(at))
    const text = object && textOf(object)
    if (!object || text === null) break
    items.push({ first: at, text })
    const records = text.split('\n').length - 1
    if (records === 0) break
    at += records
  }
  return { items }
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}

/** Of what is passed through: larger adapters are read from the store itself. */
const OBJECT_BYTES_MAX = 32 * 2 ** 20

const LOG_KEY = /^(?<folder>runs|datasets)\/(?<id>[a-z0-9][a-z0-9_-]{0,62})\/(?<rest>.+)$/

/** Whether a key is one of those that an audit reads, and of nothing else in the store. */
function isAudited(key: string): boolean {
  const { folder, id = '', rest = '' } = LOG_KEY.exec(key)?.groups ?? {}
  const form = folder === 'runs' ? runLog : datasetLog
  if (folder === 'runs' && key === adapterKey(id)) return true
  return key === form.checkpointKey(id) || key === form.segmentKey(id, Number(/^log\/(\d{8})\.jsonl$/.exec(rest)?.[1]))
}
