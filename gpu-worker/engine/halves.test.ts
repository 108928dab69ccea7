import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fromBinary } from '@bufbuild/protobuf'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { groupAt, groupCount, type Perturbation, type Space, spaceDimension } from '../../shared/zo/index.ts'
import { writeEncoder, writeHalves } from '../../test/models/build/index.ts'
import { CALL_LIMITS } from './device/index.ts'
import { Evaluator } from './evaluate/evaluator.ts'
import { Model } from './evaluate/model.ts'
import type { EvaluatorSetup } from './evaluate/setup.ts'
import { inspectModel } from './index.ts'
import { TensorProto_DataType as DataType, ModelProtoSchema } from './onnx/onnx_pb.ts'
import { loadRuntime } from './ort.ts'
import type { EncodedRecord } from './task/index.ts'

/** Matrices that stay half as wide in memory: what is computed is what it is with the same matrices widened once. */
const runtime = await loadRuntime()
const modelDir = mkdtempSync(join(tmpdir(), 'sotto-halves-'))
const TOKENS = 16
// A matrix of 288 x 288 is large enough to be left in its file.
const SIZE = {
  layers: 2,
  hidden: 288,
  heads: 4,
  intermediate: 384,
  vocabulary: 400,
  positions: 32,
  classes: 2,
  seed: 3,
}

const records: EncodedRecord[] = [0, 1, 2].map((n) => ({
  ids: Int32Array.from({ length: 9 + n }, (_, at) => (at === 0 ? 2 : 10 + ((37 * at + 91 * n) % 300))),
  bucket: TOKENS,
  positions: Int32Array.of(0),
  targets: Int32Array.of(n % 2),
  weights: Float32Array.of(1),
}))

const setupOf = (space: Space, variant: string, keepsHalves: boolean): EvaluatorSetup => ({
  modelDir,
  variant,
  outputs: { kind: 'classes', count: 2 },
  positions: new Map([[TOKENS, 1]]),
  space,
  mask: undefined,
  seed: '00c0ffee00c0ffee',
  padToken: 0,
  cacheBytes: 0,
  device: 'cpu',
  keepsHalves,
  limits: { call: CALL_LIMITS.cpu, buckets: 4 },
})

const wave = (length: number, size: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => size * Math.sin(i * 1.3))

/** Losses of a round of stage 1, one finished stage behind it. */
async function lossesOf(space: Space, directions: number, variant: string, keepsHalves: boolean, own = records) {
  const evaluator = new Evaluator(runtime, setupOf(space, variant, keepsHalves))
  const size = spaceDimension(space)
  const at: Perturbation = { center: wave(size, 0.01), round: 3, directions, radius: 0.02, sides: 'two' }
  await evaluator.setStage(1, [wave(size, 0.03)])
  const losses = await evaluator.run(
    own,
    { ...at, count: groupCount(at), at: (group) => groupAt(group, 'two') },
    'losses',
  )
  await evaluator.release()
  return losses
}

const differences = (losses: Float32Array): number[] =>
  Array.from({ length: losses.length / 2 }, (_, i) => losses[2 * i]! - losses[2 * i + 1]!)
const rootMeanSquare = (values: readonly number[]): number =>
  Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length)

let spaces: Record<string, { space: Space; directions: number }>

beforeAll(async () => {
  writeEncoder(modelDir, SIZE)
  writeHalves(modelDir)
  const { sites, weights } = await inspectModel(modelDir)
  const every = sites.map((site) => ({ ...site, scale: 0.05 }))
  const bias = weights.filter(({ shape }) => shape.length === 1).map(({ name, shape }) => ({ name, shape }))
  spaces = {
    'factors, many directions': { space: { kind: 'lora', trained: 'factor', rank: 2, sites: every }, directions: 12 },
    'factors, one direction': { space: { kind: 'lora', trained: 'factor', rank: 2, sites: every }, directions: 1 },
    cores: { space: { kind: 'lora', trained: 'core', rank: 2, sites: every }, directions: 12 },
    'whole tensors': { space: { kind: 'full', directions: { kind: 'dense' }, tensors: bias }, directions: 3 },
  }
})
afterAll(() => rmSync(modelDir, { recursive: true, force: true }))

const NAMES = ['factors, many directions', 'factors, one direction', 'cores', 'whole tensors']

describe.each(NAMES)('matrices in half precision: %s', (name) => {
  const variantSpace = (variant: string): Space => {
    const { space } = spaces[name]!
    if (space.kind !== 'full' || variant === '') return space
    return { ...space, tensors: space.tensors.map((tensor) => ({ ...tensor, name: `${tensor.name}.half` })) }
  }

  it('compute what they compute widened, finished stages and all', async () => {
    const { directions } = spaces[name]!
    const wide = await lossesOf(variantSpace('fp16'), directions, 'fp16', false)
    const kept = await lossesOf(variantSpace('fp16'), directions, 'fp16', true)
    expect(kept).toHaveLength(wide.length)
    for (const [i, loss] of kept.entries()) expect(Math.abs(loss - wide[i]!)).toBeLessThan(2e-6)
    const [ours, theirs] = [differences(kept), differences(wide)]
    for (const [i, value] of ours.entries())
      expect(Math.abs(value - theirs[i]!)).toBeLessThan(1e-3 * rootMeanSquare(theirs))
  })

  it('have the finite differences of float32, but for the rounding of the weights', async () => {
    const { directions } = spaces[name]!
    const single = differences(await lossesOf(variantSpace(''), directions, '', false))
    const half = differences(await lossesOf(variantSpace('fp16'), directions, 'fp16', true))
    const error = rootMeanSquare(half.map((value, i) => value - single[i]!)) / rootMeanSquare(single)
    expect(error).toBeLessThan(0.02)
    expect(error).toBeGreaterThan(0)
  })

  it('give a record the same bits in any company', async () => {
    const { directions } = spaces[name]!
    const together = await lossesOf(variantSpace('fp16'), directions, 'fp16', true)
    const alone = await lossesOf(variantSpace('fp16'), directions, 'fp16', true, [records[1]!])
    expect(together.slice(alone.length, 2 * alone.length)).toEqual(alone)
  })
})

it.each([true, false])('lie in a session as they lie in the file, if that is wanted: %s', async (keepsHalves) => {
  const model = new Model(runtime, setupOf(spaces['factors, many directions']!.space, 'fp16', keepsHalves))
  const optimized = join(modelDir, `optimized-${keepsHalves}.onnx`)
  const session = await model.session(model.graph, { optimizedModelFilePath: optimized })
  await session.release()
  const { graph } = fromBinary(ModelProtoSchema, readFileSync(optimized))
  const large = graph!.initializer.filter(({ dims }) => dims.length === 2 && dims.every((size) => Number(size) >= 288))
  expect(large.length).toBeGreaterThanOrEqual(6 * SIZE.layers)
  const isHalf = (type: number): boolean => type === DataType.FLOAT16
  // Rows of embeddings are picked from half precision either way.
  const matrices = large.filter(({ dims }) => Number(dims[0]) < SIZE.vocabulary)
  expect(new Set(matrices.map(({ dataType }) => isHalf(dataType)))).toEqual(new Set([keepsHalves]))
})
