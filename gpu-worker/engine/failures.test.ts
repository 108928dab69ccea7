import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { afterAll, describe, expect, it } from 'vitest'
import type { LoraSpace } from '../../shared/zo/index.ts'
import { zooModels } from '../../test/models/zoo.ts'
import { runFailure, sessionFailure } from './evaluate/failure.ts'
import { type Engine, EngineError, inspectModel, openEngine } from './index.ts'
import { type ModelProto, ModelProtoSchema } from './onnx/onnx_pb.ts'

/** What can be wrong with what a user brings: each has a code, and a message that says what to do. */
const seed = '0123456789abcdef'
const dirOf = (name: string): string => zooModels().find((model) => model.name === name)!.dir
const INSIDE = dirOf('bert-classes-dynamo-23')
const OUTSIDE = dirOf('qwen2-causal-legacy-17')
const root = mkdtempSync(join(tmpdir(), 'sotto-failures-'))
afterAll(() => rmSync(root, { recursive: true }))

let copies = 0
function copyOf(dir: string): string {
  const folder = join(root, String(copies++))
  cpSync(dir, folder, { recursive: true })
  return folder
}

function changed(dir: string, change: (model: ModelProto) => void): string {
  const folder = copyOf(dir)
  const path = join(folder, 'onnx/model.onnx')
  const model = fromBinary(ModelProtoSchema, readFileSync(path))
  change(model)
  writeFileSync(path, toBinary(ModelProtoSchema, model))
  return folder
}

async function spaceOf(dir: string): Promise<LoraSpace> {
  const { sites } = await inspectModel(dir)
  return { kind: 'lora', rank: 1, trained: 'factor', sites: sites.slice(0, 1).map((site) => ({ ...site, scale: 1 })) }
}

const classification = (tokens: number) => ({
  kind: 'sequence-classification' as const,
  labels: { a: 0, b: 1 },
  maxTokens: tokens,
  buckets: [tokens],
})
const causal = {
  kind: 'causal-lm' as const,
  format: 'completion' as const,
  appendEnd: false,
  maxTokens: 16,
  maxCompletionTokens: 8,
  buckets: [16],
}

async function refusal(action: () => Promise<unknown>): Promise<EngineError> {
  let closing: unknown
  try {
    closing = await action()
  } catch (error) {
    if (error instanceof EngineError) return error
    throw error
  }
  await (closing as Engine | undefined)?.close?.()
  throw new Error('nothing was refused')
}

describe('a model file', () => {
  it('that was cut short is refused: copy it again', async () => {
    const folder = copyOf(INSIDE)
    truncateSync(join(folder, 'onnx/model.onnx'), 30_000)
    const { code, message } = await refusal(() => inspectModel(folder))
    expect(code).toBe('malformed_model')
    expect(message).toMatch(/copy|export/)
  })

  it('whose data file was cut short is refused: copy it again', async () => {
    const folder = copyOf(OUTSIDE)
    truncateSync(join(folder, 'onnx/model.onnx_data'), 5000)
    const { code, message } = await refusal(() => inspectModel(folder))
    expect(code).toBe('malformed_model')
    expect(message).toMatch(/model\.onnx_data is not whole, copy it again/)
  })

  it('whose data file is missing is refused, and the file named', async () => {
    const folder = copyOf(OUTSIDE)
    rmSync(join(folder, 'onnx/model.onnx_data'))
    const { code, message } = await refusal(() => inspectModel(folder))
    expect(code).toBe('missing_model_file')
    expect(message).toMatch(/model\.onnx_data.*copy it beside/)
  })

  it.each([7, 10, 24, 99])('of opset %i is refused, and the range said', async (version) => {
    const folder = changed(INSIDE, (model) => {
      for (const opset of model.opsetImport) if (opset.domain === '') opset.version = BigInt(version)
    })
    const { code, message } = await refusal(async () =>
      openEngine({ modelDir: folder, task: classification(16), space: await spaceOf(INSIDE), seed }),
    )
    expect(code).toBe('unsupported_graph')
    expect(message).toMatch(/11.*23/)
  })

  it('with an operator that nobody knows is refused, and the node named', async () => {
    const folder = changed(INSIDE, (model) => {
      const node = model.graph!.node.find(({ opType }) => opType === 'Tanh')!
      node.opType = 'Mystery'
      node.name = 'the/odd/node'
    })
    const opened = openEngine({ modelDir: folder, task: classification(16), space: await spaceOf(INSIDE), seed })
    const { code, message } = await refusal(async () => {
      const engine = await opened
      try {
        await engine.warm({ directions: 1, sides: 'two' })
      } finally {
        await engine.close()
      }
    })
    expect(code).toBe('unsupported_graph')
    expect(message).toMatch(/the\/odd\/node|Mystery/)
  })
})

describe('lengths and tokens', () => {
  it('longer than the positions that config.json states are refused when the model is opened', async () => {
    const space = await spaceOf(INSIDE)
    const { code, message } = await refusal(() =>
      openEngine({ modelDir: INSIDE, task: classification(128), space, seed }),
    )
    expect(code).toBe('bucket_too_long')
    expect(message).toMatch(/64 positions.*128/)
  })

  it('longer than the graph has, where config.json says nothing, are told when it is warmed', async () => {
    const folder = copyOf(INSIDE)
    const path = join(folder, 'config.json')
    const { max_position_embeddings: _, ...config } = JSON.parse(readFileSync(path, 'utf8'))
    writeFileSync(path, JSON.stringify(config))
    const engine = await openEngine({
      modelDir: folder,
      task: classification(128),
      space: await spaceOf(INSIDE),
      seed,
    })
    const { code, message } = await refusal(() => engine.warm({ directions: 1, sides: 'two' }))
    await engine.close()
    expect(code).toBe('runtime_failed')
    expect(message).toMatch(/128 tokens/)
  })

  it('beyond the vocabulary that config.json states are refused when the model is opened', async () => {
    const folder = copyOf(OUTSIDE)
    const path = join(folder, 'config.json')
    const config = JSON.parse(readFileSync(path, 'utf8'))
    writeFileSync(path, JSON.stringify({ ...config, vocab_size: 10 }))
    const { code } = await refusal(async () =>
      openEngine({ modelDir: folder, task: causal, space: await spaceOf(OUTSIDE), seed }),
    )
    expect(code).toBe('token_out_of_range')
  })

  it('beyond the table of the graph end nothing but the call, and say no value', async () => {
    const engine = await openEngine({ modelDir: OUTSIDE, task: causal, space: await spaceOf(OUTSIDE), seed })
    const good = engine.encode({ prompt: 'a', completion: ' b' })
    const at = {
      center: new Float32Array(engine.dimension),
      round: 0,
      directions: 1,
      radius: 0.1,
      sides: 'two',
    } as const
    const odd = { ...good, ids: Int32Array.from(good.ids, () => 54_321) }
    const { code, message } = await refusal(() => engine.losses([odd], at))
    expect(code).toBe('runtime_failed')
    expect(message).not.toMatch(/54/)
    expect(await engine.losses([good], at)).toHaveLength(2)
    await engine.close()
  })
})

describe('what the runtime says', () => {
  it.each([
    ['out_of_memory', 'std::bad_alloc'],
    ['out_of_memory', 'Failed to allocate memory for requested buffer of size 1099511627776'],
    ['device_lost', 'WebGPU device lost (2): the driver was reset'],
    ['device_lost', 'CUDA error 700: an illegal memory access was encountered'],
    ['runtime_failed', 'Non-zero status code returned while running Gather node. idx=54321 must be within [-96,95]'],
  ])('%s is read off "%s", which is not repeated', (code, text) => {
    const failure = runFailure(new Error(text))
    expect(failure.code).toBe(code)
    expect(failure.message).not.toContain(text)
    expect(failure.message).not.toMatch(/54321|700/)
  })

  it('keeps an error of the engine as it is, and calls a refused graph unsupported', () => {
    const own = new EngineError('no_room', 'text')
    expect(runFailure(own)).toBe(own)
    expect(sessionFailure(new Error('Load model failed: opset'))).toMatchObject({ code: 'unsupported_graph' })
    expect(sessionFailure(new Error('std::bad_alloc'))).toMatchObject({ code: 'out_of_memory' })
  })
})
