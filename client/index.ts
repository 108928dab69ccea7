import { EventSourceParserStream } from 'eventsource-parser/stream'
import { type ClientResponse, hc } from 'hono/client'
import type { App } from '../coordinator/api/index.ts'
import {
  type Problem,
  type ProblemCode,
  problemSchema,
  type Run,
  type RunEvent,
  runEventSchema,
} from '../shared/api/index.ts'
import { contentMd5 } from '../shared/ledger/index.ts'

/** What the coordinator said in the place of what was asked for. */
export class SottoError extends Error {
  readonly status: number
  /** Stable; null where what answered is no coordinator. */
  readonly code: ProblemCode | null
  readonly detail: string | undefined
  constructor(status: number, problem: Problem | null) {
    super(`${status} ${problem?.code ?? 'no coordinator answered'}: ${problem?.detail ?? problem?.title ?? ''}`)
    this.name = 'SottoError'
    this.status = status
    this.code = problem?.code ?? null
    this.detail = problem?.detail
  }
}

/** The coordinator could not be reached in the time that was waited for it. */
export class ConnectionError extends TypeError {
  constructor(cause: TypeError) {
    super(cause.message, { cause })
    this.name = 'ConnectionError'
  }
}

export interface ConnectOptions {
  readonly url: string | URL
  readonly token: string
  /** Ends every request and every wait. */
  readonly signal?: AbortSignal
  /** Seconds that a call waits for a coordinator that is away, busy or moving; default 60. */
  readonly patience?: number
}

/** What a call resolves to where it succeeds. */
type Success<R> = R extends ClientResponse<infer T, 200 | 201, 'json'> ? T : never

/** A model's file by its path, as its manifest has it. */
export type ReadFile = (path: string) => Promise<Uint8Array<ArrayBuffer>>

const RETRY_MS = 500
const RETRY_MOST_MS = 10_000

/**
 * A client of the coordinator's API, typed by its routes: `sotto.api` has a method for each. It waits for a coordinator that is
 * away, busy or moving, and sends every POST under an `Idempotency-Key`, so that what is sent twice is done once.
 *
 * @example
 * const sotto = connect({ url: 'https://coordinator.example', token })
 * const run = await sotto.answer(sotto.api.v1.runs.$post({ json: request }))
 * for await (const event of sotto.events(run.id)) console.log(event.type)
 */
export function connect(options: ConnectOptions) {
  const { signal, token } = options
  const send = patientFetch(options)
  const api = hc<App>(String(options.url).replace(/\/$/, ''), {
    headers: { Authorization: `Bearer ${token}` },
    fetch: send,
  })

  /** The body of an answer. @throws SottoError where it is a refusal */
  async function answer<R extends ClientResponse<unknown>>(asked: R | Promise<R>): Promise<Success<R>> {
    const response = await asked
    if (!response.ok) throw await refusalOf(response)
    return (response.status === 204 ? undefined : await response.json()) as Success<R>
  }

  /**
   * Events of a run as they come, until it has ended; goes on where a connection broke.
   * @param after seq of the last event that is known; left out: from the first
   * @throws SottoError
   */
  async function* events(id: string, after = -1): AsyncGenerator<RunEvent> {
    const url = new URL(`/v1/runs/${encodeURIComponent(id)}/events`, options.url)
    for (let last = after; ; ) {
      const headers = { Authorization: `Bearer ${token}`, 'Last-Event-ID': String(last) }
      const response = await send(url, { headers })
      if (!response.ok || !response.body) throw await refusalOf(response)
      for await (const event of eventsIn(response.body, signal)) {
        last = event.seq
        yield event
        if (event.type === 'run.ended') return
      }
      await pause(RETRY_MS, signal)
    }
  }

  /** A run once it has ended. @throws SottoError */
  async function ended(id: string): Promise<Run> {
    for await (const event of events(id)) if (event.type === 'run.ended') break
    return await answer(api.v1.runs[':id'].$get({ param: { id } }))
  }

  /** Registers a model, and uploads those of its files that the store does not have. @returns its id @throws SottoError */
  async function uploadModel(
    files: { path: string; sha256: string; bytes: number }[],
    read: ReadFile,
  ): Promise<string> {
    const upload = await answer(api.v1.models.$post({ json: { files } }))
    for (const { path, url } of upload.uploads) {
      const body = await read(path)
      const init = { method: 'PUT', body, headers: { 'Content-MD5': contentMd5(body) }, ...(signal ? { signal } : {}) }
      const response = await fetch(new URL(url, options.url), init)
      if (!response.ok) throw new SottoError(response.status, null)
    }
    return upload.id
  }

  return { api, answer, events, ended, uploadModel }
}

export type Sotto = ReturnType<typeof connect>

async function refusalOf(response: Pick<Response, 'status' | 'json'>): Promise<SottoError> {
  const problem = problemSchema.safeParse(await response.json().catch(() => null))
  return new SottoError(response.status, problem.data ?? null)
}

/** Whether the coordinator says that a refusal passes by itself. */
const passes = ({ status }: Response): boolean => status === 429 || status === 503

/** `fetch` that tries again while that may help: what is repeated is done once, or was not done. */
function patientFetch({ signal, patience = 60 }: ConnectOptions) {
  return async function send(input: Parameters<typeof fetch>[0], init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers)
    if (init.method === 'POST' && !headers.has('Idempotency-Key')) headers.set('Idempotency-Key', newKey())
    const until = performance.now() + 1000 * patience
    for (let ms = RETRY_MS; ; ms = Math.min(2 * ms, RETRY_MOST_MS)) {
      const response = await attempt(input, { ...init, headers, ...(signal ? { signal } : {}) })
      const isOver = performance.now() >= until
      if (response instanceof TypeError) {
        if (isOver) throw new ConnectionError(response)
      } else if (isOver || !passes(response)) return response
      const wanted = response instanceof Response ? 1000 * Number(response.headers.get('Retry-After') ?? 0) : 0
      if (response instanceof Response) await response.body?.cancel()
      await pause(Math.max(ms, wanted), signal)
    }
  }
}

/** `crypto.randomUUID` is not there on a page that came without TLS from another machine. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** fetch tells a lost connection by a TypeError. */
async function attempt(input: Parameters<typeof fetch>[0], init: RequestInit): Promise<Response | TypeError> {
  try {
    return await fetch(input, init)
  } catch (error) {
    if (error instanceof TypeError) return error
    throw error
  }
}

async function* eventsIn(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  signal: AbortSignal | undefined,
): AsyncGenerator<RunEvent> {
  const messages = body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream())
  try {
    for await (const { data } of messages) yield runEventSchema.parse(JSON.parse(data))
  } catch (error) {
    // A connection that broke off; anything else is not ours to hide.
    if (signal?.aborted || !(error instanceof TypeError)) throw error
  }
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const stop = () => reject(signal?.reason)
  if (signal?.aborted) stop()
  signal?.addEventListener('abort', stop, { once: true })
  const timer = setTimeout(resolve, ms)
  try {
    await promise
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
  }
}
