import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../cli/dev/processes.ts'
import { openLogKey } from '../../coordinator/ledger/index.ts'
import { leafHash, rootOf, signCheckpoint } from '../../shared/ledger/index.ts'
import { treeOf } from '../../shared/ledger/merkle.ts'
import { type Process, Stage, startProcess, waitUntil } from './harness.ts'

describe('a run whose log has to be cosigned', () => {
  const stage = new Stage()
  let process: Process
  let port: number
  let witness: string
  beforeAll(async () => {
    await stage.startCoordinator()
    for (const site of ['north', 'east']) await stage.addSite(site)
    const headers = { Authorization: `Bearer ${stage.adminToken}` }
    const { publicKey } = (await (await fetch(`${stage.url}/v1/log`, { headers })).json()) as { publicKey: string }
    port = await freePort()
    const place = ['--state', join(stage.folder, 'witness'), '--listen', `127.0.0.1:${port}`]
    const names = ['--name', 'witness.example', '--log', `sotto.local=${publicKey}`]
    process = startProcess('cli/sotto.mjs', ['witness', ...place, ...names])
    stage.processes.push(process)
    await waitUntil('the witness', () => process.output().includes('witness.example+'))
    witness = `http://127.0.0.1:${port}=${process.output().trim().split('\n').at(-1)}`
  })
  afterAll(() => stage.close())

  const cancel = (id: string) =>
    fetch(`${stage.url}/v1/runs/${id}/cancel`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${stage.adminToken}` },
    })

  it('completes where the witness cosigns each lease', async () => {
    stage.startWorker('north', { args: ['--witness', witness] })
    const { id, spec } = await stage.submit({ rounds: 3, directions: 2, datasets: ['north'], cosignatures: 1 })
    expect(spec.cosignatures).toBe(1)
    expect(await stage.finish(id)).toMatchObject({ state: 'completed', spent: [{ reports: 3 }] })
  })

  it('is worked off by no site that names too few witnesses', async () => {
    const worker = stage.startWorker('east', { args: ['--witness', witness] })
    const { id } = await stage.submit({ rounds: 3, directions: 2, datasets: ['east'], cosignatures: 2 })
    expect(await worker.exited).toBe(1)
    expect(worker.output()).toContain('policy_refused')
    expect(worker.output()).toMatch(/cosigned by 2 witnesses, and 1 are named by --witness/)
    expect((await stage.client.run(id)).spent).toMatchObject([{ charges: 1, reports: 0 }])
    await cancel(id)
  })

  it('is left by a site whose witness saw another log of it', async () => {
    const { id } = await stage.submit({ rounds: 3, directions: 2, datasets: ['east'] })
    // The coordinator shows the witness a log that the site has never seen.
    const key = await openLogKey('sotto.local', readFileSync(join(stage.folder, 'coordinator/log.key')))
    const signer = { name: `sotto.local/${id}`, publicKey: key.publicKey }
    const root = rootOf(treeOf([leafHash(randomBytes(8))]))
    const note = await signCheckpoint({ origin: signer.name, size: 1, root }, signer, key.sign)
    const body = ['old 0', '', note].join('\n')
    expect((await fetch(`http://127.0.0.1:${port}/add-checkpoint`, { method: 'POST', body })).status).toBe(200)
    const worker = stage.startWorker('east', { args: ['--witness', witness] })
    expect(await worker.exited).toBe(1)
    expect(worker.output()).toContain('log_forked')
    expect((await stage.client.run(id)).spent).toMatchObject([{ reports: 0 }])
    await cancel(id)
  })

  it('waits for a witness that is away, and reads no data before it is back', async () => {
    process.child.kill('SIGKILL')
    await process.exited
    const { id } = await stage.submit({ rounds: 2, directions: 2, datasets: ['east'] })
    const worker = stage.startWorker('east', { args: ['--witness', witness] })
    await waitUntil('a second try', () => worker.output().split('"retrying"').length > 2)
    expect((await stage.client.run(id)).spent).toMatchObject([{ charges: 1, reports: 0 }])
    worker.child.kill('SIGTERM')
    expect(await worker.exited).toBe(0)
    const wrong = stage.startWorker('east', { args: ['--witness', 'nonsense'] })
    expect(await wrong.exited).toBe(2)
  })
})
