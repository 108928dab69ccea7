import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'
import {
  datasetSchema,
  modelUploadSchema,
  problemSchema,
  type Run,
  type RunEvent,
  type RunRequest,
  runEventSchema,
  runSchema,
  updatesSchema,
  workerCreatedSchema,
} from '../shared/api/index.ts'

/** fetch and its streams tell a lost connection by a TypeError; it is tried again after this pause. */
const RECONNECT_MS = 500

/** What the demo asks of the public API, with the admin's token. */
export type Client = ReturnType<typeof connect>

/** What the coordinator answered in the place of what was asked. */
class Refusal extends Error {
  readonly status: number
  constructor(status: number, words: string) {
    super(words)
    this.status = status
  }
}

/** Whether it is worth asking again: nobody was there, or the coordinator said that it will pass. */
const passes = (error: unknown): boolean =>
  error instanceof TypeError || (error instanceof Refusal && (error.status === 429 || error.status === 503))

export function connect(base: string, token: string, signal: AbortSignal) {
  const call = async (
    method: string,
    path: string,
    body?: unknown,
    more: Record<string, string> = {},
  ): Promise<Response> => {
    const response = await fetch(new URL(path, base), {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...more,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal,
    })
    if (response.ok) return response
    const problem = problemSchema.safeParse(await response.json().catch(() => null))
    throw new Refusal(
      response.status,
      `${method} ${path}: ${response.status} ${problem.data?.code ?? ''} ${problem.data?.detail ?? ''}`.trim(),
    )
  }
  const ask = async <T extends z.ZodType>(
    schema: T,
    method: string,
    path: string,
    body?: unknown,
  ): Promise<z.infer<T>> => schema.parse(await (await call(method, path, body)).json())
  return {
    uploadModel: async (folder: string): Promise<string> => {
      const files = modelFiles(folder)
      const upload = await ask(modelUploadSchema, 'POST', '/v1/models', { files })
      for (const { path, url } of upload.uploads) {
        const answer = await fetch(new URL(url, base), {
          method: 'PUT',
          body: readFileSync(join(folder, path)),
          signal,
        })
        if (!answer.ok) throw new Error(`PUT of ${path}: ${answer.status}`)
      }
      return upload.id
    },
    createDataset: (dataset: {
      id: string
      units: number
      unit: 'record'
      budget: { epsilon: number; delta: number }
    }) => ask(datasetSchema, 'POST', '/v1/datasets', dataset),
    dataset: (id: string) => ask(datasetSchema, 'GET', `/v1/datasets/${id}`),
    createWorker: (dataset: string) => ask(workerCreatedSchema, 'POST', '/v1/workers', { dataset }),
    createRun: (request: RunRequest): Promise<Run> => ask(runSchema, 'POST', '/v1/runs', request),
    run: (id: string): Promise<Run> => ask(runSchema, 'GET', `/v1/runs/${id}`),
    updates: (id: string, after: number) => ask(updatesSchema, 'GET', `/v1/runs/${id}/updates?after=${after}`),
    download: async (url: string): Promise<Uint8Array> => {
      const answer = await fetch(new URL(url, base), { signal })
      if (!answer.ok) throw new Error(`the store answered ${answer.status}`)
      return new Uint8Array(await answer.arrayBuffer())
    },
    /** Events of a run from its start, as they come, until it has ended; goes on after a coordinator that was away. */
    events: async function* (id: string): AsyncGenerator<RunEvent> {
      let last = -1
      for (;;) {
        try {
          const { body } = await call('GET', `/v1/runs/${id}/events`, undefined, { 'last-event-id': String(last) })
          for await (const data of serverSentData(body!)) {
            const event = runEventSchema.parse(JSON.parse(data))
            last = event.seq
            yield event
            if (event.type === 'run.ended') return
          }
        } catch (error) {
          if (signal.aborted || !passes(error)) throw error
        }
        await sleep(RECONNECT_MS, undefined, { signal })
      }
    },
  }
}

/** `data:` of each event of a stream (HTML standard, server-sent events). */
async function* serverSentData(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = ''
  const decoder = new TextDecoder()
  for await (const chunk of body) {
    const blocks = (rest + decoder.decode(chunk, { stream: true })).split('\n\n')
    rest = blocks.pop() ?? ''
    for (const block of blocks) {
      const data = block
        .split('\n')
        .filter((line) => line.startsWith('data:'))
        .map((line) => line.slice(5).trimStart())
      if (data.length > 0) yield data.join('\n')
    }
  }
}

/** The files of a model folder, ascending by path, as a manifest lists them. */
export function modelFiles(folder: string): { path: string; sha256: string; bytes: number }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => {
      const content = readFileSync(file)
      const sha256 = createHash('sha256').update(content).digest('hex')
      return { path: relative(folder, file).replaceAll('\\', '/'), sha256, bytes: content.length }
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1))
}
