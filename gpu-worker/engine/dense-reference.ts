import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { InferenceSession } from 'onnxruntime-node'
import { frozenFactor, type LoraSpace, segmentLengths, segmentOffsets } from '../../shared/zo/index.ts'
import { modelFile } from './graph/file.ts'
import { type ModelProto, ModelProtoSchema, TensorProtoSchema } from './onnx/onnx_pb.ts'
import { loadRuntime, SESSION_OPTIONS } from './ort.ts'
import type { EncodedRecord } from './task/index.ts'

/**
 * The slow and plain way, for tests: W + scale A V written into the weights of an untouched graph, one record at a time,
 * all positions, all words of the vocabulary, loss in double precision. Shares no surgery with the engine.
 */
export interface DenseReference {
  /** Class logits of a record with these weights. */
  logits(record: EncodedRecord, labelTokens: readonly number[]): Promise<number[]>
  loss(record: EncodedRecord, labelTokens: readonly number[]): Promise<number>
  release(): Promise<void>
}

/** Scopes of the products of a site in a BERT export, in the order of their columns. */
function scopes(site: string): string[] {
  if (site === 'head.transform') return ['/cls/predictions/transform/dense/MatMul']
  const [, index, place] = /^layer\.(\d+)\.(.+)$/.exec(site) as unknown as [string, string, string]
  const inLayer: Record<string, string[]> = {
    'attention.qkv': ['attention/self/query', 'attention/self/key', 'attention/self/value'],
    'attention.output': ['attention/output/dense'],
    'ffn.up': ['intermediate/dense'],
    'ffn.down': ['output/dense'],
  }
  return inLayer[place]!.map((path) => `/bert/encoder/layer.${index}/${path}/MatMul`)
}

/** Adds scale A V to the weight that the node of this scope reads. `columns` of V begin at `start`. */
function addDense(
  model: ModelProto,
  scope: string,
  part: { factor: Float32Array; signs: Int8Array; rank: number; scale: number; outputs: number; start: number },
): number {
  const graph = model.graph!
  const node = graph.node.find(({ name }) => name.endsWith(scope))!
  const old = graph.initializer.find(({ name }) => name === node.input[1])!
  const [inputs, outputs] = old.dims.map(Number) as [number, number]
  const weight = new Float32Array(new Uint8Array(old.rawData).buffer)
  for (let i = 0; i < inputs; i++)
    for (let o = 0; o < outputs; o++) {
      let sum = weight[i * outputs + o]!
      for (let r = 0; r < part.rank; r++)
        sum += part.scale * part.factor[i * part.rank + r]! * part.signs[r * part.outputs + part.start + o]!
      weight[i * outputs + o] = sum
    }
  const name = `${node.input[1]}.dense`
  graph.initializer.push(
    create(TensorProtoSchema, { name, dims: old.dims, dataType: old.dataType, rawData: new Uint8Array(weight.buffer) }),
  )
  node.input[1] = name
  return outputs
}

/** Opens the reference. `factors[s]` is the flat factor of stage s; the last one is the stage in training. */
export async function openDenseReference(
  modelDir: string,
  space: LoraSpace,
  seed: string,
  factors: readonly Float32Array[],
): Promise<DenseReference> {
  const model = fromBinary(ModelProtoSchema, readFileSync(join(modelDir, modelFile(modelDir))))
  factors.forEach((flat, stage) => {
    space.sites.forEach((site, index) => {
      const start = segmentOffsets(space)[index]!
      const factor = flat.subarray(start, start + segmentLengths(space)[index]!)
      const signs = frozenFactor(seed, { stage, site: index }, space)
      let columns = 0
      for (const scope of scopes(site.name))
        columns += addDense(model, scope, {
          factor,
          signs,
          rank: space.rank,
          scale: site.scale,
          outputs: site.outputs,
          start: columns,
        })
    })
  })
  const runtime = await loadRuntime()
  const session = await runtime.InferenceSession.create(toBinary(ModelProtoSchema, model), SESSION_OPTIONS)
  const logits = (record: EncodedRecord, tokens: readonly number[]): Promise<number[]> =>
    denseLogits(runtime, session, record, tokens)
  return {
    logits,
    loss: async (record, tokens) => crossEntropy(await logits(record, tokens), record.targets[0]!),
    release: () => session.release(),
  }
}

async function denseLogits(
  runtime: Awaited<ReturnType<typeof loadRuntime>>,
  session: InferenceSession,
  { ids, bucket, positions }: EncodedRecord,
  labelTokens: readonly number[],
): Promise<number[]> {
  const padded = (valueAt: (at: number) => number) =>
    new runtime.Tensor(
      'int64',
      BigInt64Array.from({ length: bucket }, (_, at) => BigInt(valueAt(at))),
      [1, bucket],
    )
  const feeds = {
    input_ids: padded((at) => ids[at] ?? 0),
    attention_mask: padded((at) => (at < ids.length ? 1 : 0)),
  }
  const { logits } = await session.run(feeds)
  const [, , vocabulary] = logits!.dims as [number, number, number]
  return labelTokens.map((token) => (logits!.data as Float32Array)[positions[0]! * vocabulary + token]!)
}

function crossEntropy(logits: readonly number[], label: number): number {
  const top = Math.max(...logits)
  return top + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0)) - logits[label]!
}
