import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { auditRun } from '../../demo/audit.ts'
import { inspectModel } from '../../gpu-worker/engine/index.ts'
import type { RunRequest, SpaceRequest } from '../../shared/api/index.ts'
import { resolvedSpec } from '../../shared/ledger/index.ts'
import { maskHash, maskOf, replay, stateHash, withFactors } from '../../shared/zo/index.ts'
import { zooModels } from '../models/zoo.ts'
import { SITES, Stage } from './harness.ts'

/** Causal language modelling in every space that the API takes, over real processes and through two stages. */
const model = zooModels().find(({ name }) => name === 'llama-causal-dynamo-23')!
const { sites, weights } = await inspectModel(model.dir)
const lines = (site: string) =>
  Array.from({ length: 40 }, (_, i) => ({ prompt: `${site} ${i}: a b c`, completion: ` d e ${'f'.repeat(i % 5)}` }))

const lora = (trained: 'factor' | 'core'): SpaceRequest => ({
  kind: 'lora',
  rank: 2,
  trained,
  sites: sites.map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: 0.1 })),
})
const full = (directions: Extract<SpaceRequest, { kind: 'full' }>['directions']): SpaceRequest => ({
  kind: 'full',
  directions,
  tensors: weights.map(({ name, shape }) => ({ name, shape: [...shape] })),
})

/** A folder with the model and a mask beside it, which keeps every seventh entry. */
const folder = mkdtempSync(join(tmpdir(), 'sotto-masked-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const tensors = weights.map(({ name, shape }) => ({ name, shape: [...shape] }))
const kept = weights.map(({ parameters }) => Array.from({ length: Math.ceil(parameters / 7) }, (_, i) => 7 * i))
const mask = maskOf(kept, tensors)
cpSync(model.dir, folder, { recursive: true })
mkdirSync(join(folder, 'masks'))
writeFileSync(join(folder, 'masks', 'seventh.bin'), mask)
/** The same entries, each with a factor. */
const factors = Float32Array.from({ length: kept.flat().length }, (_, i) => (51 + (i % 27)) / 64)
const weightedMask = withFactors(mask, factors)
writeFileSync(join(folder, 'masks', 'weighted.bin'), weightedMask)

/** Three doubling stages in a pruned space. */
const zopo = () => ({
  space: {
    kind: 'pruned' as const,
    mask: maskHash(mask),
    tensors: tensors.map((tensor, at) => ({ ...tensor, kept: kept[at]!.length })),
  },
  preset: { name: 'dp-zopo' as const, samplingRate: 0.3, rounds: 4, stages: 2, clip: 0.5, learningRate: 0.01 },
})
const weighted = () => {
  const { space, preset } = zopo()
  return { preset, space: { ...space, mask: maskHash(weightedMask), weighted: true } }
}
const oneSided: Partial<RunRequest> = {
  sides: 'one',
  stages: [
    { rounds: 2, learningRate: 0.01, radius: 0.01, directions: 3, clip: 0.5, samplingRate: 0.3, momentum: 0.9 },
    {
      ...{ rounds: 2, learningRate: 0.01, radius: 0.01, directions: 2, clip: 0.5, samplingRate: 0.3 },
      ...{ average: true, normalise: true, space: { ...lora('factor'), rank: 1 } as SpaceRequest },
    },
  ],
}
const laplace: Partial<RunRequest> = { noise: 'laplace', clipping: 'per-direction', aggregation: { rule: 'median' } }

describe('a run of a causal model', () => {
  const stage = new Stage()
  let id: string

  beforeAll(async () => {
    await stage.startCoordinator()
    for (const site of SITES) {
      await stage.addSite(site, { records: lines(site), budget: { epsilon: 100, delta: 1e-5 } })
      stage.startWorker(site)
    }
    id = await stage.client.uploadModel(folder)
  })
  afterAll(() => stage.close())

  const part = { learningRate: 0.01, radius: 0.01, directions: 2, clip: 0.5, samplingRate: 0.3 }
  const own = { ...part, prox: 0.1, lossShare: 0.2, lossBound: 5, clipShare: 0.1, rounds: 2 }
  const ofTwo = (space: SpaceRequest, more: Partial<RunRequest> = {}) => ({ space, stages: [own, own], ...more })

  it.each<[string, Pick<RunRequest, 'space'> & Partial<RunRequest>]>([
    ['factors', ofTwo(lora('factor'))],
    ['cores', ofTwo(lora('core'))],
    ['cores between bases of the seed', ofTwo({ ...lora('core'), bases: 'seeded' } as SpaceRequest)],
    ['whole weights under dense directions', ofTwo(full({ kind: 'dense' }))],
    ['whole weights under low-rank directions', ofTwo(full({ kind: 'low-rank', rank: 2 }))],
    ['chosen entries of weights, by the preset dp-zopo', zopo()],
    ['chosen entries of weights, each by its factor', weighted()],
    ['factors from one side, with momentum, averages and another rank', ofTwo(lora('factor'), oneSided)],
    ['factors under Laplace noise, the median over sites', ofTwo(lora('factor'), laplace)],
  ])('trains %s, and the log replays to the state that every worker computed', async (_, asked) => {
    const { space } = asked
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
      datasets: [...SITES],
      budget: { epsilon: 20, delta: 1e-5 },
      deadlineSeconds: 120,
      leaseSeconds: 60,
      ...asked,
    }
    const run = await stage.finish((await stage.client.createRun(request)).id)
    expect(run.state).toBe('completed')
    const { records } = await auditRun(stage.client, run.id)
    const closes = records.filter((record) => record.type === 'close')
    expect(closes).toHaveLength(4)
    expect(closes.map(({ clippedShare }) => clippedShare !== undefined)).toEqual(
      run.spec.stages.flatMap(({ clipShare, rounds }) => Array(rounds).fill(clipShare > 0)),
    )
    if (space.kind === 'pruned') expect(run.spec.stages.map(({ rounds }) => rounds)).toEqual([1, 3])
    const { state } = replay(resolvedSpec(run.spec, records), closes)
    expect(stateHash(state)).toBe(run.stateHash)
    expect(state.current.some((value) => value !== 0)).toBe(true)
    expect(stage.processes.map(({ output }) => output()).join('')).not.toMatch(/units_left_out/)

    const bytes = Buffer.from(await stage.client.download(run.adapter!.url))
    const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString('utf8'))
    const names = Object.keys(header).filter((name) => name !== '__metadata__')
    const perStage = space.kind === 'lora' ? sites.length * (space.trained === 'core' ? 1 : 2) : weights.length
    expect(names).toHaveLength(2 * perStage)
  })

  it.each([
    ['lies where no worker looks', 'seventh.bin', mask],
    ['has another length than its tensors', 'masks/short.bin', mask.subarray(1)],
    ['has factors that the space does not want', 'masks/long.bin', weightedMask],
  ])('is refused before anything is spent where its mask %s', async (_, path, bytes) => {
    const other = mkdtempSync(join(tmpdir(), 'sotto-masked-'))
    cpSync(model.dir, other, { recursive: true })
    mkdirSync(join(other, 'masks'))
    writeFileSync(join(other, path), bytes)
    const { space, preset } = zopo()
    const uploaded = await stage.client.uploadModel(other)
    rmSync(other, { recursive: true })
    const task = {
      kind: 'causal-lm' as const,
      format: 'completion' as const,
      maxTokens: 32,
      maxCompletionTokens: 8,
      buckets: [32],
    }
    const asked = { space: { ...space, mask: maskHash(new Uint8Array(bytes)) }, preset }
    const request = { ...asked, model: uploaded, task, datasets: [...SITES], budget: { epsilon: 20, delta: 1e-5 } }
    await expect(stage.client.createRun(request)).rejects.toThrow(/bad_request/)
  })
})
