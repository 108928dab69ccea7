import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, describe, expect, inject, it } from 'vitest'
import { auditLog, readLog } from '../../test/rehearsal/audit.ts'
import { Client } from '../../test/rehearsal/client.ts'
import { Hosts, PLACES } from '../../test/rehearsal/host.ts'
import { manifestOf, SMALL_FILES, smallRequest } from '../../test/rehearsal/request.ts'
import { tinyDisk } from '../../test/rehearsal/tiny-disk.ts'
import { FakeWorker, setStage } from '../../test/rehearsal/worker.ts'

const hosts = new Hosts()
const children: ChildProcess[] = []
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await hosts.clear()
})

const manifest = manifestOf(SMALL_FILES)
const lengthOf = (round: number) => (round < 3 ? 5 : 3)
const north = { datasets: [{ id: 'north' }], files: SMALL_FILES, manifest }

const MAIN = new URL('./node.ts', import.meta.url).pathname

/** Starts a coordinator as its own process, and waits until it listens. */
async function launch(dataDir: string, ...args: string[]): Promise<{ child: ChildProcess; admin: Client }> {
  const child = spawn(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    MAIN,
    '--data',
    dataDir,
    '--port',
    '0',
    ...args,
  ])
  children.push(child)
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /^Listening at (\S+)$/.exec(line)?.[1]
    if (url) return { child, admin: new Client(url, readFileSync(join(dataDir, 'admin-token'), 'utf8').trim()) }
  }
  throw new Error('the coordinator ended before it listened')
}

const ended = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once('exit', resolve))

describe('a process', () => {
  it('that is killed loses nothing: the worker goes on with its lease, and nothing is charged twice', async () => {
    const dataDir = hosts.folder()
    const first = await launch(dataDir)
    const model = await setStage(first.admin, north)
    const run = (await first.admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }))).body.id
    const { body: made } = await first.admin.post('/v1/workers', { dataset: 'north' })
    const worker = await FakeWorker.enrol(first.admin, 'north')
    expect(made.token).toMatch(/^sotto_/)
    const lease = (await worker.lease(5))!
    const report = await worker.report(lease, [1, 2, 3, 4, 5])
    first.child.kill('SIGKILL')
    await ended(first.child)

    const second = await launch(dataDir)
    const again = worker.at(second.admin)
    expect((await again.lease(5))?.id).toBe(lease.id)
    expect((await again.put(report)).status).toBe(200)
    second.child.kill('SIGKILL')
    await ended(second.child)

    const third = await launch(dataDir)
    expect((await worker.at(third.admin).put(report)).status).toBe(200)
    await worker.at(third.admin).work(run, lengthOf)
    const { body } = await third.admin.get(`/v1/runs/${run}`)
    expect(body).toMatchObject({ state: 'completed', spent: [{ charges: 5, reports: 5 }] })
    expect(auditLog((await readLog(third.admin, run)).records).stateHash).toBe(body.stateHash)
  })

  it('stops cleanly when told to, and keeps its token to itself', async () => {
    const dataDir = hosts.folder()
    const { child } = await launch(dataDir)
    expect(statSync(join(dataDir, 'admin-token')).mode & 0o777).toBe(0o600)
    child.kill('SIGTERM')
    expect(await ended(child)).toBe(0)
  })

  it('explains itself, and refuses what it does not know', () => {
    const tell = (...args: string[]) =>
      execFileSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', stdio: 'pipe' })
    expect(tell('--help')).toContain('--data')
    expect(() => tell('--odd')).toThrow()
    expect(() => tell('--port', 'x')).toThrow()
  })
})

describe('a data folder', () => {
  it('takes one coordinator at a time', async () => {
    const dataDir = hosts.folder()
    const first = await hosts.start({ dataDir })
    await expect(hosts.start({ dataDir })).rejects.toEqual(expect.objectContaining({ name: 'FolderLockedError' }))
    await first.host.close()
    const second = await hosts.start({ dataDir })
    expect((await second.admin.get('/v1/runs')).status).toBe(200)
  })

  it.each(PLACES)('keeps runs over a restart in the same place, on %s', async (on) => {
    const dataDir = hosts.folder()
    const first = await hosts.start({ on, dataDir })
    const model = await setStage(first.admin, north)
    const run = (await first.admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }))).body.id
    const worker = await FakeWorker.enrol(first.admin, 'north')
    await worker.send((await worker.lease(5))!, [1, 2, 3, 4, 5])
    await first.host.close()
    const second = await hosts.start({ on, dataDir })
    await worker.at(second.admin).work(run, lengthOf)
    expect((await second.admin.get(`/v1/runs/${run}`)).body.state).toBe('completed')
  })
})

describe.each(PLACES)('events on %s', (on) => {
  const read = async (admin: Client, run: string, last?: number) => {
    const text = await admin.text(`/v1/runs/${run}/events`, last === undefined ? {} : { 'Last-Event-ID': String(last) })
    const blocks = text.split('\n\n').filter((block) => block.includes('data:'))
    return blocks.map((block) => JSON.parse(/^data: (.*)$/m.exec(block)![1]!))
  }

  it('stream while the run runs, resume after an id, and end with it', async () => {
    const { admin } = await hosts.start({ on })
    const model = await setStage(admin, north)
    const run = (await admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }))).body.id
    const live = read(admin, run)
    const worker = await FakeWorker.enrol(admin, 'north')
    await worker.work(run, lengthOf)
    const events = await live
    expect(events.map((event) => event.type)).toEqual([
      'run.created',
      ...Array(5).fill(['round.opened', 'round.closed']).flat(),
      'run.ended',
    ])
    const { body } = await admin.get(`/v1/runs/${run}`)
    const closed = events.filter((event) => event.type === 'round.closed')
    expect(closed.at(-1).spent.north).toBe(body.spent[0].epsilon)
    expect(closed[0].spent.north).toBeLessThan(closed[1].spent.north)
    expect(await read(admin, run, events[4].seq)).toEqual(events.slice(5))
  })

  it('of a cancelled run end at once', async () => {
    const { admin } = await hosts.start({ on })
    const model = await setStage(admin, north)
    const run = (await admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }))).body.id
    const live = read(admin, run)
    await admin.post(`/v1/runs/${run}/cancel`)
    expect((await live).at(-1)).toMatchObject({ type: 'run.ended', state: 'cancelled' })
  })
})

describe.each(PLACES)('S3 that refuses, on %s', (on) => {
  it('stops nothing for good: the same calls succeed with the right secret', async () => {
    const dataDir = hosts.folder()
    const s3 = inject('s3')
    const first = await hosts.start({ on, dataDir, s3 })
    const model = await setStage(first.admin, north)
    const run = (await first.admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }))).body.id
    const worker = await FakeWorker.enrol(first.admin, 'north')
    const lease = (await worker.lease(5))!
    const report = await worker.report(lease, [1, 2, 3, 4, 5])
    await first.host.close()

    const second = await hosts.start({ on, dataDir, s3: { ...s3, secretAccessKey: 'wrong' } })
    const refused = await second.admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }))
    expect([refused.status, refused.body.code]).toEqual([503, 'store_unavailable'])
    const dataset = { id: 'second', units: 1000, budget: { epsilon: 20, delta: 1e-5 } }
    // What its budget is, the bucket has to say before anybody is told.
    expect((await second.admin.post('/v1/datasets', dataset)).body.code).toBe('store_unavailable')
    expect(refused.headers.get('retry-after')).toBe('2')
    expect((await worker.at(second.admin).put(report)).status).toBe(200)
    expect((await second.admin.post(`/v1/runs/${run}/cancel`)).body.code).toBe('store_unavailable')
    await second.host.close()

    const third = await hosts.start({ on, dataDir, s3 })
    expect((await third.admin.post('/v1/datasets', dataset)).status).toBe(200)
    await worker.at(third.admin).work(run, lengthOf)
    const { body } = await third.admin.get(`/v1/runs/${run}`)
    expect(body).toMatchObject({ state: 'completed', spent: [{ charges: 5 }] })
  })
})

describe('a run whose creation was cut short', () => {
  const create = (admin: Client, model: string) =>
    admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }), { 'Idempotency-Key': 'cut' })

  it('is made once by the retry with its Idempotency-Key, and seen by nobody before', async () => {
    const dataDir = hosts.folder()
    const first = await hosts.start({ dataDir })
    const model = await setStage(first.admin, north)
    // The folder of logs can not be made while a file has its name.
    writeFileSync(join(dataDir, 'objects/runs'), '')
    expect((await create(first.admin, model)).body.code).toBe('store_unavailable')
    expect((await first.admin.get('/v1/runs')).body.items).toEqual([])
    await first.host.close()
    rmSync(join(dataDir, 'objects/runs'))

    const second = await hosts.start({ dataDir })
    expect((await second.admin.get('/v1/runs')).body.items).toEqual([])
    const { status, body } = await create(second.admin, model)
    expect(status).toBe(201)
    expect((await second.admin.get('/v1/runs')).body.items).toMatchObject([{ id: body.id, state: 'running' }])
    expect((await create(second.admin, model)).body).toEqual(body)
    const charges = async () => (await second.admin.get('/v1/datasets/north')).body.spent.charges
    await expect.poll(charges).toBe(1)
  })
})

describe('a full disk', () => {
  it('is said, loses nothing, and is over when there is room', async ({ skip }) => {
    const disk = tinyDisk()
    if (!disk) return skip('no file system can be mounted here')
    try {
      const { admin, host } = await hosts.start({ dataDir: disk.path })
      const model = await setStage(admin, north)
      const run = (await admin.post('/v1/runs', smallRequest({ model, datasets: ['north'] }))).body.id
      const worker = await FakeWorker.enrol(admin, 'north')
      const lease = (await worker.lease(5))!
      const filler = join(disk.path, 'filler')
      fill(filler)
      const codes: string[] = []
      for (let i = 0; i < 200 && codes.length < 3; i++) {
        const { status, body } = await admin.post('/v1/tokens', { scope: 'auditor' })
        if (status !== 201) codes.push(body.code)
      }
      expect(codes).toEqual(['storage_full', 'storage_full', 'storage_full'])
      rmSync(filler)
      expect((await admin.post('/v1/tokens', { scope: 'auditor' })).status).toBe(201)
      expect((await worker.send(lease, [1, 2, 3, 4, 5])).status).toBe(200)
      await worker.work(run, lengthOf)
      expect((await admin.get(`/v1/runs/${run}`)).body).toMatchObject({ state: 'completed', spent: [{ charges: 5 }] })
      await host.close()
    } finally {
      disk.unmount()
    }
  })
})

/** Takes what room there is, to the last page. */
function fill(path: string): void {
  for (let size = 1 << 20; size >= 512; size /= 2) {
    try {
      for (;;) writeFileSync(path, new Uint8Array(size), { flag: 'a' })
    } catch {
      // Less, then.
    }
  }
}
