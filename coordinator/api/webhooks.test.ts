import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Client } from '../../test/rehearsal/client.ts'
import { Hosts, PLACES, type StagedHost } from '../../test/rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../../test/rehearsal/request.ts'
import { FakeWorker, setStage } from '../../test/rehearsal/worker.ts'

interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** A program that is sent webhooks. */
class Receiver {
  readonly received: Received[] = []
  status = 200
  readonly #server: Server

  constructor() {
    this.#server = createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      this.received.push({ headers: request.headers, body: Buffer.concat(chunks).toString('utf8') })
      response.writeHead(this.status, { Location: '/elsewhere' }).end('SENTINEL')
    })
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook`
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

describe.each(PLACES)('webhooks on %s', (on) => {
  const hosts = new Hosts()
  const receiver = new Receiver()
  let stage: StagedHost
  let admin: Client
  let model: string
  let url: string
  afterAll(async () => {
    receiver.close()
    await hosts.clear()
  })
  beforeAll(async () => {
    url = await receiver.listen()
    stage = await hosts.start({ on })
    admin = stage.admin
    model = await setStage(admin, {
      datasets: [{ id: 'north', epsilon: 100 }],
      files: SMALL_FILES,
      manifest: manifestOf(SMALL_FILES),
    })
  })

  const deliveriesOf = async (id: string) => (await admin.get(`/v1/webhooks/${id}/deliveries`)).body.items
  const until = async (id: string, isSo: (items: { state: string; attempts: unknown[] }[]) => boolean) => {
    for (let tries = 0; tries < 200; tries++) {
      const items = await deliveriesOf(id)
      if (isSo(items)) return items
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error('the deliveries did not come to it')
  }

  it('are sent while a run goes on, signed by the secret that was shown once, and written down', async () => {
    const events = ['run.created', 'round.closed', 'run.ended']
    const made = await admin.post('/v1/webhooks', { url, events })
    expect(made.status).toBe(201)
    const { id, secret } = made.body
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    const worker = await FakeWorker.enrol(admin, 'north')
    const { id: run } = (await admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }))).body
    await worker.work(run, (round) => (round < 3 ? 5 : 3))
    expect((await admin.get(`/v1/runs/${run}`)).body.state).toBe('completed')
    const items = await until(id, (all) => all.length === 7 && all.every(({ state }) => state === 'delivered'))
    expect(items.map(({ type }: { type: string }) => type)).toEqual([
      'run.ended',
      ...Array(5).fill('round.closed'),
      'run.created',
    ])
    expect(items.every((item: { run: string }) => item.run === run)).toBe(true)
    expect(receiver.received).toHaveLength(7)
    for (const { body, headers } of receiver.received) {
      const verified = new Webhook(secret).verify(body, headers as Record<string, string>)
      expect(verified).toMatchObject({ data: { run } })
    }
    expect(JSON.stringify([await deliveriesOf(id), (await admin.get(`/v1/webhooks/${id}`)).body])).not.toContain(secret)
    expect(stage.lines.join()).not.toContain(secret)

    // A page at a time.
    const page = (await admin.get(`/v1/webhooks/${id}/deliveries?limit=3`)).body
    const rest = (await admin.get(`/v1/webhooks/${id}/deliveries?limit=50&cursor=${page.next}`)).body
    expect([...page.items, ...rest.items]).toEqual(items)

    receiver.received.length = 0
    const again = await admin.post(`/v1/webhooks/${id}/deliveries/${items[0].id}/replay`)
    expect(again.body).toEqual({ messages: 1 })
    await until(id, ([first]) => first!.attempts.length === 2)
    expect(receiver.received[0]!.headers['webhook-id']).toBe(items[0].id)
    expect((await admin.call('DELETE', `/v1/webhooks/${id}`)).status).toBe(204)
    expect((await admin.get(`/v1/webhooks/${id}`)).body.code).toBe('not_found')
  })

  it('wait where they are refused or sent elsewhere, and go out at a replay', async () => {
    receiver.received.length = 0
    receiver.status = 302
    const { id, secret, events } = (await admin.post('/v1/webhooks', { url })).body
    expect(events).toContain('run.paused')
    expect(events).not.toContain('round.closed')
    const { id: run } = (await admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }))).body
    const [item] = await until(id, ([first]) => first?.attempts.length === 1)
    expect(item).toMatchObject({ state: 'pending', attempts: [{ status: 302, outcome: 'refused' }] })
    expect(item.next).toBeGreaterThan(item.attempts[0].time + 4999)
    expect(receiver.received.every(({ headers }) => headers['webhook-id'] !== undefined)).toBe(true)

    receiver.status = 200
    const rotated = (await admin.post(`/v1/webhooks/${id}/rotate`)).body
    expect((await admin.post(`/v1/webhooks/${id}/replay`, { since: 0 })).body.messages).toBe(1)
    await until(id, ([first]) => first?.state === 'delivered')
    const { body, headers } = receiver.received.at(-1)!
    for (const key of [secret, rotated.secret]) new Webhook(key).verify(body, headers as Record<string, string>)
    await admin.post(`/v1/runs/${run}/cancel`)
    await until(id, (all) => all.length === 2 && all.every(({ state }) => state === 'delivered'))
    expect((await admin.get('/v1/webhooks')).body.items).toEqual([
      { id, url, events, created: expect.any(Number), disabled: false },
    ])
  })

  it('take no address in the clear over the network, none with a password, and no unknown event', async () => {
    const addresses = ['http://example.org/', 'ftp://example.org/', 'https://me:secret@example.org/', 'nowhere', '']
    for (const address of addresses) {
      const { status, body } = await admin.post('/v1/webhooks', { url: address })
      expect([status, body.code, body.detail]).toEqual([400, 'bad_request', 'url'])
    }
    expect((await admin.post('/v1/webhooks', { url, events: ['run.exploded'] })).body.code).toBe('bad_request')
    expect((await admin.post('/v1/webhooks', { url, events: [] })).body.code).toBe('bad_request')
  })

  it('are made once for one Idempotency-Key, whose secret is not shown again', async () => {
    const key = { 'Idempotency-Key': 'once' }
    const before = (await admin.get('/v1/webhooks')).body.items.length
    expect((await admin.post('/v1/webhooks', { url }, key)).status).toBe(201)
    expect((await admin.post('/v1/webhooks', { url }, key)).body.code).toBe('conflict')
    expect((await admin.post('/v1/webhooks', { url: `${url}/2` }, key)).body.code).toBe('conflict')
    expect((await admin.get('/v1/webhooks')).body.items).toHaveLength(before + 1)
  })
})
