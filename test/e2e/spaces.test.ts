import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { auditRun } from '../../demo/audit.ts'
import { inspectModel } from '../../gpu-worker/engine/index.ts'
import type { RunRequest } from '../../shared/api/index.ts'
import { replay, stateHash } from '../../shared/zo/index.ts'
import { zooModels } from '../models/zoo.ts'
import { SITES, Stage } from './harness.ts'

/** Causal language modelling in every space that the API takes, over real processes and through two stages. */
const model = zooModels().find(({ name }) => name === 'llama-causal-dynamo-23')!
const { sites, weights } = await inspectModel(model.dir)
const lines = (site: string) =>
  Array.from({ length: 40 }, (_, i) => ({ prompt: `${site} ${i}: a b c`, completion: ` d e ${'f'.repeat(i % 5)}` }))

const lora = (trained: 'factor' | 'core'): RunRequest['space'] => ({
  kind: 'lora',
  rank: 2,
  trained,
  sites: sites.map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: 0.1 })),
})
const full = (directions: Extract<RunRequest['space'], { kind: 'full' }>['directions']): RunRequest['space'] => ({
  kind: 'full',
  directions,
  tensors: weights.map(({ name, shape }) => ({ name, shape: [...shape] })),
})

describe('a run of a causal model', () => {
  const stage = new Stage()
  let id: string

  beforeAll(async () => {
    await stage.startCoordinator()
    for (const site of SITES) {
      await stage.addSite(site, { records: lines(site), budget: { epsilon: 100, delta: 1e-5 } })
      stage.startWorker(site)
    }
    id = await stage.client.uploadModel(model.dir)
  })
  afterAll(() => stage.close())

  it.each([
    ['factors', lora('factor')],
    ['cores', lora('core')],
    ['whole weights under dense directions', full({ kind: 'dense' })],
    ['whole weights under low-rank directions', full({ kind: 'low-rank', rank: 2 })],
  ])('trains %s, and the log replays to the state that every worker computed', async (_, space) => {
    const part = { learningRate: 0.01, radius: 0.01, directions: 2, clip: 0.5, samplingRate: 0.3 }
    const rest = { prox: 0.1, lossShare: 0.2, lossBound: 5, rounds: 2 }
    const request: RunRequest = {
      model: id,
      task: {
        kind: 'causal-lm',
        format: 'completion',
        appendEnd: true,
        maxTokens: 32,
        maxCompletionTokens: 8,
        buckets: [16, 32],
      },
      space,
      stages: [
        { ...part, ...rest },
        { ...part, ...rest },
      ],
      datasets: [...SITES],
      budget: { epsilon: 20, delta: 1e-5 },
      deadlineSeconds: 120,
      leaseSeconds: 60,
    }
    const run = await stage.finish((await stage.client.createRun(request)).id)
    expect(run.state).toBe('completed')
    const { records } = await auditRun(stage.client, run.id)
    const closes = records.filter((record) => record.type === 'close')
    expect(closes).toHaveLength(4)
    const { state } = replay(run.spec, closes)
    expect(stateHash(state)).toBe(run.stateHash)
    expect(state.current.some((value) => value !== 0)).toBe(true)
    expect(stage.processes.map(({ output }) => output()).join('')).not.toMatch(/units_left_out/)

    const bytes = Buffer.from(await stage.client.download(run.adapter!.url))
    const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString('utf8'))
    const names = Object.keys(header).filter((name) => name !== '__metadata__')
    const perStage = space.kind === 'lora' ? sites.length * (space.trained === 'core' ? 1 : 2) : weights.length
    expect(names).toHaveLength(2 * perStage)
  })
})
