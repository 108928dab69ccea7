import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Client } from '../rehearsal/client.ts'
import { Hosts, PLACES, type StagedHost } from '../rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../rehearsal/request.ts'
import { FakeWorker, setStage } from '../rehearsal/worker.ts'

describe.each(PLACES)('on %s', (on) => {
  const hosts = new Hosts()
  afterAll(() => hosts.clear())

  type Caller = 'nobody' | 'stranger' | 'admin' | 'operator' | 'auditor' | 'worker' | 'elsewhere' | 'revoked'
  let stage: StagedHost
  let run: string
  let model: string
  const callers = {} as Record<Caller, Client>

  beforeAll(async () => {
    stage = await hosts.start({ on })
    const { admin, host } = stage
    const datasets = [{ id: 'north' }, { id: 'far' }]
    model = await setStage(admin, { datasets, files: SMALL_FILES, manifest: manifestOf(SMALL_FILES) })
    run = (await admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }))).body.id
    const tokenOf = async (scope: string) => (await admin.post('/v1/tokens', { scope })).body.token
    const revoked = await FakeWorker.enrol(admin, 'north')
    await admin.call('DELETE', `/v1/workers/${revoked.id}`)
    Object.assign(callers, {
      nobody: new Client(host.url),
      stranger: new Client(host.url, `sotto_${'A'.repeat(43)}`),
      admin,
      operator: admin.with(await tokenOf('operator')),
      auditor: admin.with(await tokenOf('auditor')),
      worker: (await FakeWorker.enrol(admin, 'north')).client,
      elsewhere: (await FakeWorker.enrol(admin, 'far')).client,
      revoked: revoked.client,
    })
  })

  /** Who may call what; all others get 403, or 404 where the thing does not exist for them, or 401 without a token. */
  const ROUTES: [method: string, path: string, allowed: Caller[], hidden?: Caller[]][] = [
    ['POST', '/v1/datasets', ['admin']],
    ['PUT', '/v1/datasets/{dataset}/policy', ['admin']],
    ['GET', '/v1/datasets', ['admin', 'operator', 'auditor']],
    ['GET', '/v1/datasets/{dataset}', ['admin', 'operator', 'auditor']],
    ['GET', '/v1/datasets/{dataset}/affordable', ['admin', 'operator', 'auditor']],
    ['POST', '/v1/tokens', ['admin']],
    ['GET', '/v1/tokens', ['admin']],
    ['DELETE', '/v1/tokens/token-0', ['admin']],
    ['POST', '/v1/workers', ['admin']],
    ['GET', '/v1/workers', ['admin', 'operator', 'auditor']],
    ['DELETE', '/v1/workers/worker-0', ['admin']],
    ['POST', '/v1/workers/worker-0/rotate', ['admin']],
    ['GET', '/v1/workers/self', ['worker', 'elsewhere']],
    ['PUT', '/v1/workers/self/key', ['worker', 'elsewhere']],
    ['POST', '/v1/models', ['admin', 'operator']],
    ['GET', '/v1/models/{model}', ['admin', 'operator', 'auditor', 'worker'], ['elsewhere']],
    ['POST', '/v1/runs/plan', ['admin', 'operator']],
    ['POST', '/v1/runs', ['admin', 'operator']],
    ['GET', '/v1/log', ['admin', 'operator', 'auditor', 'worker', 'elsewhere']],
    ['GET', '/v1/log/segments', ['admin', 'operator', 'auditor']],
    ['GET', '/v1/log/objects', ['admin', 'operator', 'auditor']],
    ['GET', '/v1/runs', ['admin', 'operator', 'auditor']],
    ['GET', '/v1/runs/{run}', ['admin', 'operator', 'auditor', 'worker'], ['elsewhere']],
    ['POST', '/v1/runs/{other}/cancel', ['admin', 'operator']],
    ['POST', '/v1/runs/{other}/pause', ['admin', 'operator']],
    ['POST', '/v1/runs/{other}/resume', ['admin', 'operator']],
    ['GET', '/v1/runs/{other}/events', ['admin', 'operator', 'auditor']],
    ['GET', '/v1/runs/{run}/stages', ['admin', 'operator', 'auditor', 'worker'], ['elsewhere']],
    ['GET', '/v1/runs/{run}/curves', ['admin', 'operator', 'auditor', 'worker'], ['elsewhere']],
    ['GET', '/v1/runs/{run}/rounds', ['admin', 'operator', 'auditor', 'worker'], ['elsewhere']],
    ['GET', '/v1/runs/{run}/rounds/{round}', ['admin', 'operator', 'auditor', 'worker'], ['elsewhere']],
    ['GET', '/v1/runs/{run}/reports', ['admin', 'operator', 'auditor']],
    ['GET', '/v1/runs/{run}/checkpoints', ['admin', 'operator', 'auditor', 'worker'], ['elsewhere']],
    ['GET', '/v1/runs/{run}/updates', ['admin', 'operator', 'auditor', 'worker'], ['elsewhere']],
    ['GET', '/metrics', ['admin', 'operator', 'auditor']],
    ['POST', '/v1/fine_tuning/jobs', ['admin', 'operator']],
    ['GET', '/v1/fine_tuning/jobs', ['admin', 'operator', 'auditor']],
    ['GET', '/v1/fine_tuning/jobs/{run}', ['admin', 'operator', 'auditor']],
    ['POST', '/v1/fine_tuning/jobs/{other}/cancel', ['admin', 'operator']],
    ['POST', '/v1/fine_tuning/jobs/{other}/pause', ['admin', 'operator']],
    ['POST', '/v1/fine_tuning/jobs/{other}/resume', ['admin', 'operator']],
    ['GET', '/v1/fine_tuning/jobs/{run}/events', ['admin', 'operator', 'auditor']],
    ['GET', '/v1/fine_tuning/jobs/{run}/checkpoints', ['admin', 'operator', 'auditor']],
    ['POST', '/v1/webhooks', ['admin']],
    ['GET', '/v1/webhooks', ['admin', 'operator', 'auditor']],
    ['GET', '/v1/webhooks/hook-0', ['admin', 'operator', 'auditor']],
    ['DELETE', '/v1/webhooks/hook-0', ['admin']],
    ['POST', '/v1/webhooks/hook-0/rotate', ['admin']],
    ['POST', '/v1/webhooks/hook-0/replay', ['admin']],
    ['GET', '/v1/webhooks/hook-0/deliveries', ['admin', 'operator', 'auditor']],
    ['POST', '/v1/webhooks/hook-0/deliveries/{delivery}/replay', ['admin']],
    ['POST', '/v1/leases', ['worker', 'elsewhere']],
    ['PUT', '/v1/leases/lease-0/report', ['worker', 'elsewhere']],
  ]

  describe('scopes', () => {
    it('are tested for every route of the document', async () => {
      const { body } = await callers.nobody.get('/openapi.json')
      expect(body.openapi).toBe('3.1.0')
      const listed = Object.entries<object>(body.paths).flatMap(([path, item]) =>
        Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
      )
      const pattern = (path: string) => path.replace(/\{(?!delivery|round)\w+\}|\w+-0/, '{id}')
      expect(listed.sort()).toEqual(ROUTES.map(([method, path]) => `${method} ${pattern(path)}`).sort())
      expect(Object.keys(body.components.schemas)).toEqual(
        expect.arrayContaining(['Run', 'Lease', 'Report', 'RunSpec']),
      )
    })

    it.each(ROUTES)('%s %s', async (method, path, allowed, hidden = []) => {
      const target = path
        .replace('{run}', run)
        .replace('{model}', model)
        .replace('{dataset}', 'north')
        .replace('{other}', 'run-0')
        .replace('{delivery}', 'msg-0')
        .replace('{round}', '0')
      for (const [name, client] of Object.entries(callers) as [Caller, Client][]) {
        const { status } = await client.call(
          method,
          target,
          method === 'GET' ? {} : { body: { waitSeconds: 0, odd: 1 } },
        )
        const expected = ['nobody', 'stranger', 'revoked'].includes(name) ? 401 : hidden.includes(name) ? 404 : 403
        if (allowed.includes(name)) expect([200, 204, 400, 404], `${name} may`).toContain(status)
        else expect(status, `${name} may not`).toBe(expected)
      }
    })
  })

  describe('tokens', () => {
    it('are nowhere in the data folder but in the file of the first one', async () => {
      const { body } = await callers.admin.post('/v1/workers', { dataset: 'north' })
      const files = readdirSync(stage.dataDir, { recursive: true, withFileTypes: true }).filter((file) => file.isFile())
      expect(files.length).toBeGreaterThan(5)
      for (const file of files) {
        const bytes = readFileSync(join(file.parentPath, file.name))
        expect(bytes.includes(body.token), file.name).toBe(false)
        if (file.name !== 'admin-token') expect(bytes.includes(stage.host.adminToken), file.name).toBe(false)
      }
      expect(stage.lines.join('\n')).not.toContain('sotto_')
    })

    it('stop working when revoked', async () => {
      const { body } = await callers.admin.post('/v1/tokens', { scope: 'auditor' })
      const client = callers.admin.with(body.token)
      expect((await client.get('/v1/runs')).status).toBe(200)
      expect((await callers.admin.call('DELETE', `/v1/tokens/${body.id}`)).status).toBe(204)
      expect((await client.get('/v1/runs')).status).toBe(401)
    })

    it('are listed without themselves, and may expire', async () => {
      const asked = Date.now()
      const { body } = await callers.admin.post('/v1/tokens', { scope: 'operator', expiresInSeconds: 3600 })
      expect(body.expires).toBeGreaterThanOrEqual(asked + 3_600_000)
      const { body: page } = await callers.admin.get('/v1/tokens?limit=200')
      const listed = page.items.find(({ id }: { id: string }) => id === body.id)
      expect(listed).toEqual({ id: body.id, scope: 'operator', worker: null, revoked: false, expires: body.expires })
      expect(JSON.stringify(page)).not.toMatch(/sotto_|hash/)
      expect((await callers.admin.post('/v1/tokens', { scope: 'auditor' })).body.expires).toBeNull()
      for (const expiresInSeconds of [0, 59, 1e9])
        expect((await callers.admin.post('/v1/tokens', { scope: 'auditor', expiresInSeconds })).status).toBe(400)
      expect((await callers.admin.post('/v1/tokens', { scope: 'worker' })).status).toBe(400)
    })

    it('are shown once: a repeat by the same Idempotency-Key is a conflict and makes no second one', async () => {
      const headers = { 'Idempotency-Key': 'once' }
      expect((await callers.admin.post('/v1/workers', { dataset: 'north' }, headers)).status).toBe(201)
      const count = async () => (await callers.admin.get('/v1/workers?limit=200')).body.items.length
      const before = await count()
      expect((await callers.admin.post('/v1/workers', { dataset: 'north' }, headers)).body.code).toBe('conflict')
      expect(await count()).toBe(before)
    })
  })

  describe('workers', () => {
    it('get a new token and may enrol a new key, and lose what they had', async () => {
      const worker = await FakeWorker.enrol(callers.admin, 'far')
      const waiting = worker.client.post('/v1/leases', { waitSeconds: 2 })
      const { status, body } = await callers.admin.post(`/v1/workers/${worker.id}/rotate`)
      expect([status, body.id, body.dataset]).toEqual([200, worker.id, 'far'])
      expect((await worker.client.get('/v1/workers/self')).status).toBe(401)
      expect((await waiting).status).toBe(401)
      const client = callers.admin.with(body.token)
      expect((await client.get('/v1/workers/self')).body).toMatchObject({ id: worker.id, publicKey: null })
      expect((await client.put('/v1/workers/self/key', { publicKey: `${'A'.repeat(43)}=` })).status).toBe(204)
      const gone = await FakeWorker.enrol(callers.admin, 'far')
      await callers.admin.call('DELETE', `/v1/workers/${gone.id}`)
      expect((await callers.admin.post(`/v1/workers/${gone.id}/rotate`)).body.code).toBe('not_found')
    })
  })

  describe('worker keys', () => {
    it('stay as first enrolled', async () => {
      const worker = await FakeWorker.enrol(callers.admin, 'north')
      const enrol = (publicKey: string) => worker.client.put('/v1/workers/self/key', { publicKey })
      expect((await enrol(worker.signer.publicKey)).status).toBe(204)
      expect((await enrol(`${'A'.repeat(43)}=`)).body.code).toBe('conflict')
      const self = (await worker.client.get('/v1/workers/self')).body
      expect(self).toMatchObject({ id: worker.id, publicKey: worker.signer.publicKey, dataset: { id: 'north' } })
    })
  })
})
