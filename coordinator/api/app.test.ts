import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { problemSchema } from '../../shared/api/index.ts'
import type { Client } from '../../test/rehearsal/client.ts'
import { Hosts, PLACES, type StagedHost } from '../../test/rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../../test/rehearsal/request.ts'
import { FakeWorker, setStage } from '../../test/rehearsal/worker.ts'

describe.each(PLACES)('on %s', (on) => {
  const hosts = new Hosts()
  afterAll(() => hosts.clear())
  let stage: StagedHost
  let admin: Client
  let model: string
  beforeAll(async () => {
    stage = await hosts.start({ on })
    admin = stage.admin
    const datasets = [{ id: 'north' }, { id: 'poor', epsilon: 0.5 }]
    model = await setStage(admin, { datasets, files: SMALL_FILES, manifest: manifestOf(SMALL_FILES) })
  })
  const request = (change: object = {}) => ({ ...smallRequest({ model, datasets: ['north'] }), ...change })
  const codeOf = async (change: object) => (await admin.post('/v1/runs/plan', request(change))).body.code

  describe('problems', () => {
    it('are problem documents that repeat no value', async () => {
      const body = { id: 'SENTINEL', units: 'SENTINEL', SENTINEL: 1, budget: { epsilon: -1, delta: 'SENTINEL' } }
      const { status, headers, body: problem } = await admin.post('/v1/datasets', body)
      expect(status).toBe(400)
      expect(headers.get('content-type')).toBe('application/problem+json')
      expect(problemSchema.parse(problem).code).toBe('bad_request')
      expect(problem.detail).toContain('budget.epsilon')
      expect(JSON.stringify(problem)).not.toContain('SENTINEL')
      expect(stage.lines.join()).not.toContain('SENTINEL')
    })

    it.each(['{', '', 'null', '[]'])('name the body where it is %j', async (body) => {
      const answer = await admin.call('POST', '/v1/datasets', { body })
      expect([answer.status, answer.body.code]).toEqual([400, 'bad_request'])
    })

    it('refuse a body of another type, too large a body, and an unknown path', async () => {
      const typed = await admin.call('POST', '/v1/datasets', { body: 'x', headers: { 'Content-Type': 'text/plain' } })
      expect(typed.body.code).toBe('bad_request')
      const large = await admin.post('/v1/datasets', { id: 'x'.repeat(2_000_000) })
      expect(large.body.code).toBe('too_large')
      expect((await admin.get('/v2/nothing')).body.code).toBe('not_found')
    })

    it('answer unknown ids by not_found', async () => {
      for (const path of [
        '/v1/datasets/none',
        '/v1/runs/none',
        `/v1/models/${'0'.repeat(64)}`,
        '/v1/runs/none/updates',
      ]) {
        expect((await admin.get(path)).body.code).toBe('not_found')
      }
    })

    it('log the pattern of a route, never its path', async () => {
      await admin.get('/v1/runs/run-sentinel')
      const line = JSON.parse(stage.lines.at(-1)!)
      expect(line).toMatchObject({ event: 'request', method: 'GET', route: '/v1/runs/:id', status: 404 })
    })
  })

  describe('plan', () => {
    it('answers without spending', async () => {
      const { status, body } = await admin.post('/v1/runs/plan', request())
      expect(status).toBe(200)
      expect(body).toMatchObject({ rounds: 5, spareCharges: 4, dimension: 32 })
      expect(body.forwardPasses).toBeCloseTo(100 * 2 * (3 * 4 + 2 * 3))
      expect(body.epsilon).toBeLessThan(body.epsilonWithSpares)
      expect(body.affordableRounds.north).toBeGreaterThan(5)
      expect((await admin.get('/v1/datasets/north')).body.spent.charges).toBe(0)
      const [stage] = body.stages
      expect(stage.grid).toBe(2 ** -20)
      expect(String(stage.noiseMultiplier).replace(/[.]/, '').length).toBeLessThanOrEqual(6)
    })

    it.each([
      ['budget_impossible', { budget: { epsilon: 1e-6, delta: 1e-12 }, stages: [{ ...stageOf(), rounds: 1_000_000 }] }],
      ['budget_impossible', { stages: [{ ...stageOf(), noiseMultiplier: 0.1 }] }],
      ['dataset_budget_exceeded', { datasets: ['poor'] }],
      ['unknown_dataset', { datasets: ['nowhere'] }],
      ['unknown_model', { model: '0'.repeat(64) }],
      ['bad_request', { datasets: ['north', 'north'] }],
      ['bad_request', { quorum: 2 }],
      ['bad_request', { stages: [stageOf(), { ...stageOf(), noiseMultiplier: 1 }] }],
      ['bad_request', { stages: [{ ...stageOf(), grid: 2 }] }],
      ['bad_request', { stages: [{ ...stageOf(), clip: 1, grid: 1e-9 }] }],
      ['bad_request', { task: { ...smallRequest({ model: '', datasets: [] }).task, labels: protoLabels() } }],
      ['bad_request', { odd: 1 }],
    ])('refuses by %s: %j', async (code, change) => {
      expect(await codeOf(change)).toBe(code)
      expect((await admin.post('/v1/runs', request(change))).body.code).toBe(code)
    })

    it('knows a model only when its files are there', async () => {
      const files = { 'a.bin': new Uint8Array([1, 2, 3]) }
      const { body } = await admin.post('/v1/models', manifestOf(files))
      expect(body.uploads).toHaveLength(1)
      expect(await codeOf({ model: body.id })).toBe('unknown_model')
      await fetch(body.uploads[0].url, { method: 'PUT', body: files['a.bin'] })
      expect((await admin.post('/v1/models', manifestOf(files))).body).toEqual({ id: body.id, uploads: [] })
      expect(await codeOf({ model: body.id })).toBeUndefined()
    })
  })

  /** With a key of its own that an object literal can not have. */
  function protoLabels() {
    return JSON.parse('{"spam":"bad","ham":"good","__proto__":"odd"}')
  }

  function stageOf() {
    return { rounds: 2, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 }
  }

  describe('Idempotency-Key', () => {
    const create = (key: string, change: object = {}) =>
      admin.post('/v1/runs', request(change), { 'Idempotency-Key': key })

    it('makes one run, whatever happened since', async () => {
      const first = await create('run-once')
      await admin.post(`/v1/runs/${first.body.id}/cancel`)
      const again = await create('run-once')
      expect([again.status, again.body]).toEqual([201, first.body])
      expect((await create('run-twice')).body.id).not.toBe(first.body.id)
    })

    it('makes one run of two requests at once', async () => {
      const [first, second] = await Promise.all([create('at-once'), create('at-once')])
      expect(first?.body.id).toBe(second?.body.id)
      await admin.post(`/v1/runs/${first?.body.id}/cancel`)
    })

    it('with another body is a conflict', async () => {
      const first = await create('changed')
      expect((await create('changed', { leaseSeconds: 7 })).body.code).toBe('conflict')
      await admin.post(`/v1/runs/${first.body.id}/cancel`)
    })

    it('is not used up by a refusal', async () => {
      const headers = { 'Idempotency-Key': 'refused-first' }
      const wanted = request({ datasets: ['later'] })
      expect((await admin.post('/v1/runs', wanted, headers)).body.code).toBe('unknown_dataset')
      await admin.post('/v1/datasets', { id: 'later', units: 1000, budget: { epsilon: 20, delta: 1e-5 } })
      expect((await admin.post('/v1/runs', wanted, headers)).status).toBe(201)
    })

    it('charges a private count of units with the dataset that has it, or refuses both', async () => {
      const dataset = {
        id: 'counted',
        units: 507,
        count: { noiseMultiplier: 30 },
        budget: { epsilon: 20, delta: 1e-5 },
      }
      const { status, body } = await admin.post('/v1/datasets', dataset)
      expect([status, body.count, body.spent.charges]).toEqual([201, dataset.count, 1])
      expect(body.spent.epsilon).toBeGreaterThan(0)
      const dear = { ...dataset, id: 'dear', count: { noiseMultiplier: 0.2 } }
      expect((await admin.post('/v1/datasets', dear)).body.code).toBe('dataset_budget_exceeded')
      expect((await admin.get('/v1/datasets/dear')).status).toBe(404)
      const made = await admin.post('/v1/runs', request({ datasets: ['counted'] }))
      expect(made.body.spec.datasets).toEqual([{ id: 'counted', units: 507, unit: 'record', mostUnits: 507 + 40 * 30 }])
    })

    it('keeps to what the owner of a dataset allows, and names what does not', async () => {
      await admin.post('/v1/datasets', { id: 'strict', units: 1000, budget: { epsilon: 20, delta: 1e-5 } })
      const set = (policy: object) => admin.put('/v1/datasets/strict/policy', policy)
      const code = async () => {
        const { body } = await admin.post('/v1/runs/plan', request({ datasets: ['strict'] }))
        return [body.code, body.detail]
      }
      expect((await set({ maxEpsilon: 3 })).body.policy).toMatchObject({ maxEpsilon: 3, frozen: false, models: null })
      expect(await code()).toEqual(['policy_refused', 'dataset strict: maxEpsilon'])
      await set({ frozen: true })
      expect(await code()).toEqual(['dataset_frozen', 'dataset strict'])
      await set({})
      expect(await code()).toEqual([undefined, undefined])
      expect((await set({ odd: 1 })).status).toBe(400)
      expect((await admin.put('/v1/datasets/none/policy', {})).status).toBe(404)
    })

    it('makes one dataset; the same id with other content is a conflict with or without it', async () => {
      const dataset = { id: 'idem', units: 10, unit: 'user', budget: { epsilon: 1, delta: 1e-6 } }
      const headers = { 'Idempotency-Key': 'dataset' }
      const first = await admin.post('/v1/datasets', dataset, headers)
      expect(first.status).toBe(201)
      expect((await admin.post('/v1/datasets', dataset, headers)).body).toEqual(first.body)
      expect((await admin.post('/v1/datasets', dataset)).status).toBe(200)
      expect((await admin.post('/v1/datasets', { ...dataset, units: 11 })).body.code).toBe('conflict')
      expect((await admin.post('/v1/datasets', { ...dataset, units: 11 }, headers)).body.code).toBe('conflict')
    })
  })

  describe('lists', () => {
    it('go on by cursor and hold everything once', async () => {
      const seen: string[] = []
      for (let cursor: string | null = ''; cursor !== null; ) {
        const { body } = await admin.get(`/v1/runs?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)
        seen.push(...body.items.map((item: { id: string }) => item.id))
        cursor = body.next
      }
      expect(new Set(seen).size).toBe(seen.length)
      expect(seen.length).toBeGreaterThan(3)
      const first = await admin.get('/v1/datasets?limit=1')
      expect(first.body.items).toHaveLength(1)
      const rest = await admin.get(`/v1/datasets?cursor=${first.body.next}`)
      expect(rest.body.items.map((item: { id: string }) => item.id)).not.toContain(first.body.items[0].id)
    })
  })

  describe('leases', () => {
    it('wake a waiting worker at once when a round opens, and end the wait when a run is cancelled', async () => {
      await admin.post('/v1/datasets', { id: 'quiet', units: 1000, budget: { epsilon: 20, delta: 1e-5 } })
      const worker = await FakeWorker.enrol(admin, 'quiet')
      expect(await worker.lease(0)).toBeNull()
      const started = Date.now()
      const waiting = worker.lease(20)
      await new Promise((resolve) => setTimeout(resolve, 100))
      const { body } = await admin.post('/v1/runs', request({ datasets: ['quiet'] }))
      const lease = await waiting
      expect(lease?.run).toBe(body.id)
      expect(Date.now() - started).toBeLessThan(5000)
      await admin.post(`/v1/runs/${body.id}/cancel`)
      expect((await worker.send(lease!, [1, 2, 3, 4, 5])).body.code).toBe('lease_closed')
      expect(await worker.lease(0)).toBeNull()
    })

    it('go to no worker that is revoked while it waits', async () => {
      await admin.post('/v1/datasets', { id: 'calm', units: 1000, budget: { epsilon: 20, delta: 1e-5 } })
      const worker = await FakeWorker.enrol(admin, 'calm')
      const waiting = worker.client.post('/v1/leases', { waitSeconds: 20 })
      await new Promise((resolve) => setTimeout(resolve, 100))
      await admin.call('DELETE', `/v1/workers/${worker.id}`)
      await admin.post('/v1/runs', request({ datasets: ['calm'] }))
      expect((await waiting).body.code).toBe('unauthenticated')
    })

    it('of two runs are worked off one by one', async () => {
      const ids = ['quiet-a', 'quiet-b'].map(async () => (await admin.post('/v1/runs', request())).body.id)
      const runs = await Promise.all(ids)
      const worker = await FakeWorker.enrol(admin, 'north')
      const first = (await worker.lease())!
      expect(await worker.lease()).toEqual(first)
      await worker.send(first, [1, 2, 3, 4, 5])
      await worker.work(runs[0]!, (round) => (round < 3 ? 5 : 3))
      await worker.work(runs[1]!, (round) => (round < 3 ? 5 : 3))
      for (const id of runs) expect((await admin.get(`/v1/runs/${id}`)).body.state).toBe('completed')
    })
  })
})
