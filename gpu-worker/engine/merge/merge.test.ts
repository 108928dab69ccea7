import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { readSafetensors } from '../../../cli/adapter/safetensors.ts'
import {
  adapterFile,
  elementsOf,
  type FullSpace,
  type LoraSpace,
  maskHash,
  prunedBy,
  type Space,
  type Stage,
  spaceDimension,
} from '../../../shared/zo/index.ts'
import { type ZooModel, zooModels } from '../../../test/models/zoo.ts'
import { SEED, setupOf, workerLosses } from '../../../test/models/zoo-evaluators.ts'
import { lossesOf as rawLosses } from '../../../test/models/zoo-sessions.ts'
import { Model } from '../evaluate/model.ts'
import { findHead } from '../graph/head.ts'
import { findSites } from '../graph/sites.ts'
import { findWeights } from '../graph/weights.ts'
import { loadRuntime } from '../ort.ts'
import { mergedWeights, writeMerged } from './index.ts'

/** What an adapter is merged into, in every space and of every way to export: the same model as the worker has. */

const TOLERANCE = 1e-4
const runtime = await loadRuntime()
const folder = mkdtempSync(join(tmpdir(), 'sotto-merge-'))
afterAll(() => rmSync(folder, { recursive: true }))

interface Trained {
  readonly spaces: readonly Space[]
  readonly masks: readonly (Uint8Array | undefined)[]
  readonly vectors: readonly Float32Array[]
}

const NOTHING: Space = { kind: 'full', directions: { kind: 'dense' }, tensors: [] }
const waveOf = (space: Space, phase: number, size = 0.03) =>
  Float32Array.from({ length: spaceDimension(space) }, (_, i) => Math.sin(i * i + phase) * size)

const stagesOf = ({ spaces, masks, vectors }: Trained) =>
  spaces.map((space, i) => ({ space, mask: masks[i], trained: vectors[i]! }))

function adapterOf({ spaces, vectors }: Trained) {
  const stages = spaces.map((space) => ({ rounds: 1, space }) as unknown as Stage)
  const resolved = { seed: SEED, space: spaces[0]!, stages }
  const state = { stage: vectors.length - 1, finished: vectors.slice(0, -1), current: vectors.at(-1)! }
  return readSafetensors(adapterFile({ id: 'run-0', resolved, specHash: 'a'.repeat(64) }, state), 'the adapter')
}

/** Losses of the exported graph, read as anybody reads it. */
async function exportedLosses(model: ZooModel, output: string): Promise<number[]> {
  const session = await runtime.InferenceSession.create(join(output, 'onnx/model.onnx'), { logSeverityLevel: 3 })
  const losses: number[] = []
  for (const record of model.expected.records) losses.push(...(await rawLosses(session, [record], model.expected.pad)))
  await session.release()
  return losses
}

let made = 0
async function expectMerged(model: ZooModel, trained: Trained, modelDir = model.dir): Promise<void> {
  const output = join(folder, `${model.name}-${made++}`)
  writeMerged(modelDir, mergedWeights(modelDir, adapterOf(trained)), { output })
  const wanted = await workerLosses(runtime, model, stagesOf(trained))
  const got = await exportedLosses(model, output)
  for (const [i, loss] of wanted.entries()) expect(Math.abs(got[i]! - loss)).toBeLessThan(TOLERANCE * Math.max(1, loss))
  // It does something.
  const moved = model.expected.records.map(({ loss }, i) => Math.abs(loss - got[i]!))
  expect(Math.max(...moved)).toBeGreaterThan(1e-2)
  expect(readdirSync(output).filter((name) => ['masks', 'evaluation'].includes(name))).toEqual([])
  expect(existsSync(join(output, 'config.json'))).toBe(true)
}

describe.each(zooModels().map((model) => [model.name, model] as const))('an adapter merged into %s', (_, model) => {
  const { graph } = new Model(runtime, setupOf(model, [{ space: NOTHING, mask: undefined }]))
  const sites = findSites(graph, findHead(graph)?.product.node).map(({ name, inputs, outputs }, i) => {
    return { name, inputs, outputs, scale: 0.5 + i / 10 }
  })
  const tensors = findWeights(graph).map(({ name, shape }) => ({ name, shape }))
  const none = (count: number) => Array<undefined>(count).fill(undefined)

  it('of factors, two stages of unlike rank', async () => {
    const spaces: LoraSpace[] = [2, 3].map((rank) => ({ kind: 'lora', rank, trained: 'factor', sites }))
    await expectMerged(model, { spaces, masks: none(2), vectors: spaces.map((space, i) => waveOf(space, i)) })
  })

  it.each(['singular', 'seeded'] as const)('of cores between %s bases', async (bases) => {
    const space: LoraSpace = { kind: 'lora', rank: 3, trained: 'core', bases, sites }
    const vectors = [waveOf(space, 1, 0.4), waveOf(space, 2, 0.4)]
    await expectMerged(model, { spaces: [space, space], masks: none(2), vectors })
  })

  it('of whole weights', async () => {
    const space: FullSpace = { kind: 'full', directions: { kind: 'dense' }, tensors }
    await expectMerged(model, { spaces: [space, space], masks: none(2), vectors: [waveOf(space, 1), waveOf(space, 2)] })
  })

  it.each([false, true])('of what a mask keeps, weighted: %s', async (weighted) => {
    const scores = tensors.map((tensor) => Float32Array.from({ length: elementsOf(tensor) }, (_, i) => Math.cos(i)))
    const how = { keep: 0.3, order: 'highest', scope: 'layer', weighted } as const
    const { mask, space } = prunedBy(scores, tensors, how)
    expect(maskHash(mask)).toBe(space.mask)
    const trained = { spaces: [space], masks: [mask], vectors: [waveOf(space, 1, 0.1)] }
    await expect(expectMerged(model, trained)).rejects.toMatchObject({ code: 'wrong_mask' })
    const modelDir = join(folder, `${model.name}-masked-${weighted}`)
    cpSync(model.dir, modelDir, { recursive: true })
    mkdirSync(join(modelDir, 'masks'))
    writeFileSync(join(modelDir, 'masks/mask.bin'), mask)
    await expectMerged(model, trained, modelDir)
  })
})

describe('what can not be merged', () => {
  const [model] = zooModels() as [ZooModel]
  const adapter = (format: string, tensors: [string, { shape: number[]; data: Float32Array }][]) => {
    return { tensors: new Map(tensors), metadata: { format } }
  }
  const factor = { shape: [1, 1], data: new Float32Array(1) }
  it.each([
    ['a steering vector', adapter('sotto-steering-v1', []), 'unsupported_graph'],
    ['another format', adapter('another', []), 'malformed_model'],
    ['a site of another model', adapter('sotto-lora-v1', [['layer.9.ffn.up.stage0.A', factor]]), 'unknown_site'],
    ['a weight of another model', adapter('sotto-delta-v1', [['other.stage0.delta', factor]]), 'unknown_site'],
    ['a tensor of no stage', adapter('sotto-delta-v1', [['other', factor]]), 'malformed_model'],
  ])('%s is refused', (_, given, code) => {
    expect(() => mergedWeights(model.dir, given)).toThrow(expect.objectContaining({ code }))
  })

  it('a quantised weight is refused, and its site is named', () => {
    const quantised = zooModels().find(({ expected }) => expected.variants.some(({ kind }) => kind === 'q4'))!
    const { graph } = new Model(runtime, setupOf(quantised, [{ space: NOTHING, mask: undefined }]))
    const { name, inputs, outputs } = findSites(graph, findHead(graph)?.product.node)[0]!
    const space: LoraSpace = { kind: 'lora', rank: 1, trained: 'factor', sites: [{ name, inputs, outputs, scale: 1 }] }
    const given = adapterOf({ spaces: [space], masks: [undefined], vectors: [waveOf(space, 1)] })
    expect(() => mergedWeights(quantised.dir, given, 'q4')).toThrow(
      expect.objectContaining({ code: 'unsupported_graph', message: expect.stringContaining(name) }),
    )
  })

  it('weights beside the file that are a link are copied, and what it leads to stays as it is', async () => {
    const beside = zooModels().find(({ external }) => external !== null)!
    const linked = join(folder, 'linked')
    cpSync(beside.dir, linked, { recursive: true })
    const data = join(linked, 'onnx', beside.external!)
    const blob = join(folder, 'blob')
    renameSync(data, blob)
    symlinkSync(blob, data)
    const before = readFileSync(blob)
    const { graph } = new Model(runtime, setupOf(beside, [{ space: NOTHING, mask: undefined }]))
    const { name, inputs, outputs } = findSites(graph, findHead(graph)?.product.node)[0]!
    const space: LoraSpace = { kind: 'lora', rank: 1, trained: 'factor', sites: [{ name, inputs, outputs, scale: 1 }] }
    const given = adapterOf({ spaces: [space], masks: [undefined], vectors: [waveOf(space, 1)] })
    const output = join(folder, 'of-links')
    writeMerged(linked, mergedWeights(linked, given), { output })
    const written = join(output, 'onnx', beside.external!)
    expect(lstatSync(written).isSymbolicLink()).toBe(false)
    expect(readFileSync(blob)).toEqual(before)
    expect(readFileSync(written)).not.toEqual(before)
  })

  it('half precision is kept, and rounds what is merged', async () => {
    const half = zooModels().find(({ expected }) => expected.variants.some(({ kind }) => kind === 'fp16'))!
    const { graph } = new Model(runtime, setupOf(half, [{ space: NOTHING, mask: undefined }]))
    const sites = findSites(graph, findHead(graph)?.product.node)
    const space: LoraSpace = {
      kind: 'lora',
      rank: 2,
      trained: 'factor',
      sites: sites.map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: 1 })),
    }
    const given = adapterOf({ spaces: [space], masks: [undefined], vectors: [waveOf(space, 1)] })
    const output = join(folder, 'half')
    const merged = mergedWeights(half.dir, given, 'fp16')
    writeMerged(half.dir, merged, { output, variant: 'fp16' })
    const read = mergedWeights(output, { tensors: new Map(), metadata: { format: 'sotto-delta-v1' } }, 'fp16')
    expect(read).toEqual([])
    expect(merged.every(({ isHalf }) => isHalf)).toBe(true)
    const again = mergedWeights(output, given, 'fp16')
    for (const [i, { base }] of again.entries())
      expect(base).toEqual(Float32Array.from(Float16Array.from(merged[i]!.merged)))
  })
})
