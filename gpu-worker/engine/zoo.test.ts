import { describe, expect, it } from 'vitest'
import { frozenFactor, type LoraSpace, type Space, spaceDimension } from '../../shared/zo/index.ts'
import { type ZooModel, type ZooRecord, zooModels } from '../../test/models/zoo.ts'
import { CALL_LIMITS } from './device/index.ts'
import type { Groups } from './evaluate/driver.ts'
import { Evaluator } from './evaluate/evaluator.ts'
import { Model } from './evaluate/model.ts'
import type { EvaluatorSetup } from './evaluate/setup.ts'
import { findHead } from './graph/head.ts'
import { findSites, type Site } from './graph/sites.ts'
import { dimsOf, elementCount } from './graph/tensor.ts'
import { loadRuntime } from './ort.ts'
import type { EncodedRecord, Outputs } from './task/index.ts'

/**
 * Small models with random weights, made by PyTorch and exported in the ways that people export (see test/models). What is
 * evaluated here must be what PyTorch computes, in every space and every way of running.
 */
const models = zooModels()
const seed = '0123456789abcdef'
const runtime = await loadRuntime()

const outputsOf = (model: ZooModel): Outputs =>
  model.task === 'sequence-classification' ? { kind: 'classes', count: 3 } : { kind: 'vocabulary' }

function encoded({ ids, bucket, positions, targets, weights }: ZooRecord): EncodedRecord {
  return {
    ids: Int32Array.from(ids),
    bucket,
    positions: Int32Array.from(positions),
    targets: Int32Array.from(targets),
    weights: Float32Array.from(weights),
  }
}

/** P of each bucket: as many as any of its records needs, and two more that only fill up where a record has several. */
function positionsOf(model: ZooModel): Map<number, number> {
  const positions = new Map<number, number>()
  for (const record of model.expected.records) {
    const count = record.positions.length > 1 ? record.positions.length + 2 : record.positions.length
    positions.set(record.bucket, Math.max(count, positions.get(record.bucket) ?? 0))
  }
  return positions
}

function setupOf(model: ZooModel, space: Space, more: Partial<EvaluatorSetup> = {}): EvaluatorSetup {
  return {
    modelDir: model.dir,
    variant: undefined,
    outputs: outputsOf(model),
    positions: positionsOf(model),
    space,
    mask: undefined,
    seed,
    padToken: model.expected.pad,
    cacheBytes: 0,
    device: 'cpu',
    keepsHalves: false,
    limits: { call: CALL_LIMITS.cpu, buckets: 4 },
    ...more,
  }
}

const NO_SPACE: Space = { kind: 'full', directions: { kind: 'dense' }, tensors: [] }

function sitesOf(model: ZooModel, variant?: string): Site[] {
  const { graph } = new Model(runtime, setupOf(model, NO_SPACE, { variant }))
  return findSites(graph, findHead(graph)?.product.node)
}

const everySite = (sites: readonly Site[], rank: number): LoraSpace => ({
  kind: 'lora',
  rank,
  trained: 'factor',
  sites: sites.map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: 0.5 })),
})

/** The center, as often as it takes to run in the lead wanted. */
const centers = (center: Float32Array, count: number): Groups => ({
  center,
  count,
  at: () => ({ k: 0, sign: 0 }),
  round: 0,
  radius: 1,
})

async function lossesOf(
  setup: EvaluatorSetup,
  model: ZooModel,
  center: Float32Array,
  count: number,
): Promise<Float32Array> {
  const evaluator = new Evaluator(runtime, setup)
  try {
    const losses = await evaluator.run(model.expected.records.map(encoded), centers(center, count), 'losses')
    const leads = await evaluator.leads()
    expect(leads.map(({ lead, reason }) => reason ?? lead)).toEqual(leads.map(() => (count > 1 ? 'groups' : 'records')))
    return losses
  } finally {
    await evaluator.release()
  }
}

/** As far as float32 may be off: 1e-4 of a nat, or of the loss where that is larger. */
function expectClose(got: ArrayLike<number>, wanted: readonly number[], tolerance = 1e-4): void {
  expect(got.length).toBe(wanted.length)
  wanted.forEach((value, i) => {
    expect(Math.abs(got[i]! - value)).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(value)))
  })
}

describe.each(models.map((model) => [model.name, model] as const))('%s', (_, model) => {
  const wanted = model.expected.records.map(({ loss }) => loss)

  it('has losses that are PyTorch’s, with factors at every site, one record or several in a call', async () => {
    const space = everySite(sitesOf(model), 2)
    const zero = new Float32Array(spaceDimension(space))
    const several = await lossesOf(setupOf(model, space), model, zero, 1)
    expectClose(several, wanted)
    const groups = await lossesOf(setupOf(model, space), model, zero, 16)
    wanted.forEach((loss, n) => {
      expectClose(groups.subarray(16 * n, 16 * n + 16), Array(16).fill(loss))
    })
  })

  it('moves with its weights as PyTorch’s does', async () => {
    const { moved, step } = model.expected
    expect(moved.length).toBeGreaterThan(0)
    for (const move of moved) {
      const { graph } = new Model(runtime, setupOf(model, NO_SPACE))
      const stored = move.stored.filter(({ tensor }) => graph.constants.has(tensor))
      expect(stored.length).toBeGreaterThan(0)
      const tensors = stored.map(({ tensor }) => ({ name: tensor, shape: dimsOf(graph.constants.get(tensor)!) }))
      const space: Space = { kind: 'full', directions: { kind: 'dense' }, tensors }
      const change = stored.flatMap(({ transposed }) =>
        Array.from({ length: move.inputs * move.outputs }, (_, at) => {
          const columns = transposed ? move.inputs : move.outputs
          const [row, column] = [Math.floor(at / columns), at % columns]
          const [i, j] = transposed ? [column, row] : [row, column]
          return step * ((((31 * i + 17 * j) % 7) - 3) / 3)
        }),
      )
      expectClose(await lossesOf(setupOf(model, space), model, Float32Array.from(change), 1), move.plus)
      const back = Float32Array.from(change, (value) => -value)
      expectClose(await lossesOf(setupOf(model, space), model, back, 1), move.minus)
    }
  })

  it('has the losses of W + scale A V where a factor stands beside W', async () => {
    const sites = sitesOf(model)
    const space = everySite(sites, 2)
    const center = Float32Array.from({ length: spaceDimension(space) }, (_, i) => 0.05 * Math.sin(i * 1.7))
    const weights = sites.flatMap(({ products }) => products.map(({ weight }) => weight))
    const tensors = weights.map((weight) => ({ name: weight.name, shape: dimsOf(weight) }))
    const dense = Float32Array.from(denseChange(sites, space, center))
    const whole: Space = { kind: 'full', directions: { kind: 'dense' }, tensors }
    expect(dense).toHaveLength(tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0))
    const expected = await lossesOf(setupOf(model, whole), model, dense, 1)
    const records = await lossesOf(setupOf(model, space), model, center, 1)
    expectClose(records, [...expected], 2e-5)
    const groups = await lossesOf(setupOf(model, space), model, center, 16)
    for (const n of wanted.keys()) expectClose(groups.subarray(16 * n, 16 * n + 1), [expected[n]!], 2e-5)
    expect(Math.max(...wanted.map((loss, n) => Math.abs(loss - expected[n]!)))).toBeGreaterThan(1e-3)
  })
})

/** How far a variant may be from what onnxruntime said of it, unoptimized: half precision and static scales round. */
const TOLERANCE = { fp16: 0.01, int8_weights: 1e-4, int8_static: 0.05, q4: 1e-3, fused: 1e-4 }

const variants = models.flatMap((model) => model.expected.variants.map((variant) => ({ model, ...variant })))
const nameOf = (file: string): string => file.replace(/^model_|\.onnx$/g, '')

describe.each(variants.filter(({ kind }) => kind !== 'int8'))(
  '$model.name as $file',
  ({ model, kind, file, losses }) => {
    it('has its own losses, with factors at every site, one record or several in a call', async () => {
      const variant = nameOf(file)
      const space = everySite(sitesOf(model, variant), 2)
      expect(space.sites.length).toBeGreaterThan(5)
      const zero = new Float32Array(spaceDimension(space))
      const tolerance = TOLERANCE[kind as keyof typeof TOLERANCE]
      const setup = setupOf(model, space, { variant })
      const several = await lossesOf(setup, model, zero, 1)
      expectClose(several, losses, tolerance)
      const groups = await lossesOf(setup, model, zero, 16)
      for (const n of losses.keys()) expectClose(groups.subarray(16 * n, 16 * n + 1), [several[n]!], 1e-4)
    })

    it('moves with its factors, by little where they move by little', async () => {
      const variant = nameOf(file)
      const space = everySite(sitesOf(model, variant), 2)
      const setup = setupOf(model, space, { variant })
      const at = (size: number) =>
        Float32Array.from({ length: spaceDimension(space) }, (_, i) => size * Math.sin(i * 1.7))
      const [base, near, far] = [
        await lossesOf(setup, model, at(0), 1),
        await lossesOf(setup, model, at(1e-3), 1),
        await lossesOf(setup, model, at(3e-2), 1),
      ]
      const moved = (to: Float32Array) => Math.max(...base.map((loss, n) => Math.abs(to[n]! - loss)))
      expect(moved(far)).toBeGreaterThan(1e-3)
      expect(moved(near)).toBeLessThan(moved(far))
    })

    it('keeps finished stages', async () => {
      const variant = nameOf(file)
      const space = everySite(sitesOf(model, variant), 2)
      const center = Float32Array.from({ length: spaceDimension(space) }, (_, i) => 0.02 * Math.sin(i * 1.7))
      const evaluator = new Evaluator(runtime, setupOf(model, space, { variant }))
      const records = model.expected.records.map(encoded)
      const moving = await evaluator.run(records, centers(center, 16), 'losses')
      await evaluator.setStage(1, [center])
      const finished = await evaluator.run(records, centers(new Float32Array(center.length), 16), 'losses')
      await evaluator.release()
      expectClose(finished, [...moving], kind === 'int8_static' ? 0.05 : 1e-4)
    })
  },
)

describe.each(variants.filter(({ kind }) => kind === 'int8'))('$model.name as $file', ({ model, file }) => {
  it('is refused: one scale for a whole batch lets its records see each other', () => {
    const open = () => new Model(runtime, setupOf(model, NO_SPACE, { variant: nameOf(file) }))
    expect(open).toThrow(expect.objectContaining({ code: 'coupled_batch' }))
  })
})

/** scale A V of every product, in the orientation in which its weight is stored, one after another. */
function* denseChange(sites: readonly Site[], space: LoraSpace, center: Float32Array): Generator<number> {
  let offset = 0
  for (const [index, site] of sites.entries()) {
    const factor = center.subarray(offset, offset + site.inputs * space.rank)
    offset += factor.length
    const signs = frozenFactor(seed, { stage: 0, site: index }, space)
    let from = 0
    for (const { inputs, outputs, transposed } of site.products) {
      const [rows, columns] = transposed ? [outputs, inputs] : [inputs, outputs]
      for (let at = 0; at < rows * columns; at++) {
        const [row, column] = [Math.floor(at / columns), at % columns]
        const [i, o] = transposed ? [column, row] : [row, column]
        let sum = 0
        for (let r = 0; r < space.rank; r++) sum += factor[i * space.rank + r]! * signs[r * site.outputs + from + o]!
        yield space.sites[index]!.scale * sum
      }
      from += outputs
    }
  }
}
