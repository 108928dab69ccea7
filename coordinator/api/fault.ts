import { HTTPException } from 'hono/http-exception'
import { type ProblemCode, problemOf } from '../../shared/api/index.ts'
import { LogFaultError } from '../ledger/index.ts'
import { StoreError } from '../objects/store.ts'
import { AwayError, PlanError, RunError } from '../run/index.ts'
import { StorageError } from '../storage/index.ts'

/** A refusal as the API says it. `detail` holds names of fields and ids, never values. */
export class ApiError extends Error {
  readonly code: ProblemCode
  readonly detail: string | undefined
  /** Seconds, where they are known. */
  readonly retryAfter: number | undefined
  constructor(code: ProblemCode, detail?: string, retryAfter?: number) {
    super(`api: ${code}`)
    this.name = 'ApiError'
    this.code = code
    this.detail = detail
    this.retryAfter = retryAfter
  }
}

/** Seconds after which a fault that passes by itself is worth another try. */
const RETRY_AFTER_SECONDS = 2

export function problemResponse(code: ProblemCode, detail?: string, retryAfter = RETRY_AFTER_SECONDS): Response {
  const document = problemOf(code, detail)
  const retry = document.status === 503 || document.status === 429 ? { 'Retry-After': String(retryAfter) } : {}
  return Response.json(document, {
    status: document.status,
    headers: { 'Content-Type': 'application/problem+json', ...retry },
  })
}

/** The problem of any error: known ones by their code, all others `internal`, without a word of theirs. */
export function problemOfError(error: unknown): {
  code: ProblemCode
  detail?: string | undefined
  retryAfter?: number | undefined
} {
  if (error instanceof ApiError) return { code: error.code, detail: error.detail, retryAfter: error.retryAfter }
  if (error instanceof RunError) return { code: error.code }
  if (error instanceof LogFaultError) return { code: 'ledger_fault', detail: error.code }
  if (error instanceof AwayError) return { code: 'unavailable' }
  if (error instanceof PlanError) return { code: error.code, detail: error.fields }
  if (error instanceof StoreError) return { code: STORE_PROBLEMS[error.code] }
  if (error instanceof StorageError) return { code: error.code === 'full' ? 'storage_full' : 'internal' }
  // Hono's own refusals: JSON that does not parse, a body of another type.
  if (error instanceof HTTPException && error.status < 500) return { code: 'bad_request', detail: 'body' }
  return { code: 'internal' }
}

const STORE_PROBLEMS = {
  unavailable: 'store_unavailable',
  refused: 'store_unavailable',
  full: 'storage_full',
  conflict: 'conflict',
} as const
