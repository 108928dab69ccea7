import { afterEach, describe, expect, inject, it } from 'vitest'
import { runPlanSchema, runSchema } from '../../shared/api/index.ts'
import { hashHex } from '../../shared/ledger/index.ts'
import { auditLog, readLog } from '../../test/rehearsal/audit.ts'
import { Hosts, type Place } from '../../test/rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../../test/rehearsal/request.ts'
import { FakeWorker, setStage } from '../../test/rehearsal/worker.ts'
import type { HostOptions } from './settings.ts'

const hosts = new Hosts()
afterEach(() => hosts.clear())

const places: [string, () => Partial<HostOptions> & { on?: Place }][] = [
  ['Node and a folder', () => ({})],
  ['Node and S3', () => ({ s3: inject('s3') })],
  ['workerd and S3', () => ({ on: 'workerd' })],
]
const manifest = manifestOf(SMALL_FILES)
const lengthOf = (round: number) => (round < 3 ? 5 : 3)

describe.each(places)('a whole run over HTTP with %s', (_name, optionsOf) => {
  it('ends with a log that replays to its state and its epsilon', async () => {
    const { admin } = await hosts.start({ ...optionsOf(), checkpointEvery: 2 })
    const model = await setStage(admin, { datasets: [{ id: 'north' }, { id: 'south' }], files: SMALL_FILES, manifest })
    const request = smallRequest({ model, datasets: ['north', 'south'] })

    const plan = runPlanSchema.parse((await admin.post('/v1/runs/plan', request)).body)
    expect(plan.epsilonWithSpares).toBeLessThanOrEqual(4)
    expect(plan.epsilonByRound).toHaveLength(5)
    expect(plan.epsilonByRound.at(-1)).toEqual({ round: 5, epsilon: plan.epsilon })

    const created = await admin.post('/v1/runs', request, { 'Idempotency-Key': 'k1' })
    expect(created.status).toBe(201)
    const run = runSchema.parse(created.body).id
    const workers = await Promise.all(['north', 'south'].map((id) => FakeWorker.enrol(admin, id)))
    await Promise.all(workers.map((worker) => worker.work(run, lengthOf)))

    const done = runSchema.parse((await admin.get(`/v1/runs/${run}`)).body)
    expect(done).toMatchObject({ state: 'completed', round: 5, rounds: 5, reason: null })
    const { records, head } = await readLog(admin, run)
    expect(done.head).toEqual({ size: head.size, hash: head.hash })
    const audited = auditLog(records)
    expect(done.stateHash).toBe(audited.stateHash)
    for (const { dataset, epsilon, charges, reports } of done.spent) {
      expect(epsilon).toBe(audited.epsilon[dataset])
      expect({ charges, reports }).toEqual({ charges: 5, reports: 5 })
      const lifetime = { epsilon: audited.odometer[dataset], charges: 5 }
      expect((await admin.get(`/v1/datasets/${dataset}`)).body.spent).toMatchObject(lifetime)
    }
    expect(done.spent[0]?.epsilon).toBe(plan.epsilon)
    const adapter = new Uint8Array(await (await fetch(done.adapter!.url)).arrayBuffer())
    expect(hashHex(adapter)).toBe(done.adapter!.sha256)
    expect((await admin.get(`/v1/runs/${run}/updates`)).body.checkpoint).toMatchObject({ round: 4 })
    const replayed = await admin.post('/v1/runs', request, { 'Idempotency-Key': 'k1' })
    expect(replayed.body).toEqual(created.body)
  })
})
