import type { z } from 'zod'
import {
  type Lease,
  leaseSchema,
  modelSchema,
  type ProblemCode,
  problemSchema,
  updatesSchema,
  workerSelfSchema,
} from '../shared/api/index.ts'
import { WorkerError } from './error.ts'

/** What a worker asks of its coordinator. Everything it fetches is schema-checked; nothing is sent but what is named here. */
export interface Coordinator {
  self(): Promise<z.infer<typeof workerSelfSchema>>
  enrol(publicKey: string): Promise<void>
  lease(waitSeconds: number): Promise<Lease | null>
  updates(run: string, after: number): Promise<z.infer<typeof updatesSchema>>
  model(id: string): Promise<z.infer<typeof modelSchema>>
  /** Bytes behind a signed URL of the store. */
  download(url: string): Promise<Uint8Array>
  /** The same piece by piece, for files that are larger than memory. @throws WorkerError `unreachable` where it breaks off. */
  stream(url: string): AsyncIterable<Uint8Array>
  /** Sends a report's bytes as they are. `dropped`: the coordinator wants it no more. */
  report(lease: string, body: string): Promise<'accepted' | 'dropped'>
}

/** Answers after which a report is never wanted again. */
const DROPPED: ReadonlySet<ProblemCode> = new Set([
  'lease_closed',
  'report_conflict',
  'run_ended',
  'not_found',
  'forbidden',
  'bad_report',
  'bad_signature',
  'too_large',
])
/** Every connection is given up after this much silence, on top of what a long poll waits. */
const TIMEOUT_MS = 30_000

/** Most bytes of an answer that is JSON; the store's objects have no such limit. */
const JSON_BYTES = 32 * 2 ** 20

/** An answer, its body read whole: a connection that breaks off in the middle is the same as none. */
interface Answer {
  readonly status: number
  readonly body: Uint8Array
}

/** @param signal aborts every request in flight, so that a worker stops at once. */
export function connectCoordinator(base: string, token: string, signal: AbortSignal): Coordinator {
  const request = (method: string, path: string, body?: string, waitMs = 0): Promise<Answer> =>
    reach(new URL(path, base), {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body }),
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS + waitMs)]),
    })
  const read = async <T extends z.ZodType>(schema: T, answer: Answer): Promise<z.infer<T>> => {
    if (!isOk(answer)) throw refusal(answer)
    const parsed = schema.safeParse(jsonOf(answer))
    // A proxy's page instead of the coordinator: it may be back at the next try.
    if (!parsed.success) throw new WorkerError('unreachable', 'what answers there is no coordinator of this version')
    return parsed.data
  }
  return {
    self: async () => read(workerSelfSchema, await request('GET', '/v1/workers/self')),
    enrol: async (publicKey) => {
      const answer = await request('PUT', '/v1/workers/self/key', JSON.stringify({ publicKey }))
      if (answer.status === 409) {
        throw new WorkerError(
          'key_conflict',
          'this token is enrolled with another key: start the worker with the --state folder it had before, or create a new worker',
        )
      }
      if (!isOk(answer)) throw refusal(answer)
    },
    lease: async (waitSeconds) => {
      const answer = await request('POST', '/v1/leases', JSON.stringify({ waitSeconds }), waitSeconds * 1000)
      return answer.status === 204 ? null : read(leaseSchema, answer)
    },
    updates: async (run, after) =>
      read(updatesSchema, await request('GET', `/v1/runs/${encodeURIComponent(run)}/updates?after=${after}`)),
    model: async (id) => read(modelSchema, await request('GET', `/v1/models/${encodeURIComponent(id)}`)),
    download: async (url) => {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(600_000)])
      const answer = await reach(new URL(url, base), { redirect: 'error', signal: limit })
      if (!isOk(answer)) throw new WorkerError('unreachable', `the store answered ${answer.status}`)
      return answer.body
    },
    stream: (url) => streamOf(new URL(url, base), signal),
    report: async (lease, body) => {
      const answer = await request('PUT', `/v1/leases/${encodeURIComponent(lease)}/report`, body)
      if (isOk(answer)) return 'accepted'
      const code = codeOf(answer)
      if (code !== undefined && DROPPED.has(code)) return 'dropped'
      throw refusal(answer)
    },
  }
}

async function reach(url: URL, init: RequestInit): Promise<Answer> {
  try {
    const response = await fetch(url, init)
    return { status: response.status, body: new Uint8Array(await response.arrayBuffer()) }
  } catch (cause) {
    throw new WorkerError('unreachable', `${url.origin} can not be reached`, cause)
  }
}

/** A body that may take hours: it is given up after silence, not after a time. */
async function* streamOf(url: URL, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const silence = new AbortController()
  const timer = setTimeout(() => silence.abort(), TIMEOUT_MS)
  try {
    const response = await fetch(url, { redirect: 'error', signal: AbortSignal.any([signal, silence.signal]) })
    if (!isOk(response) || !response.body) throw new WorkerError('unreachable', `the store answered ${response.status}`)
    for await (const bytes of response.body) {
      timer.refresh()
      yield bytes
    }
  } catch (cause) {
    if (cause instanceof WorkerError) throw cause
    throw new WorkerError('unreachable', `${url.origin} can not be reached`, cause)
  } finally {
    clearTimeout(timer)
  }
}

const isOk = ({ status }: { readonly status: number }): boolean => status >= 200 && status < 300

function jsonOf({ body }: Answer): unknown {
  if (body.length > JSON_BYTES) return undefined
  try {
    return JSON.parse(new TextDecoder().decode(body))
  } catch {
    return undefined
  }
}

const codeOf = (answer: Answer): ProblemCode | undefined => problemSchema.safeParse(jsonOf(answer)).data?.code

function refusal(answer: Answer): WorkerError {
  const { status } = answer
  const code = codeOf(answer)
  const said = `the coordinator answered ${status}${code ? ` (${code})` : ''}`
  if (status === 401) return new WorkerError('unauthorised', `${said}: the token is unknown or revoked`)
  if (status === 403)
    return new WorkerError('unauthorised', `${said}: this is no worker token; create one for the dataset`)
  if (status >= 500 || status === 429) return new WorkerError('unreachable', `${said}: it is tried again`)
  return new WorkerError('refused', said)
}
