import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import type { InferenceSession } from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { loadRuntime, STATIC_QUANTISATION } from '../../gpu-worker/engine/ort.ts'
import { type ZooModel, type ZooVariant, zooModels } from './zoo.ts'
import { lossesOf } from './zoo-sessions.ts'

const ort = await loadRuntime()
/** One thread, and products with 8-bit weights that leave their activations alone. */
const OPTIONS: InferenceSession.SessionOptions = {
  intraOpNumThreads: 1,
  logSeverityLevel: 3,
  extra: { session: { qdq_matmulnbits_accuracy_level: '1' } },
}
/** Largest difference of an optimized graph's loss from expected.json. */
const TOLERANCE = { fp16: 1e-2, int8: 1, int8_weights: 1e-5, int8_static: 0.05, q4: 1e-5, fused: 1e-5 } as const

const open = (model: ZooModel, file: string): Promise<InferenceSession> =>
  ort.InferenceSession.create(join(model.dir, 'onnx', file), {
    ...OPTIONS,
    ...(file.includes('static') ? STATIC_QUANTISATION : {}),
  })

async function alone(session: InferenceSession, model: ZooModel): Promise<number[]> {
  const { records, pad } = model.expected
  const losses: number[] = []
  for (const record of records) losses.push(...(await lossesOf(session, [record], pad)))
  return losses
}

const apart = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((value, at) => Math.abs(value - b[at]!)))

const models = zooModels()
const variants: [string, ZooModel, ZooVariant][] = models.flatMap((model) =>
  model.expected.variants.map((variant): [string, ZooModel, ZooVariant] => [
    `${model.name} ${variant.kind}`,
    model,
    variant,
  ]),
)

describe('the model zoo', () => {
  it.each(models.map((model): [string, ZooModel] => [model.name, model]))(
    '%s gives the losses of PyTorch',
    async (_name, model) => {
      const losses = await alone(await open(model, 'model.onnx'), model)
      expect(
        apart(
          losses,
          model.expected.records.map(({ loss }) => loss),
        ),
      ).toBeLessThan(1e-5)
    },
  )

  it.each(variants)('%s gives its losses', async (_name, model, variant) => {
    const losses = await alone(await open(model, variant.file), model)
    expect(apart(losses, variant.losses)).toBeLessThan(TOLERANCE[variant.kind])
  })

  it.each(variants)(
    '%s couples the records of a batch only where the scales are dynamic',
    async (_name, model, variant) => {
      const session = await open(model, variant.file)
      const { records, pad } = model.expected
      const bucket = records.filter((record) => record.bucket === records[0]!.bucket)
      const together = await lossesOf(session, bucket, pad)
      const difference = apart(together, (await alone(session, model)).slice(0, bucket.length))
      if (variant.kind === 'int8') expect(difference).toBeGreaterThan(1e-4)
      else expect(difference).toBeLessThan(1e-5)
    },
  )

  it('has tokenizers that encode as they do in Python', () => {
    for (const { name, dir, expected } of models) {
      const json = (file: string) => JSON.parse(readFileSync(join(dir, file), 'utf8'))
      const tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'))
      for (const { text, ids, bare } of expected.texts) {
        expect(tokenizer.encode(text).ids, name).toEqual(ids)
        expect(tokenizer.encode(text, { add_special_tokens: false }).ids, name).toEqual(bare)
      }
    }
  })

  it('has records that differ, of tokens that the model has', () => {
    for (const { expected } of models) {
      const losses = expected.records.map(({ loss }) => loss)
      expect(Math.max(...losses) - Math.min(...losses)).toBeGreaterThan(0.1)
      for (const record of expected.records) {
        expect(Math.max(...record.ids, ...record.targets)).toBeLessThan(96)
        expect(record.ids.length).toBeLessThanOrEqual(record.bucket)
        expect(record.weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 6)
      }
    }
  })

  it('covers every architecture by a trace and by a capture, and the opsets 11 to 23', () => {
    const architectures = ['bert', 'roberta', 'distilbert', 'gpt2', 'opt', 'llama', 'qwen2', 'qwen3']
    const kinds = (name: string) =>
      new Set(models.filter((m) => m.architecture === name).map((m) => m.exporter === 'dynamo'))
    // Qwen2 and Qwen3 are one family: the first is traced, the second captured.
    expect(architectures.filter((name) => kinds(name).size === 2)).toEqual(architectures.slice(0, 6))
    expect([...new Set(models.map(({ opset }) => opset))].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 13 }, (_, at) => 11 + at),
    )
  })

  it('stays under 3 MB', () => {
    const folder = new URL('zoo/', import.meta.url).pathname
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    const total = files.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
    expect(total).toBeLessThan(3e6)
  })
})
