import { OpenAPIHono, z } from '@hono/zod-openapi'
import type { Context, MiddlewareHandler } from 'hono'
import { Identifier, problemSchema } from '../../shared/api/index.ts'
import type { Principal, Scope, WorkerIdentity } from '../directory/index.ts'
import { ApiError, problemResponse } from './fault.ts'
import type { Limiter } from './limit.ts'
import type { Services } from './services.ts'

export type Env = { Variables: { principal: Principal; request: string } }
export type Api = OpenAPIHono<Env>
export type ApiContext = Context<Env>

/** A router whose validation answers with problem documents: names of fields, never values. */
export function newApi(): Api {
  return new OpenAPIHono<Env>({
    defaultHook: (result) => {
      if (result.success) return undefined
      const fields = result.error.issues.map((issue) => issue.path.map(String).filter(isFieldName).join('.') || 'body')
      return problemResponse('bad_request', [...new Set(fields)].join(', '))
    },
  })
}

/** Keys of records are the caller's own words: only names that look like ours, or positions, are repeated. */
function isFieldName(part: string): boolean {
  return /^(?:[a-z][A-Za-z0-9]{0,30}|\d{1,6})$/.test(part)
}

/** A token of the coordinator's own has no dot; a JSON Web Token has two. */
const OWN_TOKEN = /^Bearer ([A-Za-z0-9_-]{1,200})$/
const WEB_TOKEN = /^Bearer ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/
const WEB_TOKEN_LENGTH = 8192

async function principalOf(services: Services, header: string): Promise<Principal | null> {
  const own = OWN_TOKEN.exec(header)?.[1]
  if (own !== undefined) return await services.directory.authenticate(own)
  const web = header.length <= WEB_TOKEN_LENGTH ? WEB_TOKEN.exec(header)?.[1] : undefined
  return web !== undefined && services.identify ? await services.identify(web) : null
}

/** @throws ApiError `rate_limited` */
async function pass(limiter: Limiter | null, caller: string): Promise<void> {
  const seconds = limiter && (await limiter.take(caller))
  if (seconds !== null) throw new ApiError('rate_limited', undefined, seconds)
}

/** Lets a request pass whose token has one of the scopes. */
export function allow(services: Services, ...scopes: Scope[]): MiddlewareHandler<Env> {
  return async function checkScope(c, next) {
    const principal = await principalOf(services, c.req.header('Authorization') ?? '')
    if (!principal) {
      const address = services.limits.addressOf(c)
      if (address !== null) await pass(services.limits.strangers, `address/${address}`)
      throw new ApiError('unauthenticated')
    }
    await pass(services.limits.callers, `token/${principal.token}`)
    if (!scopes.includes(principal.scope)) throw new ApiError('forbidden')
    c.set('principal', principal)
    await next()
  }
}

/** The worker that a request speaks for. */
export function workerOf(c: ApiContext): WorkerIdentity {
  const { worker } = c.get('principal')
  if (!worker) throw new ApiError('forbidden')
  return worker
}

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
})
export const body = <T extends z.ZodType>(schema: T) => ({
  required: true,
  content: { 'application/json': { schema } },
})
/** Every refusal has this form; `code` says which. */
export const problems = {
  default: { description: 'A problem document.', content: { 'application/problem+json': { schema: problemSchema } } },
} as const

export const idParam = z.strictObject({ id: Identifier })
export const pageQuery = z.strictObject({
  cursor: z
    .string()
    .regex(/^[a-z0-9_-]{1,63}$/)
    .optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
})
/** A page whose items are numbered. */
export const numberedQuery = pageQuery.extend({
  cursor: z
    .string()
    .regex(/^\d{1,15}$/)
    .optional(),
})
export const security = [{ bearer: [] }]
