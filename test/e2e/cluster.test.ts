import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../cli/dev/processes.ts'
import { auditRun } from '../../demo/audit.ts'
import { findWorkerd } from '../../infra/cluster/start.ts'
import { stateHash } from '../../shared/zo/index.ts'
import { type CephBucket, hasCeph, startCeph, withBareEntityTags } from '../tooling/ceph.ts'
import { type Process, SITES, Stage, startProcess, waitUntil } from './harness.ts'

const ROUNDS = 30
/** Rounds that are closed before an instance dies. */
const BEFORE = 5

function missing(): string | null {
  if (!hasCeph()) return 'needs Ceph: apt-get install ceph-mon ceph-osd radosgw ceph-common'
  try {
    findWorkerd()
    return null
  } catch {
    return 'needs npm ci --prefix infra/cluster'
  }
}

const absent = missing()

describe.skipIf(absent !== null)(`a cluster of workerd over one bucket of Ceph${absent ? ` (${absent})` : ''}`, () => {
  const stage = new Stage()
  const logKey = randomBytes(32).toString('base64')
  const clusterKey = randomBytes(32).toString('hex')
  let ceph: CephBucket
  let proxy: Awaited<ReturnType<typeof withBareEntityTags>>

  async function startInstance(name: string): Promise<{ process: Process; port: number }> {
    const [port, peer] = [await freePort(), await freePort()]
    const args = ['--data', join(stage.folder, name), '--listen', `127.0.0.1:${port}`]
    const process = startProcess('infra/cluster/start.ts', [...args, '--cluster-address', `127.0.0.1:${peer}`], {
      SOTTO_CLUSTER_KEY: clusterKey,
      SOTTO_ADMIN_TOKEN: stage.adminToken,
      SOTTO_LOG_KEY: logKey,
      SOTTO_S3_BUCKET: ceph.bucket,
      SOTTO_S3_ENDPOINT: proxy.url,
      AWS_ACCESS_KEY_ID: ceph.accessKeyId,
      AWS_SECRET_ACCESS_KEY: ceph.secretAccessKey,
    })
    stage.processes.push(process)
    return { process, port }
  }

  beforeAll(async () => {
    ceph = await startCeph()
    proxy = await withBareEntityTags(ceph.endpoint)
  })
  afterAll(async () => {
    await stage.close()
    proxy?.close()
    await ceph?.close()
  })

  it('loses its instance with every object of a run to kill -9, and another completes the run', async () => {
    const owner = await startInstance('owner')
    // The objects are where they are first asked for.
    await stage.useCoordinator(owner.process, owner.port)
    for (const site of SITES) await stage.addSite(site)
    const { id } = await stage.submit({ rounds: ROUNDS, directions: 4, leaseSeconds: 120 })
    const survivor = await startInstance('survivor')
    await stage.useCoordinator(survivor.process, survivor.port)
    for (const site of SITES) stage.startWorker(site)
    await waitUntil('some rounds', async () => (await stage.client.run(id)).round >= BEFORE, 120)

    owner.process.child.kill('SIGKILL')
    const killed = performance.now()
    const answers: { status: number; retryAfter: string | null }[] = []
    const ask = async () => {
      const headers = { Authorization: `Bearer ${stage.adminToken}` }
      const answer = await fetch(`${stage.url}/v1/runs/${id}`, { headers })
      answers.push({ status: answer.status, retryAfter: answer.headers.get('Retry-After') })
      await answer.arrayBuffer()
      return answer.ok
    }
    await waitUntil('the takeover', ask, 90)
    console.log(`takeover: ${((performance.now() - killed) / 1000).toFixed(1)} s after kill -9 of the owner`)
    const refusals = answers.slice(0, -1)
    expect(refusals.length).toBeGreaterThan(0)
    for (const { status, retryAfter } of refusals) expect([status, Number(retryAfter) > 0]).toEqual([503, true])

    const run = await stage.finish(id, 240)
    expect(run).toMatchObject({ state: 'completed', round: ROUNDS })
    const audit = await auditRun(stage.client, id)
    expect(stateHash(audit.state)).toBe(run.stateHash)
    const closes = audit.records.filter((record) => record.type === 'close')
    expect(closes.map(({ round }) => round)).toEqual(Array.from({ length: ROUNDS }, (_, round) => round))
    for (const { dataset, epsilon } of run.spent) {
      expect(epsilon).toBeCloseTo(audit.epsilon[dataset]!, 12)
      expect(epsilon).toBeLessThanOrEqual(run.spec.budget.epsilon)
      const lifetime = (await stage.client.dataset(dataset)).spent
      expect(lifetime.charges).toBe(
        audit.records.filter((record) => record.type === 'charge' && record.dataset === dataset).length,
      )
    }
  }, 400_000)
})
