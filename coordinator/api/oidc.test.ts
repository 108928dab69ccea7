import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWTHeaderParameters, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Client } from '../../test/rehearsal/client.ts'
import { Hosts, PLACES, type StagedHost } from '../../test/rehearsal/host.ts'
import { oidcSetting } from '../hosts/environment.ts'

type Keys = Awaited<ReturnType<typeof generateKeyPair>>

/** An OpenID Connect provider, as far as its keys go. */
class Provider {
  readonly #server: Server
  readonly #keys = new Map<string, Keys>()
  issuer = ''
  isAway = false

  constructor() {
    this.#server = createServer(async (request, response) => {
      if (this.isAway) {
        response.writeHead(500).end()
        return
      }
      const keys = [...this.#keys].map(async ([kid, { publicKey }]) => ({
        ...(await exportJWK(publicKey)),
        kid,
        alg: 'RS256',
      }))
      const isDiscovery = request.url === '/.well-known/openid-configuration'
      const document = isDiscovery
        ? { issuer: this.issuer, jwks_uri: `${this.issuer}/keys` }
        : { keys: await Promise.all(keys) }
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(document))
    })
  }

  async open(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    this.issuer = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
    await this.addKey('one')
    return this
  }

  async addKey(kid: string): Promise<void> {
    this.#keys.set(kid, await generateKeyPair('RS256'))
  }

  async token(claims: Record<string, unknown> = {}, header: Partial<JWTHeaderParameters> = {}): Promise<string> {
    const { exp = Math.floor(Date.now() / 1000) + 300, ...rest } = claims
    const kid = header.kid ?? 'one'
    const payload = {
      iss: this.issuer,
      aud: 'sotto',
      sub: 'repo:org/site:ref:refs/heads/main',
      exp: exp as number,
      ...rest,
    }
    const { privateKey } = this.#keys.get(kid) ?? (await generateKeyPair('RS256'))
    return await new SignJWT(payload).setProtectedHeader({ alg: 'RS256', ...header, kid }).sign(privateKey)
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

const RULES = (issuer: string) => [
  { issuer, audience: 'sotto', scope: 'operator' as const, claims: { sub: 'repo:org/site:*' } },
  { issuer, audience: 'sotto', scope: 'auditor' as const, claims: { groups: 'privacy-officers' } },
]

describe.each(PLACES)('tokens of an identity provider on %s', (on) => {
  const hosts = new Hosts()
  const provider = new Provider()
  let stage: StagedHost
  beforeAll(async () => {
    await provider.open()
    stage = await hosts.start({ on, oidc: RULES(provider.issuer) })
  })
  afterAll(async () => {
    provider.close()
    await hosts.clear()
  })

  const ask = async (token: string, method = 'GET', path = '/v1/runs') =>
    await new Client(stage.host.url, token).call(method, path, method === 'GET' ? {} : { body: {} })

  it('have the scope of the first rule whose claims they have, and no more', async () => {
    const job = await provider.token()
    expect((await ask(job)).status).toBe(200)
    expect((await ask(job, 'POST', '/v1/runs')).body.code).toBe('bad_request')
    expect((await ask(job, 'POST', '/v1/datasets')).body.code).toBe('forbidden')
    expect((await ask(job, 'POST', '/v1/leases')).body.code).toBe('forbidden')
    const officer = await provider.token({ sub: 'somebody', groups: ['staff', 'privacy-officers'] })
    expect((await ask(officer)).status).toBe(200)
    expect((await ask(officer, 'POST', '/v1/runs')).body.code).toBe('forbidden')
    expect((await stage.admin.get('/v1/runs')).status).toBe(200)
  })

  it('are nobody where anything about them is wrong', async () => {
    const now = Math.floor(Date.now() / 1000)
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const payload = encode({ iss: provider.issuer, aud: 'sotto', sub: 'repo:org/site:x', exp: now + 300 })
    const good = await provider.token()
    const wrong = {
      expired: await provider.token({ exp: now - 60 }),
      'not yet': await provider.token({ nbf: now + 600 }),
      'for another': await provider.token({ aud: 'another' }),
      'from another': await provider.token({ iss: 'https://example.org' }),
      'no rule': await provider.token({ sub: 'repo:org/site2' }),
      'no subject': await provider.token({ sub: undefined, groups: ['privacy-officers'] }),
      'no expiry': await provider.token({ exp: null }),
      'unknown key': await provider.token({}, { kid: 'stranger' }),
      'no signature': `${encode({ alg: 'none' })}.${payload}.x`,
      'a shared secret': `${encode({ alg: 'HS256', kid: 'one' })}.${payload}.${'A'.repeat(43)}`,
      changed: `${good.split('.')[0]}.${payload}.${good.split('.')[2]}`,
      'no payload': 'a.b.c',
      'too long': `${good}${'A'.repeat(8192)}`,
    }
    for (const [name, token] of Object.entries(wrong)) {
      expect([name, (await ask(token)).body.code]).toEqual([name, 'unauthenticated'])
    }
    expect(stage.lines.join()).not.toContain(good.split('.')[2])
  })

  it('are told apart: an Idempotency-Key of one is none of another', async () => {
    const key = { 'Idempotency-Key': 'same' }
    const body = { files: [{ path: 'model.onnx', sha256: 'a'.repeat(64), bytes: 1 }] }
    const [one, other] = await Promise.all(['a', 'b'].map((name) => provider.token({ sub: `repo:org/site:${name}` })))
    const post = (token: string, sent: object) => new Client(stage.host.url, token).post('/v1/models', sent, key)
    expect((await post(one!, body)).status).toBeLessThan(300)
    expect((await post(other!, { files: [{ ...body.files[0], bytes: 2 }] })).status).toBeLessThan(300)
    expect((await post(one!, { files: [{ ...body.files[0], bytes: 2 }] })).body.code).toBe('conflict')
  })

  it('wait for a provider that is away, and its keys are those it has then', async () => {
    const late = await new Provider().open()
    late.isAway = true
    const { host } = await hosts.start({ on, oidc: RULES(late.issuer) })
    const token = await late.token()
    const asked = await new Client(host.url, token).get('/v1/runs')
    expect([asked.status, asked.body.code]).toEqual([503, 'identity_unavailable'])
    expect(Number(asked.headers.get('Retry-After'))).toBeGreaterThan(0)
    late.isAway = false
    expect((await new Client(host.url, token).get('/v1/runs')).status).toBe(200)
    late.close()
  })
})

describe('rules', () => {
  const rule = { issuer: 'https://example.org', audience: 'a', scope: 'operator', claims: { sub: 'x' } }
  it.each([
    ['no JSON', 'x', /the whole/],
    ['none', '[]', /the whole/],
    ['a worker', JSON.stringify([{ ...rule, scope: 'worker' }]), /0\.scope/],
    ['anybody', JSON.stringify([{ ...rule, claims: {} }]), /0\.claims/],
    ['in the clear', JSON.stringify([{ ...rule, issuer: 'http://example.org' }]), /0\.issuer/],
    ['a word too much', JSON.stringify([{ ...rule, more: 1 }]), /0/],
  ])('are refused: %s', (_, text, fields) => {
    expect(() => oidcSetting({ SOTTO_OIDC: text })).toThrow(fields)
  })

  it('may be left out', () => {
    expect(oidcSetting({})).toBeUndefined()
    expect(oidcSetting({ SOTTO_OIDC: JSON.stringify([rule]) })).toEqual([rule])
  })
})
