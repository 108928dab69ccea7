import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Hosts, PLACES, type StagedHost } from '../test/rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../test/rehearsal/request.ts'
import { FakeWorker } from '../test/rehearsal/worker.ts'
import { connect, SottoError } from './index.ts'

const all = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}
const lengthOf = (round: number) => (round < 3 ? 5 : 3)

describe.each(PLACES)('the client on %s', (on) => {
  const hosts = new Hosts()
  let stage: StagedHost
  beforeAll(async () => {
    stage = await hosts.start({ on })
    await stage.admin.post('/v1/datasets', {
      id: 'north',
      units: 1000,
      unit: 'record',
      budget: { epsilon: 100, delta: 1e-5 },
    })
  })
  afterAll(() => hosts.clear())

  it('uploads a model, plans, creates and follows a run, and has its end', async () => {
    const sotto = connect({ url: stage.host.url, token: stage.host.adminToken })
    // The bucket is shared with other tests: what they upload is there.
    const contents = { ...SMALL_FILES, 'weights.bin': crypto.getRandomValues(new Uint8Array(64)) }
    const { files } = manifestOf(contents)
    const asked: string[] = []
    const read = async (path: string) => {
      asked.push(path)
      return new Uint8Array((contents as Record<string, Uint8Array>)[path]!)
    }
    const model = await sotto.uploadModel(files, read)
    expect(asked).toContain('weights.bin')
    const uploaded = asked.length
    expect(await sotto.uploadModel(files, read)).toBe(model)
    expect(asked).toHaveLength(uploaded)

    const request = smallRequest({ model, datasets: ['north'] })
    const plan = await sotto.answer(sotto.api.v1.runs.plan.$post({ json: request }))
    expect(plan.rounds).toBe(5)
    const run = await sotto.answer(sotto.api.v1.runs.$post({ json: request }))
    const worker = await FakeWorker.enrol(stage.admin, 'north')
    const [events] = await Promise.all([all(sotto.events(run.id)), worker.work(run.id, lengthOf)])
    expect(events.map(({ type }) => type).filter((type) => type !== 'round.opened')).toEqual([
      'run.created',
      ...Array(5).fill('round.closed'),
      'run.ended',
    ])
    const later = await all(sotto.events(run.id, events[2]!.seq))
    expect(later).toEqual(events.slice(3))
    expect(await sotto.ended(run.id)).toMatchObject({ id: run.id, state: 'completed', round: 5 })
    const page = await sotto.answer(sotto.api.v1.runs.$get({ query: { limit: '1', state: 'completed' } }))
    expect(page.items).toEqual([expect.objectContaining({ id: run.id })])
  })

  it('throws what the coordinator refuses, by its code', async () => {
    const sotto = connect({ url: stage.host.url, token: stage.host.adminToken })
    const asked = sotto.answer(sotto.api.v1.runs[':id'].$get({ param: { id: 'run-none' } }))
    await expect(asked).rejects.toEqual(
      expect.objectContaining({ status: 404, code: 'not_found', detail: 'run run-none' }),
    )
    await expect(all(sotto.events('run-none'))).rejects.toBeInstanceOf(SottoError)
    const nobody = connect({ url: stage.host.url, token: 'x' })
    await expect(nobody.answer(nobody.api.v1.runs.$get({ query: {} }))).rejects.toMatchObject({
      code: 'unauthenticated',
    })
  })

  it('has nothing to return of an answer without a body', async () => {
    const sotto = connect({ url: stage.host.url, token: stage.host.adminToken })
    const { id } = await sotto.answer(sotto.api.v1.tokens.$post({ json: { scope: 'auditor' } }))
    expect(await sotto.answer(sotto.api.v1.tokens[':id'].$delete({ param: { id } }))).toBeUndefined()
  })
})

describe('where the coordinator is away, busy or moving', () => {
  const servers: { close(): void }[] = []
  afterEach(() => {
    for (const server of servers.splice(0)) server.close()
  })

  /** A server that answers as it is told, one request after the other; null breaks the connection. */
  async function scripted(answers: ({ status: number; headers?: Record<string, string>; body?: unknown } | null)[]) {
    const requests: IncomingMessage[] = []
    const server = createServer((request, response) => {
      requests.push(request)
      const answer = answers[Math.min(requests.length, answers.length) - 1]
      request.resume().once('end', () => {
        if (!answer) return request.socket.destroy()
        response.writeHead(answer.status, { 'Content-Type': 'application/json', ...answer.headers })
        response.end(JSON.stringify(answer.body ?? {}))
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    servers.push({
      close: () => {
        server.closeAllConnections()
        server.close()
      },
    })
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests }
  }

  it('asks again, a POST under the same key, and not before it is told to', async () => {
    const { url, requests } = await scripted([
      null,
      { status: 503, headers: { 'Retry-After': '1' } },
      { status: 201, body: { id: 'token-a' } },
    ])
    const sotto = connect({ url, token: 't' })
    const started = performance.now()
    const made = await sotto.answer(sotto.api.v1.tokens.$post({ json: { scope: 'auditor' } }))
    expect(made.id).toBe('token-a')
    expect(performance.now() - started).toBeGreaterThan(1400)
    const keys = requests.map(({ headers }) => headers['idempotency-key'])
    expect(keys).toHaveLength(3)
    expect(new Set(keys).size).toBe(1)
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/)
  })

  it('gives up when its patience ends, with what was said last', async () => {
    const busy = await scripted([{ status: 503 }])
    const sotto = connect({ url: busy.url, token: 't', patience: 1 })
    await expect(sotto.answer(sotto.api.v1.runs.$get({ query: {} }))).rejects.toMatchObject({ status: 503, code: null })
    const gone = await scripted([null])
    const other = connect({ url: gone.url, token: 't', patience: 0 })
    await expect(other.answer(other.api.v1.runs.$get({ query: {} }))).rejects.toBeInstanceOf(TypeError)
    expect(gone.requests).toHaveLength(1)
  })

  it('does not ask again for what is refused for good', async () => {
    const { url, requests } = await scripted([{ status: 409, body: { code: 'conflict' } }])
    const sotto = connect({ url, token: 't' })
    await expect(sotto.answer(sotto.api.v1.runs.$get({ query: {} }))).rejects.toMatchObject({ status: 409 })
    expect(requests).toHaveLength(1)
  })

  it('sends a file with its checksum, which a store may want that keeps what it has', async () => {
    const uploads = [{ path: 'weights.bin', url: '/blob' }]
    const { url, requests } = await scripted([{ status: 201, body: { id: 'model-a', uploads } }, { status: 200 }])
    const sotto = connect({ url, token: 't' })
    const files = [{ path: 'weights.bin', sha256: '0'.repeat(64), bytes: 3 }]
    expect(await sotto.uploadModel(files, async () => new TextEncoder().encode('abc'))).toBe('model-a')
    // RFC 1321, appendix A.5: the MD5 of "abc".
    expect(requests[1]!.headers['content-md5']).toBe(
      Buffer.from('900150983cd24fb0d6963f7d28e17f72', 'hex').toString('base64'),
    )
  })

  it('stops waiting when it is told to stop', async () => {
    const { url } = await scripted([{ status: 503, headers: { 'Retry-After': '600' } }])
    const stop = new AbortController()
    const sotto = connect({ url, token: 't', signal: stop.signal, patience: 600 })
    const asked = sotto.answer(sotto.api.v1.runs.$get({ query: {} }))
    setTimeout(() => stop.abort(new Error('enough')), 300)
    await expect(asked).rejects.toThrow('enough')
  })
})
