import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { describe, expect, it } from 'vitest'
import { frozenFactor, type LoraSpace, type Perturbation } from '../../../shared/zo/index.ts'
import { CALL_LIMITS } from '../device/index.ts'
import { Model } from '../evaluate/model.ts'
import { EngineError, inspectModel, openEngine } from '../index.ts'
import {
  AttributeProtoSchema,
  TensorProto_DataLocation as DataLocation,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  StringStringEntryProtoSchema,
  TensorProtoSchema,
} from '../onnx/onnx_pb.ts'
import { loadRuntime } from '../ort.ts'
import type { Graph } from './graph.ts'
import type { Lead } from './split.ts'
import { type StageGraphs, stageGraphs } from './stage.ts'

const modelDir = new URL('../../../demo/model/spam-encoder', import.meta.url).pathname
const seed = '0123456789abcdef'
const TOKENS = 48
const { sites } = await inspectModel(modelDir)

const spaceOf = (names: RegExp): LoraSpace => ({
  kind: 'lora',
  rank: 2,
  trained: 'factor',
  sites: sites.filter(({ name }) => names.test(name)).map((site) => ({ ...site, scale: 0.1 })),
})

/** A copy of the model folder whose graph was changed. */
function changed(change: (model: ModelProto, folder: string) => void): string {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-model-'))
  cpSync(modelDir, folder, { recursive: true })
  const path = join(folder, 'onnx/model.onnx')
  const model = fromBinary(ModelProtoSchema, readFileSync(path))
  change(model, join(folder, 'onnx'))
  writeFileSync(path, toBinary(ModelProtoSchema, model))
  return folder
}

async function graphsOf(names: RegExp, lead: Lead = 'groups'): Promise<StageGraphs> {
  const space = spaceOf(names)
  const setup = {
    modelDir,
    variant: undefined,
    outputs: { kind: 'rows', tokens: [10, 20] },
    positions: new Map([[TOKENS, 1]]),
    space,
    mask: undefined,
    seed,
    padToken: 0,
    cacheBytes: 0,
    device: 'cpu',
    keepsHalves: false,
    limits: { call: CALL_LIMITS.cpu, buckets: 4 },
  } as const
  const model = new Model(await loadRuntime(), setup)
  const frozen = space.sites.map(({ scale }, index) => {
    return { index, values: frozenFactor(seed, { stage: 0, site: index }, space), rank: space.rank, scale, earlier: [] }
  })
  const made = { trained: { kind: 'factors', space, frozen }, lead, size: { tokens: TOKENS, positions: 1 } } as const
  return stageGraphs(model.graph, made, await model.probe(TOKENS))
}

/** Names of MatMul nodes with a constant operand, by whether they run at all positions or at one. */
function products(graph: Graph): { all: string[]; one: string[] } {
  const isProduct = ({ opType }: NodeProto) => opType === 'MatMul' || opType === 'Gemm'
  const found = graph.nodes.filter((node) => isProduct(node) && graph.constants.has(node.input[1]!))
  const short = (name: string): string =>
    name
      .replace(/^.*layer\./, '')
      .replace(/^\/cls\//, '')
      .replace('/MatMul', '')
  const atOne = (output: string): boolean => graph.dimsOf(output).at(-2) === 1
  const model = found.filter(({ name }) => !name.startsWith('sotto.'))
  return {
    all: model.filter((node) => !atOne(node.output[0]!)).map(({ name }) => short(name)),
    one: model.filter((node) => atOne(node.output[0]!)).map(({ name }) => short(name)),
  }
}

describe('the cut', () => {
  it('leaves to the groups what comes behind the last layer’s keys and values, at the mask alone', async () => {
    const { prefix, tail } = await graphsOf(/^layer\.2\.|^head/)
    expect(products(tail)).toEqual({
      all: [],
      one: ['2/attention/output/dense', '2/intermediate/dense', '2/output/dense', 'predictions/transform/dense'],
    })
    expect(products(prefix).all.filter((name) => name.startsWith('2/'))).toEqual([
      '2/attention/self/key',
      '2/attention/self/value',
    ])
    expect(products(prefix).one).toEqual(['2/attention/self/query'])
  })

  it('makes no keys and values for each group, only scores', async () => {
    const { tail, member } = await graphsOf(/^layer\.2\.|^head/)
    const scores = [1, 4, 1, TOKENS]
    expect(member.elements).toBeLessThanOrEqual(512)
    expect(tail.nodes.filter((node) => tail.dimsOf(node.output[0]!).join() === scores.join())).not.toEqual([])
  })

  it('leaves the groups nothing of the layers where the head alone is trained', async () => {
    const { prefix, tail, boundary } = await graphsOf(/^head/)
    expect(products(tail)).toEqual({ all: [], one: [] })
    expect(products(prefix).one).toContain('2/intermediate/dense')
    expect(boundary.map((name) => prefix.dimsOf(name))).toEqual([
      [1, 1, 128],
      [1, 1, 128],
    ])
  })

  it('runs the first trained product once for all groups', async () => {
    const { prefix, factors } = await graphsOf(/^layer\.1\./)
    expect(factors.map(({ layout }) => layout)).toEqual(['wide', 'stacked', 'stacked', 'stacked'])
    expect(products(prefix).all).toContain('1/attention/self/query')
  })

  it('has no shape arithmetic left', async () => {
    const { prefix, tail } = await graphsOf(/^layer\.2\./)
    const operations = new Set([...prefix.nodes, ...tail.nodes].map(({ opType }) => opType))
    expect(['Shape', 'Range', 'Expand', 'ConstantOfShape', 'Constant'].filter((op) => operations.has(op))).toEqual([])
  })
})

describe('sites', () => {
  it('are named and measured in the order of the forward pass', () => {
    expect(sites.map(({ name, inputs, outputs }) => `${name} ${inputs}x${outputs}`).slice(-5)).toEqual([
      'layer.2.attention.qkv 128x384',
      'layer.2.attention.output 128x128',
      'layer.2.ffn.up 128x512',
      'layer.2.ffn.down 512x128',
      'head.transform 128x128',
    ])
    expect(sites).toHaveLength(13)
  })

  it('are counted with the model’s sizes', async () => {
    expect(await inspectModel(modelDir)).toMatchObject({ hidden: 128, layers: 3, vocabulary: 6144 })
  })
})

const task = {
  kind: 'prompt-classification' as const,
  template: 'about {mask} : {text}',
  labels: { ham: 'work', spam: 'money' },
  maxTokens: 32,
  buckets: [32],
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof EngineError)) throw new Error('an EngineError was expected', { cause: error })
  return error.code
}

/** A point and nothing around it. */
const at = (center: Float32Array): Perturbation => ({ center, round: 0, directions: 0, radius: 1, sides: 'one' })

describe('a model that does not fit', () => {
  const open = (folder: string, space = spaceOf(/^head/)) => openEngine({ modelDir: folder, task, space, seed })

  it('is refused where its file is missing', async () => {
    const folder = changed((_, onnx) => rmSync(join(onnx, 'model.onnx')))
    rmSync(join(folder, 'onnx/model.onnx'))
    expect(await codeOf(open(folder))).toBe('missing_model_file')
    expect(await codeOf(inspectModel(folder))).toBe('missing_model_file')
  })

  it('is refused where its file is none', async () => {
    const folder = changed(() => {})
    writeFileSync(join(folder, 'onnx/model.onnx'), 'not a model')
    expect(await codeOf(inspectModel(folder))).toBe('malformed_model')
  })

  it('is refused where a site is unknown or of another size', async () => {
    const [site] = spaceOf(/^head/).sites as [LoraSpace['sites'][number]]
    const withSite = (change: Partial<typeof site>): LoraSpace => ({
      kind: 'lora',
      rank: 2,
      trained: 'factor',
      sites: [{ ...site, ...change }],
    })
    expect(await codeOf(open(modelDir, withSite({ name: 'layer.9.ffn.up' })))).toBe('unknown_site')
    expect(await codeOf(open(modelDir, withSite({ outputs: 64 })))).toBe('site_mismatch')
  })

  it('fails factors of another length, stages out of order, and calls after the end', async () => {
    const engine = await open(modelDir)
    const record = engine.encode({ text: 'a', label: 'ham' })
    expect(await codeOf(engine.losses([record], at(new Float32Array(3))))).toBe('wrong_length')
    expect(await codeOf(engine.setStage(2, [new Float32Array(engine.dimension)]))).toBe('wrong_stage')
    expect(await engine.losses([], at(new Float32Array(engine.dimension)))).toHaveLength(0)
    await engine.close()
    await engine.close()
    expect(await codeOf(engine.losses([record], at(new Float32Array(engine.dimension))))).toBe('closed')
  })
})

/** Moves every weight of more than 1000 bytes into model.onnx_data. */
function withDataFile(location: string): string {
  return changed((model, folder) => {
    mkdirSync(folder, { recursive: true })
    const parts: Uint8Array[] = []
    let offset = 0
    for (const tensor of model.graph!.initializer.filter(({ rawData }) => rawData.length > 1000)) {
      const entries = { location, offset, length: tensor.rawData.length }
      tensor.externalData = Object.entries(entries).map(([key, value]) =>
        create(StringStringEntryProtoSchema, { key, value: String(value) }),
      )
      tensor.dataLocation = DataLocation.EXTERNAL
      parts.push(tensor.rawData)
      offset += tensor.rawData.length
      tensor.rawData = new Uint8Array()
    }
    writeFileSync(join(folder, 'model.onnx_data'), Buffer.concat(parts))
  })
}

describe('weights in a data file', () => {
  it('give the same bits', async () => {
    const losses = []
    for (const folder of [modelDir, withDataFile('model.onnx_data')]) {
      const engine = await openEngine({ modelDir: folder, task, space: spaceOf(/^layer\.1\./), seed })
      const factor = new Float32Array(engine.dimension).fill(0.1)
      losses.push(await engine.losses([engine.encode({ text: 'free money', label: 'ham' })], at(factor)))
      await engine.close()
    }
    expect(losses[0]).toEqual(losses[1])
  })

  it('are only read inside the model’s folder', async () => {
    const open = (location: string) =>
      openEngine({ modelDir: withDataFile(location), task, space: spaceOf(/^head/), seed })
    expect(await codeOf(open('../../outside'))).toBe('malformed_model')
    expect(await codeOf(open('absent_data'))).toBe('missing_model_file')
  })
})

describe('a tensor inside a node', () => {
  it('may not name a file', async () => {
    const folder = changed((model) => {
      const node = model.graph!.node.find(({ opType }) => opType !== 'Constant')!
      const entry = create(StringStringEntryProtoSchema, { key: 'location', value: 'model.onnx' })
      const t = create(TensorProtoSchema, {
        dims: [1n],
        dataType: 1,
        externalData: [entry],
        dataLocation: DataLocation.EXTERNAL,
      })
      node.attribute.push(create(AttributeProtoSchema, { name: 'value', t }))
    })
    expect(await codeOf(openEngine({ modelDir: folder, task, space: spaceOf(/^head/), seed }))).toBe(
      'unsupported_graph',
    )
  })
})

describe('the event loop', () => {
  it('stays free while losses are computed', async () => {
    const engine = await openEngine({ modelDir, task, space: spaceOf(/./), seed })
    const center = new Float32Array(engine.dimension)
    const records = Array.from({ length: 20 }, () => engine.encode({ text: 'free money', label: 'ham' }))
    let ticks = 0
    const timer = setInterval(() => ticks++, 1)
    await engine.losses(records, { center, round: 0, directions: 32, radius: 0.1, sides: 'two' })
    clearInterval(timer)
    expect(ticks).toBeGreaterThan(20)
    await engine.close()
  })
})
