import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyEd25519 } from '../../cli/audit/log.ts'
import { auditDataset, auditRun, datasetLog, EMPTY_LOG, fromBase64, runLog } from '../../shared/ledger/index.ts'
import { Hosts, PLACES, type StagedHost } from '../../test/rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../../test/rehearsal/request.ts'
import { FakeWorker, setStage } from '../../test/rehearsal/worker.ts'

describe.each(PLACES)('what an audit reads through the coordinator on %s', (on) => {
  const hosts = new Hosts()
  let stage: StagedHost
  let run: string
  beforeAll(async () => {
    stage = await hosts.start({ on, checkpointEvery: 1 })
    const { admin } = stage
    const given = { datasets: [{ id: 'north', epsilon: 8 }], files: SMALL_FILES, manifest: manifestOf(SMALL_FILES) }
    const model = await setStage(admin, given)
    const worker = await FakeWorker.enrol(admin, 'north')
    run = (await admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }))).body.id
    await worker.work(run, (round) => (round < 3 ? 5 : 3))
  })
  afterAll(() => hosts.clear())

  const read = async (key: string) => {
    const url = `${stage.host.url}/v1/log/objects?key=${encodeURIComponent(key)}`
    const response = await fetch(url, { headers: { Authorization: `Bearer ${stage.host.adminToken}` } })
    return response.status === 204 ? null : new Uint8Array(await response.arrayBuffer())
  }

  it('is all that an audit of the run and of its dataset needs, bit for bit', async () => {
    const { name, publicKey } = (await stage.admin.get('/v1/log')).body
    const signed = { name, publicKey: fromBase64(publicKey)!, verify: verifyEd25519 }
    const facts = (await stage.admin.get(`/v1/runs/${run}`)).body
    const audit = await auditRun({ read }, { run, ...signed })
    expect(audit).toMatchObject({ outcome: 'completed', stateHash: facts.stateHash, rounds: 5 })
    expect(audit.spent[0]?.epsilon).toBe(facts.spent[0].epsilon)
    const { charges } = await auditDataset({ read }, { dataset: 'north', ...signed })
    expect(charges).toBe(5)
  })

  it('comes segment after segment to those who read all of it', async () => {
    for (const [of, id] of [
      ['runs', run],
      ['datasets', 'north'],
    ] as const) {
      const texts: string[] = []
      for (let first = 0; ; ) {
        const { body } = await stage.admin.get(`/v1/log/segments?of=${of}&id=${id}&first=${first}`)
        if (body.items.length === 0) break
        for (const item of body.items) {
          expect(item.first).toBe(first)
          const form = of === 'runs' ? runLog : datasetLog
          expect(Buffer.from((await read(form.segmentKey(id, first)))!).toString()).toBe(item.text)
          first += item.text.trimEnd().split('\n').length
          texts.push(item.text)
        }
      }
      const form: Pick<typeof runLog, 'read'> | Pick<typeof datasetLog, 'read'> = of === 'runs' ? runLog : datasetLog
      expect(form.read(EMPTY_LOG, texts.join('')).head.size).toBeGreaterThan(5)
    }
    // None begins in the middle of another.
    expect((await stage.admin.get(`/v1/log/segments?of=runs&id=${run}&first=99999`)).body).toEqual({ items: [] })
    expect((await stage.admin.get('/v1/log/segments?of=models&id=a&first=0')).body.code).toBe('bad_request')
  })

  it('is nothing else of the store', async () => {
    const { body } = await stage.admin.get(`/v1/runs/${run}/checkpoints`)
    expect(body.items.length).toBeGreaterThan(0)
    const kept = /runs\/.*/.exec(decodeURIComponent(new URL(body.items[0].url).pathname))![0]
    expect(kept).toMatch(/\/checkpoints\//)
    for (const key of [
      kept,
      `runs/${run}/checkpoints/x.safetensors`,
      `runs/${run}/log/0000000.jsonl`,
      `runs/${run}/log/../checkpoint`,
      'runs//checkpoint',
      'datasets/north/adapter.safetensors',
      'models/config.json',
      '',
    ]) {
      const { status, body: problem } = await stage.admin.get(`/v1/log/objects?key=${encodeURIComponent(key)}`)
      expect([status, problem.code], key).toEqual([404, 'not_found'])
    }
  })

  it('is not read into memory where somebody with the bucket made it huge', async () => {
    const key = runLog.segmentKey(run, 1)
    const objects = await hosts.storeOf(stage, on)
    const before = (await objects.fetch(key))!
    await objects.replace(key, new Uint8Array(33 * 2 ** 20).fill(0x20))
    try {
      const { status, body } = await stage.admin.get(`/v1/log/objects?key=${encodeURIComponent(key)}`)
      expect([status, body.code]).toEqual([413, 'object_too_large'])
      const { items } = (await stage.admin.get(`/v1/log/segments?of=runs&id=${run}&first=0`)).body
      expect(items).toHaveLength(1)
    } finally {
      await objects.replace(key, before)
    }
  })

  it('comes with how many more rounds a dataset can pay for', async () => {
    const { admin } = stage
    const asked = (query: string) => admin.get(`/v1/datasets/north/affordable?${query}`)
    const loud = (await asked('noiseMultiplier=1&samplingRate=0.1')).body.rounds
    const quiet = (await asked('noiseMultiplier=2&samplingRate=0.1')).body.rounds
    expect(loud).toBeGreaterThan(0)
    expect(quiet).toBeGreaterThan(2 * loud)
    const request = smallRequest({ model: (await admin.get(`/v1/runs/${run}`)).body.spec.model, datasets: ['north'] })
    const plan = (await admin.post('/v1/runs/plan', { ...request, budget: { epsilon: 1, delta: 1e-5 } })).body
    const last = plan.stages.at(-1)
    const { body } = await asked(`noiseMultiplier=${last.noiseMultiplier}&samplingRate=${last.samplingRate}`)
    expect(body.rounds).toBe(plan.affordableRounds.north)
    expect((await asked('noiseMultiplier=0&samplingRate=0.1')).body.code).toBe('bad_request')
    expect((await admin.get('/v1/datasets/nowhere/affordable?noiseMultiplier=1&samplingRate=1')).status).toBe(404)
  })
})
