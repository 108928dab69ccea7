import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { auditRun } from '../../demo/audit.ts'
import { inspectModel, openEngine } from '../../gpu-worker/engine/index.ts'
import type { Run, RunRequest } from '../../shared/api/index.ts'
import { replay, type StatisticSpace, stateHash } from '../../shared/zo/index.ts'
import { zooModels } from '../models/zoo.ts'
import { SITES, Stage } from './harness.ts'

/** A steering vector over three sites, over real processes. */
const model = zooModels().find(({ name }) => name === 'llama-causal-dynamo-23')!
const { activations } = await inspectModel(model.dir)
const { name: activation, size } = activations[0]!
const CLIP = 2
const UNITS = 200
const pairsOf = (site: string) =>
  Array.from({ length: UNITS }, (_, i) => ({
    prompt: `${site} ${i}: a`,
    chosen: ` b${' c'.repeat(i % 3)}`,
    rejected: ` x ${i % 5} y`,
  }))
const task = { kind: 'preference-pairs' as const, maxTokens: 32, maxCompletionTokens: 12, buckets: [16, 32] }
const asked: Omit<RunRequest, 'model'> = {
  task,
  space: { kind: 'statistic', activation, size },
  preset: { name: 'psa', clip: CLIP, clipShare: 0.1 },
  datasets: [...SITES],
  // Little noise, so that what is released can be seen to be the mean that it stands for.
  budget: { epsilon: 400, delta: 1e-5 },
  spareCharges: 0,
}

/** The clipped mean over all pairs, computed here. */
async function meanHere(seed: string): Promise<Float64Array> {
  const space: StatisticSpace = { kind: 'statistic', activation, size, token: 'last' }
  const engine = await openEngine({ modelDir: model.dir, task, space, seed })
  const pairs = SITES.flatMap(pairsOf)
  const side = (which: 'chosen' | 'rejected') =>
    engine.activations(pairs.map((pair) => engine.encode({ prompt: pair.prompt, completion: pair[which] })))
  const [chosen, rejected] = [await side('chosen'), await side('rejected')]
  await engine.close()
  const mean = new Float64Array(size)
  const most = CLIP * Math.sqrt(1 - 0.1 ** 2)
  for (let n = 0; n < pairs.length; n++) {
    const row = Array.from({ length: size }, (_, i) => chosen[n * size + i]! - rejected[n * size + i]!)
    const scale = Math.min(1, most / Math.hypot(...row))
    row.forEach((value, i) => {
      mean[i]! += (value * scale) / pairs.length
    })
  }
  return mean
}

describe('a statistic over three sites', () => {
  const stage = new Stage()
  let run: Run
  let id: string

  beforeAll(async () => {
    await stage.startCoordinator()
    for (const site of SITES) {
      await stage.addSite(site, { records: pairsOf(site), budget: { epsilon: 1000, delta: 1e-5 } })
      stage.startWorker(site)
    }
    id = await stage.client.uploadModel(model.dir)
    run = await stage.finish((await stage.client.createRun({ ...asked, model: id })).id)
  })
  afterAll(() => stage.close())

  it('is one round, one charge of each dataset, and a log that leads to its state', async () => {
    expect(run).toMatchObject({ state: 'completed', job: 'statistic', round: 1 })
    for (const { charges, reports } of run.spent) expect([charges, reports]).toEqual([1, 1])
    const { records } = await auditRun(stage.client, run.id)
    const closes = records.filter((record) => record.type === 'close')
    expect(stateHash(replay(run.spec, closes).state)).toBe(run.stateHash)
    expect(closes[0]!.clippedShare).toBeDefined()
  })

  it('is the mean of the clipped differences, but for its noise, in a file that says of what', async () => {
    const bytes = Buffer.from(await stage.client.download(run.adapter!.url))
    const length = Number(bytes.readBigUInt64LE())
    const header = JSON.parse(bytes.subarray(8, 8 + length).toString('utf8'))
    expect(header.__metadata__).toMatchObject({ format: 'sotto-steering-v1', activation, token: 'last', run: run.id })
    expect(Object.keys(header).sort()).toEqual(['__metadata__', `${activation}.mean`])
    const made = new Float32Array(new Uint8Array(bytes.subarray(8 + length)).buffer)
    expect(made).toHaveLength(size)
    const mean = await meanHere(run.spec.seed)
    const { noiseMultiplier } = run.spec.stages[0]!
    const deviation = (noiseMultiplier * CLIP * Math.sqrt(SITES.length)) / (SITES.length * UNITS)
    const off = Math.hypot(...mean.map((value, i) => made[i]! - value)) / Math.sqrt(size)
    // The root mean square of 32 normal numbers lies within these in all but one in a million runs.
    expect(off / deviation).toBeGreaterThan(0.4)
    expect(off / deviation).toBeLessThan(1.8)
    expect(Math.hypot(...mean) / (deviation * Math.sqrt(size))).toBeGreaterThan(3)
  })

  it('is planned without spending', async () => {
    const code = (change: object) =>
      stage.client.createRun({ ...asked, model: id, ...change }).then(
        () => 'created',
        (error: Error) => error.message,
      )
    expect(await code({ task: { ...task, kind: 'causal-lm', format: 'completion' } })).toMatch(/bad_request/)
    expect(await code({ preset: { name: 'sotto', samplingRate: 0.1 } })).toMatch(/bad_request: space\.kind/)
  })
})
