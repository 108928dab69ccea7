import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Audit, auditRun } from '../../demo/audit.ts'
import { leaseRequestSchema, type Report, type Run, reportSchema, workerKeySchema } from '../../shared/api/index.ts'
import { canonicalJson } from '../../shared/ledger/index.ts'
import { advance, replayStart, stateHash } from '../../shared/zo/index.ts'
import { ROOT, records, SITES, Stage } from './harness.ts'
import { type Exchange, recordWire } from './wire.ts'

const COUNT = 60

describe('a whole run over real processes', () => {
  const stage = new Stage()
  let wire: Exchange[] = []
  let run: Run
  let audit: Audit
  let reports: Report[]

  beforeAll(async () => {
    await stage.startCoordinator()
    for (const site of SITES) await stage.addSite(site, { records: records(site, COUNT) })
    const recorder = await recordWire(stage.url)
    wire = recorder.exchanges
    for (const site of SITES) stage.startWorker(site, { coordinator: recorder.url })
    run = await stage.finish((await stage.submit({ rounds: 6, directions: 4 })).id)
    audit = await auditRun(stage.client, run.id)
    reports = wire
      .filter(({ path }) => path.endsWith('/report'))
      .map(({ body }) => reportSchema.parse(JSON.parse(body)))
  })
  afterAll(() => stage.close())

  it('completes, and every dataset was charged once a round', () => {
    expect(run.state).toBe('completed')
    expect(run.spent.map(({ charges, reports: count }) => [charges, count])).toEqual(SITES.map(() => [6, 6]))
    expect(reports).toHaveLength(18)
  })

  it('spends what an independent composition of the log says, within the budget', async () => {
    for (const { dataset, epsilon } of run.spent) {
      expect(epsilon).toBeCloseTo(audit.epsilon[dataset]!, 12)
      expect(epsilon).toBeLessThanOrEqual(run.spec.budget.epsilon)
      const lifetime = (await stage.client.dataset(dataset)).spent.epsilon
      expect(lifetime).toBeGreaterThanOrEqual(epsilon)
      expect(lifetime).toBeLessThanOrEqual(8)
    }
  })

  it('has a charge in the log before every report', () => {
    const seqOfCharge = new Map(audit.records.flatMap((r) => (r.type === 'charge' ? [[r.lease, r.seq] as const] : [])))
    for (const close of audit.records.filter((record) => record.type === 'close')) {
      for (const { lease } of close.reports) expect(seqOfCharge.get(lease)).toBeLessThan(close.seq)
    }
  })

  it('replays to the state that workers, coordinator and records name, here and without any Node API', async () => {
    let point = replayStart(run.spec)
    for (const close of audit.records.filter((record) => record.type === 'close')) {
      const evaluatedAt = new Set(
        reports.filter(({ round }) => round === close.round).map((report) => report.stateHash),
      )
      expect(evaluatedAt).toEqual(new Set([stateHash(point.state)]))
      point = advance(run.spec, point, close)
      expect(stateHash(point.state)).toBe(close.stateHash)
    }
    expect(stateHash(point.state)).toBe(run.stateHash)
    const log = join(stage.folder, 'log.jsonl')
    writeFileSync(log, audit.records.map((record) => `${canonicalJson(record)}\n`).join(''))
    const script = join(ROOT, 'test/e2e/browser-replay.mjs')
    const bare = execFileSync(process.execPath, ['--no-warnings', '--experimental-vm-modules', script, log], {
      encoding: 'utf8',
    })
    expect(bare.trim()).toBe(run.stateHash)
  })

  it('sends nothing but keys, polls and reports of the schema: ids, hashes, grid integers, a signature', () => {
    const shapes: [RegExp, (body: string) => void][] = [
      [/^GET \/v1\/workers\/self$/, (body) => expect(body).toBe('')],
      [/^PUT \/v1\/workers\/self\/key$/, (body) => workerKeySchema.parse(JSON.parse(body))],
      [/^POST \/v1\/leases$/, (body) => leaseRequestSchema.parse(JSON.parse(body))],
      [/^PUT \/v1\/leases\/[a-z0-9_-]+\/report$/, (body) => reportSchema.parse(JSON.parse(body))],
      [/^GET \/v1\/runs\/[a-z0-9-]+\/updates\?after=\d+$/, (body) => expect(body).toBe('')],
      [/^GET \/v1\/models\/[0-9a-f]{64}$/, (body) => expect(body).toBe('')],
      [/^GET \/objects\//, (body) => expect(body).toBe('')],
    ]
    for (const { method, path, body } of wire) {
      const shape = shapes.find(([pattern]) => pattern.test(`${method} ${path}`))
      expect(shape, `${method} ${path}`).toBeDefined()
      shape![1](body)
    }
    const headers = new Set(wire.flatMap((exchange) => Object.keys(exchange.headers)))
    const usual = [
      'accept',
      'accept-encoding',
      'accept-language',
      'authorization',
      'connection',
      'content-length',
      'content-type',
      'host',
      'sec-fetch-mode',
      'user-agent',
    ]
    expect([...headers].filter((name) => !usual.includes(name))).toEqual([])
  })

  it('keeps the adapter, the factor of each site beside its frozen one', async () => {
    const bytes = Buffer.from(await stage.client.download(run.adapter!.url))
    const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString('utf8'))
    const { __metadata__: metadata, ...tensors } = header
    expect(metadata).toMatchObject({ run: run.id })
    const { space } = run.spec
    expect(Object.values(tensors).length).toBe(space.kind === 'lora' ? 2 * space.sites.length : Number.NaN)
  })
})

describe('a worker that ends where nothing is asked of it', () => {
  const stage = new Stage()
  afterAll(() => stage.close())

  it('ends after the run, and not between its rounds', async () => {
    await stage.startCoordinator()
    await stage.addSite('north', { records: records('north', COUNT) })
    const { id } = await stage.submit({ rounds: 4, directions: 4, datasets: ['north'], quorum: 1 })
    const worker = stage.startWorker('north', { args: ['--idle', '1'] })
    expect(await worker.exited).toBe(0)
    expect(await stage.client.run(id)).toMatchObject({ state: 'completed', round: 4 })
  })
})
