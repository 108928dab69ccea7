import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { routePath } from 'hono/route'
import { hex } from '../directory/index.ts'
import { webRoutes } from '../web/index.ts'
import { selfRoutes, tokenRoutes, workerRoutes } from './access.ts'
import { datasetRoutes } from './datasets.ts'
import { eventRoutes } from './events.ts'
import { problemOfError, problemResponse } from './fault.ts'
import { fineTuningRoutes, withErrors } from './fine-tuning.ts'
import { launchRoutes } from './launch.ts'
import { leaseRoutes } from './leases.ts'
import { logRoutes } from './logs.ts'
import { metricRoutes } from './metrics.ts'
import { modelRoutes } from './models.ts'
import type { ApiDocument } from './reference/document.ts'
import { referenceRoutes } from './reference/index.ts'
import { roundRoutes } from './rounds.ts'
import { type Api, type Env, newApi } from './route.ts'
import { checkpointRoutes, runRoutes, updateRoutes } from './runs.ts'
import type { Services } from './services.ts'
import { webhookRoutes } from './webhooks.ts'

const DOCUMENT = { openapi: '3.1.0', info: { title: 'Sotto coordinator', version: '1' } }

/** The largest bodies are manifests of 1,000 files and spaces of 2,000 sites, each below 700 KB. */
const MAX_BODY_BYTES = 1 << 20

/** All routes, chained so that their types are known to a client. `self` before `{id}`, `plan` before `{id}`: the first match answers. */
function routesOf(services: Services) {
  return newApi()
    .route('/', selfRoutes(services))
    .route('/', datasetRoutes(services))
    .route('/', tokenRoutes(services))
    .route('/', workerRoutes(services))
    .route('/', modelRoutes(services))
    .route('/', launchRoutes(services))
    .route('/', logRoutes(services))
    .route('/', runRoutes(services))
    .route('/', updateRoutes(services))
    .route('/', checkpointRoutes(services))
    .route('/', roundRoutes(services))
    .route('/', eventRoutes(services))
    .route('/', fineTuningRoutes(services))
    .route('/', metricRoutes(services))
    .route('/', webhookRoutes(services))
    .route('/', leaseRoutes(services))
}

/** What the API has, for a client that is typed by it. */
export type App = ReturnType<typeof routesOf>

/** The HTTP face of the coordinator. Runs wherever Hono runs; everything it needs comes with `services`. */
export function makeApp(services: Services): Api {
  const app = newApi()
  app.use(logged(services))
  app.use('/v1/*', bodyLimit({ maxSize: MAX_BODY_BYTES, onError: tooLarge }))
  app.use('/v1/fine_tuning/*', withErrors)
  app.get('/healthz', (c) => c.json({ ok: true }))
  app.route('/', routesOf(services))
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', { type: 'http', scheme: 'bearer' })
  app.doc31('/openapi.json', DOCUMENT)
  app.route(
    '/',
    referenceRoutes(() => app.getOpenAPI31Document(DOCUMENT) as unknown as ApiDocument),
  )
  app.route('/', webRoutes())
  app.notFound(() => problemResponse('not_found'))
  app.onError((error, c) => {
    const { code, detail, retryAfter } = problemOfError(error)
    if (code === 'internal') services.log({ event: 'fault', code: error.name, request: c.get('request') })
    return problemResponse(code, code === 'internal' ? `request ${c.get('request')}` : detail, retryAfter)
  })
  return app
}

/** The rest of the body is never read, so that the connection can not be used again. */
function tooLarge(): Response {
  const response = problemResponse('too_large')
  response.headers.set('Connection', 'close')
  return response
}

/** W3C Trace Context, version 00: the trace is not all zeros, nor is the parent. */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/

/** One line for each request: pattern of the route, status and time, nothing that a caller sent. */
function logged(services: Services): MiddlewareHandler<Env> {
  return async function logRequest(c, next) {
    const started = services.now()
    // One draw for both: the request's own, and a trace for those who send none.
    const drawn = hex(services.random(24))
    const request = drawn.slice(0, 16)
    const trace = TRACEPARENT.exec(c.req.header('traceparent') ?? '')?.[1] ?? drawn.slice(16)
    c.set('request', request)
    await next()
    c.res.headers.set('traceresponse', `00-${trace}-${request}-01`)
    // Answers hold tokens and signed URLs.
    if (!c.res.headers.has('Cache-Control')) c.res.headers.set('Cache-Control', 'no-store')
    const { method } = c.req
    const ms = services.now() - started
    services.log({ event: 'request', method, route: routePath(c, -1), status: c.res.status, ms, request, trace })
  }
}
