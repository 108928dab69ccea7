import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { auditRun } from '../../demo/audit.ts'
import { type Process, SITES, Stage } from '../e2e/harness.ts'

const KILLS = 10
const ROUNDS = 120

describe('kill -9 at random moments', () => {
  const stage = new Stage()
  beforeAll(async () => {
    await stage.startCoordinator()
    for (const site of SITES) await stage.addSite(site)
  })
  afterAll(() => stage.close())

  it(`completes a run through ${KILLS} kills of coordinator and workers, counts no report twice and overspends nothing`, async () => {
    const workers = new Map<string, Process>(SITES.map((site) => [site, stage.startWorker(site)]))
    // Leases outlive every restart, so that a killed worker goes on with the one it had.
    const { id } = await stage.submit({ rounds: ROUNDS, directions: 4, leaseSeconds: 60 })
    const kill = async (process: Process) => {
      process.child.kill('SIGKILL')
      await process.exited
    }
    const killed: string[] = []
    for (let i = 0; i < KILLS; i++) {
      await sleep(randomInt(50, 900))
      // Each kind of process dies at least twice; the moment is what is random.
      const victim = [...SITES, 'coordinator'][i % 4]!
      if (victim === 'coordinator') {
        await kill(stage.coordinator)
        await sleep(randomInt(0, 300))
        await stage.startCoordinator()
      } else {
        await kill(workers.get(victim)!)
        workers.set(victim, stage.startWorker(victim))
      }
      killed.push(victim)
    }
    // All kills fell into the run.
    expect(await stage.client.run(id)).toMatchObject({ state: 'running' })
    const run = await stage.finish(id, 150)
    expect(run).toMatchObject({ state: 'completed', round: ROUNDS })

    const audit = await auditRun(stage.client, id)
    const closes = audit.records.filter((record) => record.type === 'close')
    expect(closes.map(({ round }) => round)).toEqual(Array.from({ length: ROUNDS }, (_, round) => round))
    for (const close of closes) expect(close.reports.map(({ dataset }) => dataset)).toEqual([...SITES].sort())
    const leases = closes.flatMap(({ reports }) => reports.map(({ lease }) => lease))
    expect(new Set(leases).size).toBe(leases.length)

    for (const { dataset, epsilon } of run.spent) {
      expect(epsilon).toBeCloseTo(audit.epsilon[dataset]!, 12)
      expect(epsilon).toBeLessThanOrEqual(run.spec.budget.epsilon)
      const lifetime = (await stage.client.dataset(dataset)).spent
      expect(lifetime.epsilon).toBeGreaterThanOrEqual(epsilon - 1e-12)
      expect(lifetime.epsilon).toBeLessThanOrEqual(8)
    }
    expect(killed).toHaveLength(KILLS)
  }, 240_000)
})
