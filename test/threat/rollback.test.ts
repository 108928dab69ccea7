import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Hosts } from '../rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../rehearsal/request.ts'
import { FakeWorker, setStage } from '../rehearsal/worker.ts'

const hosts = new Hosts()
afterEach(() => hosts.clear())

const stages = [{ rounds: 12, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 }]

/** A run of a coordinator in a folder: snapshot of its databases, three rounds, and the snapshot put back. */
async function restored() {
  const dataDir = hosts.folder()
  const first = await hosts.start({ dataDir })
  const model = await setStage(first.admin, {
    datasets: [{ id: 'north' }],
    files: SMALL_FILES,
    manifest: manifestOf(SMALL_FILES),
  })
  const run = (await first.admin.post('/v1/runs', smallRequest({ model, datasets: ['north'], stages }))).body.id
  const worker = await FakeWorker.enrol(first.admin, 'north')
  const rounds = async (count: number) => {
    for (let i = 0; i < count; i++) await worker.send((await worker.lease(5))!, [1, 2, 3])
  }
  await rounds(2)
  await first.host.close()
  const backup = join(hosts.folder(), 'db')
  cpSync(join(dataDir, 'db'), backup, { recursive: true })
  const second = await hosts.start({ dataDir })
  const later = worker.at(second.admin)
  for (let i = 0; i < 3; i++) await later.send((await later.lease(5))!, [1, 2, 3])
  await second.host.close()
  return { dataDir, backup, run, model, worker }
}

const putBack = (dataDir: string, backup: string, part: string) => {
  rmSync(join(dataDir, 'db', part), { recursive: true })
  cpSync(join(backup, part), join(dataDir, 'db', part), { recursive: true })
}

describe('a coordinator whose databases were put back to what they were', () => {
  it('refuses to go on with a run that the bucket knows more of', async () => {
    const { dataDir, backup, run, worker } = await restored()
    putBack(dataDir, backup, 'runs')
    const { admin } = await hosts.start({ dataDir })
    expect(await worker.at(admin).lease(1)).toBeNull()
    const { body } = await admin.get(`/v1/runs/${run}`)
    expect(body).toMatchObject({ state: 'failed', reason: expect.stringContaining('ledger_behind_log') })
  })

  it('refuses to charge a dataset that the bucket knows more of, for any run', async () => {
    const { dataDir, backup, model } = await restored()
    putBack(dataDir, backup, 'datasets')
    const { admin } = await hosts.start({ dataDir })
    const asked = await admin.post('/v1/runs', smallRequest({ model, datasets: ['north'], stages }))
    expect(asked).toMatchObject({ status: 500, body: { code: 'ledger_fault', detail: 'ledger_behind_log' } })
    expect((await admin.get('/v1/datasets/north')).body.fault).toBe('ledger_behind_log')
  })
})
