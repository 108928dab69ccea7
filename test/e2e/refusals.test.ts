import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { problemSchema } from '../../shared/api/index.ts'
import { MODEL, ROOT, request, SENTINEL, SITES, Stage, startProcess } from './harness.ts'

const exitOf = async (process: ReturnType<typeof startProcess>) => ({
  code: await process.exited,
  output: process.output(),
})

describe('bad input', () => {
  const stage = new Stage()
  beforeAll(async () => {
    await stage.startCoordinator()
    for (const site of SITES) await stage.addSite(site)
  })
  afterAll(() => stage.close())

  it('names file and line of a malformed record, and none of its text', async () => {
    const file = join(stage.folder, 'broken.jsonl')
    writeFileSync(file, `{"text":"fine","label":"ham"}\n{"text":"${SENTINEL}","label"\n`)
    const { code, output } = await exitOf(stage.startWorker('north', { args: ['--data', file] }))
    expect(code).toBe(1)
    expect(output).toContain('malformed_json')
    expect(output).toMatch(/broken\.jsonl.*\b2\b/)
    expect(output).not.toContain('xylophagous')
  })

  it('tells a missing data file, a wrong flag and a missing token apart', async () => {
    const missing = await exitOf(stage.startWorker('north', { args: ['--data', '/nowhere/mail.jsonl'] }))
    expect(missing).toMatchObject({ code: 1, output: expect.stringContaining('no_file') })
    const flag = await exitOf(stage.startWorker('north', { args: ['--what'] }))
    expect(flag).toMatchObject({ code: 2, output: expect.stringContaining('--what') })
    const token = await exitOf(
      startProcess('gpu-worker/main.ts', ['--coordinator', stage.url, '--data', 'x.jsonl'], { SOTTO_TOKEN: '' }),
    )
    expect(token).toMatchObject({ code: 2, output: expect.stringContaining('--token') })
  })

  it('refuses an admin token for a worker, and a worker token for an admin', async () => {
    const worker = await exitOf(stage.startWorker('north', { env: { SOTTO_TOKEN: stage.adminToken } }))
    expect(worker).toMatchObject({ code: 1, output: expect.stringContaining('unauthorised') })
    const answer = await fetch(`${stage.url}/v1/runs`, {
      headers: { authorization: `Bearer ${stage.tokens.north}` },
      method: 'POST',
      body: '{}',
    })
    expect([answer.status, problemSchema.parse(await answer.json()).code]).toEqual([403, 'forbidden'])
  })

  it('refuses a second worker on the same folder', async () => {
    const first = stage.startWorker('east')
    await new Promise((resolve) => first.child.stdout!.once('data', resolve))
    const second = await exitOf(stage.startWorker('east'))
    expect(second).toMatchObject({ code: 1, output: expect.stringContaining('state_locked') })
    first.child.kill('SIGTERM')
    expect(await first.exited).toBe(0)
  })

  it('refuses an impossible budget, an overdrawn dataset and an unknown model, and charges nothing', async () => {
    const code = async (promise: Promise<unknown>) =>
      promise.then(
        () => 'accepted',
        (error: Error) => error.message,
      )
    const model = await stage.client.uploadModel(MODEL)
    const size = { rounds: 5, directions: 2 }
    const tiny = await request(model, size, { budget: { epsilon: 1e-7, delta: 1e-12 } })
    expect(await code(stage.client.createRun(tiny))).toContain('budget_impossible')
    const large = await request(model, size, { budget: { epsilon: 20, delta: 1e-5 } })
    expect(await code(stage.client.createRun(large))).toContain('dataset_budget_exceeded')
    expect(await code(stage.client.createRun(await request('0'.repeat(64), size)))).toContain('unknown_model')
    expect(await code(stage.client.createRun(await request(model, size, { datasets: ['nobody'] })))).toContain(
      'unknown_dataset',
    )
    for (const site of SITES) expect((await stage.client.dataset(site)).spent).toMatchObject({ charges: 0, epsilon: 0 })
  })

  it('names the tokenizer that a model lacks', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sotto-model-'))
    cpSync(MODEL, folder, { recursive: true })
    rmSync(join(folder, 'tokenizer.json'))
    const model = await stage.client.uploadModel(folder)
    const worker = stage.startWorker('west')
    const run = await stage.client.createRun(await request(model, { rounds: 2, directions: 2 }, { datasets: ['west'] }))
    const { code, output } = await exitOf(worker)
    expect(code).toBe(1)
    expect(output).toContain('missing_tokenizer')
    expect(output).toContain('tokenizer.json')
    expect((await stage.client.run(run.id)).state).toBe('running')
  })

  it('obeys the data owner: --max-epsilon and --accept stop a worker before it looks at its data', async () => {
    const model = await stage.client.uploadModel(MODEL)
    const run = await stage.client.createRun(
      await request(model, { rounds: 2, directions: 2 }, { datasets: ['north'] }),
    )
    const low = await exitOf(stage.startWorker('north', { args: ['--max-epsilon', '1'] }))
    expect(low).toMatchObject({ code: 1, output: expect.stringContaining('policy_refused') })
    const other = createHash('sha256').update('another spec').digest('hex')
    const accept = await exitOf(stage.startWorker('north', { args: ['--accept', other] }))
    expect(accept).toMatchObject({ code: 1, output: expect.stringContaining('policy_refused') })
    expect((await stage.client.run(run.id)).spent[0]).toMatchObject({ reports: 0 })
    const agreed = stage.startWorker('north', { args: ['--accept', run.specHash, '--max-epsilon', '4'] })
    expect((await stage.finish(run.id)).state).toBe('completed')
    agreed.child.kill('SIGTERM')
  })

  it('releases no more than the lifetime that the owner gave it, whatever the coordinator would pay for', async () => {
    const model = await stage.client.uploadModel(MODEL)
    const run = await stage.client.createRun(
      await request(model, { rounds: 200, directions: 2 }, { datasets: ['east'], budget: { epsilon: 4, delta: 1e-5 } }),
    )
    const worker = await exitOf(stage.startWorker('east', { args: ['--lifetime-epsilon', '3'] }))
    expect(worker).toMatchObject({ code: 1, output: expect.stringContaining('lifetime_spent') })
    const { spent, state } = await stage.client.run(run.id)
    expect(state).toBe('running')
    const lines = readFileSync(join(stage.folder, 'sites/east/spend.jsonl'), 'utf8').trimEnd().split('\n')
    // What it refused is charged in the log, and nothing of it was released.
    expect(spent[0]).toMatchObject({ reports: lines.length, charges: lines.length + 1 })
    expect(lines.length).toBeGreaterThan(10)
    expect(lines.length).toBeLessThan(200)
    expect(spent[0]!.epsilon).toBeLessThan(3)
  })

  it('believes the logs of one key: that of --log-key, or else the first it saw', async () => {
    const other = Buffer.alloc(32, 1).toString('base64')
    const told = await exitOf(stage.startWorker('east', { args: ['--log-key', other] }))
    expect(told).toMatchObject({ code: 1, output: expect.stringContaining('log_key_changed') })
    const pinned = join(stage.folder, 'sites/east/log.json')
    writeFileSync(pinned, JSON.stringify({ name: 'sotto.local', publicKey: other }))
    const changed = await exitOf(stage.startWorker('east'))
    expect(changed).toMatchObject({ code: 1, output: expect.stringContaining('log.json') })
    rmSync(pinned)
  })

  it('says how it is used', async () => {
    for (const script of ['gpu-worker/main.ts', 'coordinator/hosts/node.ts', 'demo/main.ts']) {
      const { code, output } = await exitOf(startProcess(join(ROOT, script), ['--help']))
      expect([code, /^usage:/im.test(output)], script).toEqual([0, true])
    }
  })
})
