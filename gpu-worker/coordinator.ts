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
  /** Sends a report's bytes as they are. `dropped`: the coordinator wants it no more. */
  report(lease: string, body: string): Promise<'accepted' | 'dropped'>
}

/** Answers after which a report is never wanted again. */
const DROPPED: ReadonlySet<ProblemCode> = new Set(['lease_closed', 'report_conflict', 'run_ended', 'not_found'])
/** Every connection is given up after this much silence, on top of what a long poll waits. */
const TIMEOUT_MS = 30_000

/** @param signal aborts every request in flight, so that a worker stops at once. */
export function connectCoordinator(base: string, token: string, signal: AbortSignal): Coordinator {
  const request = async (method: string, path: string, body?: string, waitMs = 0): Promise<Response> => {
    const url = new URL(path, base)
    const response = await reach(url, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body }),
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS + waitMs)]),
    })
    return response
  }
  const read = async <T extends z.ZodType>(schema: T, response: Response): Promise<z.infer<T>> => {
    if (!response.ok) throw await refusal(response)
    return schema.parse(await response.json())
  }
  return {
    self: async () => read(workerSelfSchema, await request('GET', '/v1/workers/self')),
    enrol: async (publicKey) => {
      const response = await request('PUT', '/v1/workers/self/key', JSON.stringify({ publicKey }))
      if (response.status === 409) {
        throw new WorkerError(
          'key_conflict',
          'this token is enrolled with another key: start the worker with the --state folder it had before, or create a new worker',
        )
      }
      if (!response.ok) throw await refusal(response)
      await response.body?.cancel()
    },
    lease: async (waitSeconds) => {
      const response = await request('POST', '/v1/leases', JSON.stringify({ waitSeconds }), waitSeconds * 1000)
      return response.status === 204 ? null : read(leaseSchema, response)
    },
    updates: async (run, after) =>
      read(updatesSchema, await request('GET', `/v1/runs/${encodeURIComponent(run)}/updates?after=${after}`)),
    model: async (id) => read(modelSchema, await request('GET', `/v1/models/${encodeURIComponent(id)}`)),
    download: async (url) => {
      const response = await reach(new URL(url, base), {
        redirect: 'error',
        signal: AbortSignal.any([signal, AbortSignal.timeout(600_000)]),
      })
      if (!response.ok) throw new WorkerError('unreachable', `the store answered ${response.status}`)
      return new Uint8Array(await response.arrayBuffer())
    },
    report: async (lease, body) => {
      const response = await request('PUT', `/v1/leases/${encodeURIComponent(lease)}/report`, body)
      if (response.ok) {
        await response.body?.cancel()
        return 'accepted'
      }
      const problem = problemSchema.safeParse(await response.json().catch(() => null))
      if (problem.success && DROPPED.has(problem.data.code)) return 'dropped'
      throw classify(response.status, problem.data?.code)
    },
  }
}

async function reach(url: URL, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init)
  } catch (cause) {
    throw new WorkerError('unreachable', `${url.origin} can not be reached`, cause)
  }
}

async function refusal(response: Response): Promise<WorkerError> {
  const problem = problemSchema.safeParse(await response.json().catch(() => null))
  return classify(response.status, problem.data?.code)
}

function classify(status: number, code: ProblemCode | undefined): WorkerError {
  const said = `the coordinator answered ${status}${code ? ` (${code})` : ''}`
  if (status === 401) return new WorkerError('unauthorised', `${said}: the token is unknown or revoked`)
  if (status === 403)
    return new WorkerError('unauthorised', `${said}: this is no worker token; create one for the dataset`)
  if (status >= 500 || status === 429) return new WorkerError('unreachable', `${said}: it is tried again`)
  return new WorkerError('refused', said)
}
