import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Client } from '../rehearsal/client.ts'
import { Hosts, PLACES, type StagedHost } from '../rehearsal/host.ts'

const LIMIT = 20

describe.each(PLACES)('rate limits on %s', (on) => {
  const hosts = new Hosts()
  let stage: StagedHost
  beforeAll(async () => {
    stage = await hosts.start({ on, rateLimit: LIMIT })
  })
  afterAll(() => hosts.clear())

  const many = async (client: Client, times: number, headers = {}) => {
    const answers = []
    for (let i = 0; i < times; i++) answers.push(await client.call('GET', '/v1/datasets', { headers }))
    return answers
  }

  it('refuse a token that asks too much, say when to come back, and leave others alone', async () => {
    const { admin } = stage
    const { body } = await admin.post('/v1/tokens', { scope: 'auditor' })
    const busy = admin.with(body.token)
    const answers = await many(busy, 2 * LIMIT + 2)
    const refused = answers.filter(({ status }) => status !== 200)
    // A period may end in the middle.
    expect(answers.length - refused.length).toBeGreaterThanOrEqual(LIMIT)
    expect(refused.length).toBeGreaterThan(0)
    for (const { status, body: problem, headers } of refused) {
      expect([status, problem.code]).toEqual([429, 'rate_limited'])
      const seconds = Number(headers.get('Retry-After'))
      expect(seconds).toBeGreaterThanOrEqual(1)
      expect(seconds).toBeLessThanOrEqual(10)
    }
    expect((await admin.get('/v1/datasets')).status).toBe(200)
    expect((await admin.get('/healthz')).status).toBe(200)
  })

  it('refuse an address that tries tokens, which costs nobody with a valid one', async () => {
    const { host, admin } = stage
    const stranger = new Client(host.url, `sotto_${'A'.repeat(43)}`)
    // Cloudflare says where a request is from; a Node process sees it.
    const from = on === 'node' ? {} : { 'CF-Connecting-IP': '192.0.2.1' }
    const statuses = (await many(stranger, 2 * LIMIT + 2, from)).map(({ status }) => status)
    expect(statuses[0]).toBe(401)
    expect(statuses).toContain(429)
    expect((await admin.get('/v1/datasets')).status).toBe(200)
  })
})

describe('without a limit', () => {
  const hosts = new Hosts()
  afterAll(() => hosts.clear())

  it('nobody is refused', async () => {
    const { admin } = await hosts.start({ rateLimit: 0 })
    const statuses = await Promise.all(
      Array.from({ length: 1100 }, async () => (await admin.get('/v1/datasets')).status),
    )
    expect(new Set(statuses)).toEqual(new Set([200]))
  })
})
