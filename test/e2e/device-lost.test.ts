import { randomFillSync } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectCoordinator } from '../../gpu-worker/coordinator.ts'
import { EngineError } from '../../gpu-worker/engine/index.ts'
import type { WorkerEvent } from '../../gpu-worker/log.ts'
import { runWorker, type SiteEngine } from '../../gpu-worker/loop.ts'
import { openSite } from '../../gpu-worker/site.ts'
import { groupCount } from '../../shared/zo/index.ts'
import { Stage } from './harness.ts'
import { recordWire } from './wire.ts'

const ROUNDS = 4

/** A worker's loop against a real coordinator, over an engine that loses its device when it is told to. */
describe('a device that is lost in the middle of a round', () => {
  const stage = new Stage()
  beforeAll(async () => {
    await stage.startCoordinator()
    await stage.addSite('north')
    await stage.addSite('east')
  })
  afterAll(() => stage.close())

  async function work(site: string, losses: (call: number) => boolean) {
    const wire = await recordWire(stage.url)
    const stop = new AbortController()
    const events: WorkerEvent[] = []
    let opened = 0
    let closed = 0
    let calls = 0
    const openEngine = async (): Promise<SiteEngine> => {
      opened++
      return {
        units: Array.from({ length: 60 }, (_, unit) => [unit]),
        losses: async (lines, at) => {
          if (losses(calls++)) throw new EngineError('device_lost', 'the device was lost')
          return Float32Array.from({ length: lines.length * groupCount(at) }, (_, i) => 0.5 + Math.sin(i) / 100)
        },
        setStage: async () => {},
        evaluate: async () => {
          throw new Error('this run has no evaluation')
        },
        close: async () => {
          closed++
        },
      }
    }
    const working = runWorker({
      coordinator: connectCoordinator(wire.url, stage.tokens[site]!, stop.signal),
      site: openSite(join(stage.folder, 'sites', site)),
      dataset: { id: site },
      policy: { maxDelta: 1e-5, unit: 'record' },
      openEngine,
      random: (length) => randomFillSync(new Uint8Array(length)),
      log: (event) => events.push(event),
      signal: stop.signal,
    })
    return { working, stop, events, wire, counts: () => ({ opened, closed, calls }) }
  }

  it('costs time and nothing else: the engine is opened again, and each round has one report', async () => {
    const worker = await work('north', (call) => call === 0 || call === 2 || call === 3)
    const { id } = await stage.submit({ rounds: ROUNDS, datasets: ['north'] })
    const run = await stage.finish(id)
    worker.stop.abort()
    await worker.working
    expect(run.state).toBe('completed')
    expect(run.spent).toMatchObject([{ dataset: 'north', reports: ROUNDS }])
    expect(run.spent[0]!.charges).toBe(ROUNDS)
    const bodies = worker.wire.exchanges.filter(({ path }) => path.endsWith('/report')).map(({ body }) => body)
    expect(new Set(bodies).size).toBe(ROUNDS)
    expect(worker.counts()).toEqual({ opened: 4, closed: 4, calls: ROUNDS + 3 })
    expect(worker.events.filter(({ event }) => event === 'device_lost').map(({ round }) => round)).toEqual([0, 1, 1])
  })

  it('ends the worker where it stays away, with the code, and nothing was sent', async () => {
    const worker = await work('east', () => true)
    await stage.submit({ rounds: 1, datasets: ['east'] })
    await expect(worker.working).rejects.toMatchObject({ code: 'device_lost' })
    expect(worker.wire.exchanges.filter(({ path }) => path.endsWith('/report'))).toEqual([])
    expect(worker.counts().opened).toBe(5)
  })
})
