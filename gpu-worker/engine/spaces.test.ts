import { describe, expect, it } from 'vitest'
import {
  direction,
  elementsOf,
  type FullSpace,
  groupAt,
  groupCount,
  keptFactors,
  keptIndices,
  type LoraSpace,
  maskFromScores,
  maskHash,
  maskOf,
  type Perturbation,
  type PrunedSpace,
  perturbedFactors,
  prunedBy,
  type Space,
  segmentOffsets,
  spaceDimension,
} from '../../shared/zo/index.ts'
import { type ZooModel, zooModels } from '../../test/models/zoo.ts'
import { CALL_LIMITS } from './device/index.ts'
import { singularBases } from './evaluate/bases.ts'
import type { Groups } from './evaluate/driver.ts'
import { Evaluator } from './evaluate/evaluator.ts'
import { Model } from './evaluate/model.ts'
import type { EvaluatorSetup, StageSpace } from './evaluate/setup.ts'
import { WeightMemory } from './evaluate/weight-memory.ts'
import { findHead } from './graph/head.ts'
import { matrixOf } from './graph/products.ts'
import { findSites } from './graph/sites.ts'
import { dimsOf, floatsOf } from './graph/tensor.ts'
import { loadRuntime } from './ort.ts'
import type { EncodedRecord } from './task/index.ts'

/** Every space against the plainest of all: whole weights at a point, nothing perturbed. */
const seed = '00c0ffee00c0ffee'
const runtime = await loadRuntime()
const models = zooModels().filter(({ name }) => ['bert-masked-optimum-14', 'llama-causal-dynamo-23'].includes(name))

const setupOf = (model: ZooModel, space: Space, mask?: Uint8Array): EvaluatorSetup => ({
  modelDir: model.dir,
  variant: undefined,
  outputs: { kind: 'vocabulary' },
  positions: new Map(model.expected.records.map(({ bucket }) => [bucket, 16])),
  space,
  mask,
  seed,
  padToken: model.expected.pad,
  cacheBytes: 2 ** 20,
  device: 'cpu',
  keepsHalves: false,
  limits: { call: CALL_LIMITS.cpu, buckets: 4 },
})

const recordsOf = (model: ZooModel): EncodedRecord[] =>
  model.expected.records.map(({ ids, bucket, positions, targets, weights }) => ({
    ids: Int32Array.from(ids),
    bucket,
    positions: Int32Array.from(positions),
    targets: Int32Array.from(targets),
    weights: Float32Array.from(weights),
  }))

const wave = (length: number, size: number, salt: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => size * Math.sin(i * 1.3 + salt))

const groupsOf = ({ center, round, radius, ...kind }: Perturbation): Groups => ({
  center,
  round,
  radius,
  count: groupCount(kind),
  at: (group) => groupAt(group, kind.sides),
})

/** Losses [records, groups] of one evaluator at stage `finished.length`. */
async function losses(setup: EvaluatorSetup, model: ZooModel, at: Perturbation, finished: Float32Array[] = []) {
  const evaluator = new Evaluator(runtime, setup)
  try {
    if (finished.length > 0) await evaluator.setStage(finished.length, finished)
    return await evaluator.run(recordsOf(model), groupsOf(at), 'losses')
  } finally {
    await evaluator.release()
  }
}

/** Losses of whole weights moved by these differences, one row after another. */
async function atPoints(model: ZooModel, space: FullSpace, points: readonly Float32Array[]): Promise<Float32Array[]> {
  const made = []
  for (const center of points)
    made.push(await losses(setupOf(model, space), model, { center, round: 0, directions: 0, radius: 1, sides: 'one' }))
  return made
}

function expectSame(got: Float32Array, wanted: readonly Float32Array[], tolerance = 2e-5): void {
  const groups = wanted.length
  expect(got).toHaveLength(groups * wanted[0]!.length)
  wanted.forEach((row, g) => {
    row.forEach((loss, n) => {
      expect(Math.abs(got[n * groups + g]! - loss)).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(loss)))
    })
  })
  expect(new Set(got).size).toBeGreaterThan(groups)
}

const split = (values: Float32Array, count: number): Float32Array[] =>
  Array.from({ length: count }, (_, g) =>
    values.subarray((g * values.length) / count, ((g + 1) * values.length) / count),
  )

describe.each(models.map((model) => [model.name, model] as const))('%s', (_, model) => {
  const { graph } = new Model(runtime, setupOf(model, { kind: 'full', directions: { kind: 'dense' }, tensors: [] }))
  const tensors = [...graph.constants.values()]
    .filter((tensor) => tensor.dataType === 1 && dimsOf(tensor).reduce((a, b) => a * b, 1) >= 32)
    .map((tensor) => ({ name: tensor.name, shape: dimsOf(tensor) }))
  const dense: FullSpace = { kind: 'full', directions: { kind: 'dense' }, tensors }
  const around = (space: Space, directions: number, sides: 'one' | 'two' = 'two'): Perturbation => {
    return { center: wave(spaceDimension(space), 0.01, 2), round: 7, directions, radius: 0.01, sides }
  }

  it.each(['one', 'two'] as const)('full, dense directions, %s side: weights moved by each group', async (sides) => {
    const at = around(dense, 2, sides)
    const points = split(perturbedFactors(at, { seed, space: dense }), groupCount(at))
    expectSame(await losses(setupOf(model, dense), model, at), await atPoints(model, dense, points))
  })

  it('full, low-rank directions: the same', async () => {
    const space: FullSpace = { ...dense, directions: { kind: 'low-rank', rank: 3 } }
    const at = around(space, 2)
    const points = split(perturbedFactors(at, { seed, space }), groupCount(at))
    expectSame(await losses(setupOf(model, space), model, at), await atPoints(model, dense, points))
  })

  it('full, some tensors alone: frozen layers before them are shared', async () => {
    const some = { ...dense, tensors: tensors.slice(-3) }
    const at = around(some, 2)
    const points = split(perturbedFactors(at, { seed, space: some }), groupCount(at))
    expectSame(await losses(setupOf(model, some), model, at), await atPoints(model, some, points))
  })

  it('full, finished stages are part of the weights', async () => {
    const [first, second] = [wave(spaceDimension(dense), 0.01, 5), wave(spaceDimension(dense), 0.01, 9)]
    const at = around(dense, 1)
    const both = { ...at, center: at.center.map((value, i) => value + first[i]! + second[i]!) }
    const staged = await losses(setupOf(model, dense), model, at, [first, second])
    expectSame(staged, split(transposed(await losses(setupOf(model, dense), model, both), 2), 2))
  })

  it('pruned: the kept entries move and no other', async () => {
    const kept = tensors.map((tensor) => Array.from({ length: Math.ceil(elementsOf(tensor) / 5) }, (_, i) => 5 * i))
    const mask = maskOf(kept, tensors)
    const counted = tensors.map((tensor, t) => ({ ...tensor, kept: kept[t]!.length }))
    const space: PrunedSpace = { kind: 'pruned', tensors: counted, mask: maskHash(mask) }
    const at = around(space, 2)
    const compact = split(perturbedFactors(at, { seed, space }), groupCount(at))
    const offsets = segmentOffsets(dense)
    const points = compact.map((values) => {
      const whole = new Float32Array(spaceDimension(dense))
      let next = 0
      kept.forEach((indices, t) => {
        for (const index of indices) whole[offsets[t]! + index] = values[next++]!
      })
      return whole
    })
    expectSame(await losses(setupOf(model, space, mask), model, at), await atPoints(model, dense, points))
    const other = setupOf(model, { ...space, mask: '0'.repeat(64) }, mask)
    expect(() => new Evaluator(runtime, other)).toThrow(expect.objectContaining({ code: 'wrong_mask' }))
    expect(() => new Evaluator(runtime, setupOf(model, space))).toThrow(expect.objectContaining({ code: 'wrong_mask' }))
  })

  it('pruned, weighted by rank: every entry is perturbed and trained by its factor', async () => {
    const scores = tensors.map((tensor) => floatsOf(graph.constants.get(tensor.name)!))
    const { mask, space } = prunedBy(scores, tensors, { keep: 0.2, order: 'highest', scope: 'layer', weighted: true })
    const [indices, factors] = [keptIndices(mask, space), keptFactors(mask, space)!]
    const at = around(space, 2)
    const offsets = segmentOffsets(dense)
    const points = split(perturbedFactors(at, { seed, space }), groupCount(at)).map((values) => {
      const whole = new Float32Array(spaceDimension(dense))
      let next = 0
      indices.forEach((kept, t) => {
        kept.forEach((index, i) => {
          whole[offsets[t]! + index] = factors[t]![i]! * values[next++]!
        })
      })
      return whole
    })
    const wanted = await atPoints(model, dense, points)
    expectSame(await losses(setupOf(model, space, mask), model, at), wanted)
    // The same entries without their factors lead elsewhere.
    const plain = prunedBy(scores, tensors, { keep: 0.2, order: 'highest', scope: 'layer' })
    const unweighted = await losses(setupOf(model, plain.space, plain.mask), model, at)
    expect(() => expectSame(unweighted, wanted)).toThrow()
    // A finished stage adds what it trained, by the same factors.
    const still = { ...at, center: new Float32Array(at.center.length) }
    const finished = transposed(await losses(setupOf(model, space, mask), model, still, [at.center]), groupCount(at))
    expectSame(await losses(setupOf(model, space, mask), model, at), split(finished, groupCount(at)))

    const memory = new WeightMemory(space, { seed, mask })
    scores.forEach((values, t) => {
      memory.setBase(t, values)
    })
    memory.setCenter(at.center)
    const z = direction(seed, { round: at.round, k: 1 }, space)
    const starts = segmentOffsets(space)
    for (const [group, sign] of [2, 3].map((group, side) => [group, side === 0 ? 1 : -1] as const)) {
      const read = memory.weights(memory.perturb(groupsOf(at), group))
      scores.forEach((values, t) => {
        const moved = values.slice()
        indices[t]!.forEach((index, i) => {
          const coordinate = starts[t]! + i
          const factor = factors[t]![i]!
          const center = Math.fround(values[index]! + factor * at.center[coordinate]!)
          moved[index] = center + Math.fround(sign * Math.fround(at.radius) * z[coordinate]! * factor)
        })
        expect(read[t]).toEqual(moved)
      })
    }
    const damaged = mask.with(mask.length - 1, 78)
    const odd = setupOf(model, { ...space, mask: maskHash(damaged) }, damaged)
    expect(() => new Evaluator(runtime, odd)).toThrow(expect.objectContaining({ code: 'wrong_mask' }))
  })

  it('masked perturbation writes to a copy, so pruning does nothing: not here', async () => {
    // A defect of the published code of DP-ZOPO, whose masked weights were a copy that no forward pass read.
    const scores = tensors.map((tensor) => floatsOf(graph.constants.get(tensor.name)!))
    const { mask, space } = maskFromScores(scores, tensors, { keep: 0.02, order: 'highest', scope: 'layer' })
    const setup = setupOf(model, space, mask)
    const still = { ...around(space, 1), center: new Float32Array(spaceDimension(space)) }
    const [plus, minus] = split(transposed(await losses(setup, model, still), 2), 2)
    const [base] = await atPoints(model, dense, [new Float32Array(spaceDimension(dense))])
    const moved = { ...still, center: still.center.map(() => 0.05), directions: 0, sides: 'one' } as const
    const made = [plus!, minus!, await losses(setup, model, moved)]
    for (const row of made) expect(row).not.toEqual(base)
    expect(plus).not.toEqual(minus)
    expect(await losses(setup, model, { ...still, directions: 0, sides: 'one' })).toEqual(base)

    const memory = new WeightMemory(space, { seed, mask })
    scores.forEach((values, t) => {
      memory.setBase(t, values)
    })
    memory.setCenter(still.center)
    const kept = keptIndices(mask, space)
    const z = direction(seed, { round: still.round, k: 0 }, space)
    const offsets = segmentOffsets(space)
    const step = Math.fround(still.radius)
    for (const [group, sign] of [1, -1].entries()) {
      const read = memory.weights(memory.perturb(groupsOf(still), group))
      scores.forEach((values, t) => {
        const wanted = values.slice()
        kept[t]!.forEach((index, i) => {
          wanted[index] = values[index]! + Math.fround(sign * step * z[offsets[t]! + i]!)
        })
        expect(read[t]).toEqual(wanted)
      })
    }
  })

  it.each([1, 9])('lora, a trained core between singular bases, %i directions: W + scale U R V', async (directions) => {
    const sites = findSites(graph, findHead(graph)?.product.node)
    const space: LoraSpace = {
      kind: 'lora',
      rank: 2,
      trained: 'core',
      sites: sites.map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: 0.5 })),
    }
    const at = { ...around(space, directions), center: wave(spaceDimension(space), 0.4, 1), radius: 0.1 }
    const products = sites.flatMap((site) => site.products)
    const whole: FullSpace = {
      ...dense,
      tensors: products.map(({ weight }) => ({ name: weight.name, shape: dimsOf(weight) })),
    }
    const points = split(perturbedFactors(at, { seed, space }), groupCount(at)).map((cores) => {
      const change: number[] = []
      sites.forEach((site, index) => {
        const { left, right } = singularBases(site.products.map(matrixOf), { inputs: site.inputs, rank: 2 })
        const core = cores.subarray(4 * index, 4 * index + 4)
        let from = 0
        for (const { inputs, outputs, transposed: turned } of site.products) {
          for (let i = 0; i < inputs * outputs; i++) {
            const [row, column] = turned ? [i % inputs, Math.floor(i / inputs)] : [Math.floor(i / outputs), i % outputs]
            let sum = 0
            for (let a = 0; a < 2; a++)
              for (let b = 0; b < 2; b++)
                sum += left[row * 2 + a]! * core[2 * a + b]! * right[b * site.outputs + from + column]!
            change.push(0.5 * sum)
          }
          from += outputs
        }
      })
      return Float32Array.from(change)
    })
    const some = [0, groupCount(at) - 1]
    const got = await losses(setupOf(model, space), model, at)
    const rows = got.length / groupCount(at)
    const picked = Float32Array.from({ length: 2 * rows }, (_, i) => got[(i >> 1) * groupCount(at) + some[i % 2]!]!)
    expectSame(
      picked,
      await atPoints(
        model,
        whole,
        some.map((g) => points[g]!),
      ),
      3e-5,
    )
  })

  it.each(['binomial', 'sphere'] as const)(
    'directions of numbers, %s: weights moved by each group',
    async (distribution) => {
      const whole: FullSpace = { ...dense, tensors: tensors.slice(-4), distribution }
      const at = around(whole, 2)
      const points = split(perturbedFactors(at, { seed, space: whole }), groupCount(at))
      expectSame(
        await losses(setupOf(model, whole), model, at),
        await atPoints(model, { ...dense, tensors: whole.tensors }, points),
      )
    },
  )

  type TrainedSpace = StageSpace & { readonly space: Space }

  /** Losses at the end of a stage, and at the beginning of the next one, which trains elsewhere. */
  async function overStageEnd(first: TrainedSpace, second: TrainedSpace): Promise<[Float32Array, Float32Array]> {
    const at = (center: Float32Array) => groupsOf({ center, round: 0, directions: 0, radius: 1, sides: 'one' })
    const evaluator = new Evaluator(runtime, { ...setupOf(model, first.space, first.mask), later: [second] })
    const trained = wave(spaceDimension(first.space), 0.02, 4)
    const ended = await evaluator.run(recordsOf(model), at(trained), 'losses')
    await evaluator.setStage(1, [trained])
    const begun = await evaluator.run(recordsOf(model), at(new Float32Array(spaceDimension(second.space))), 'losses')
    const moved = await evaluator.run(recordsOf(model), at(wave(spaceDimension(second.space), 0.02, 1)), 'losses')
    await evaluator.release()
    expect(moved).not.toEqual(begun)
    return [ended, begun]
  }

  it.each([
    ['factors', 'factor', 'singular'],
    ['cores', 'core', 'singular'],
    ['cores between seeded bases', 'core', 'seeded'],
  ] as const)('stages of unlike rank begin where the one before ended: %s', async (_, trained, bases) => {
    const sites = findSites(graph, findHead(graph)?.product.node)
    const ofRank = (rank: number): TrainedSpace => ({
      mask: undefined,
      space: {
        kind: 'lora',
        rank,
        trained,
        bases,
        sites: sites.map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: 0.5 })),
      },
    })
    const [ended, begun] = await overStageEnd(ofRank(3), ofRank(1))
    for (const [n, loss] of begun.entries()) expect(Math.abs(loss - ended[n]!)).toBeLessThan(1e-4)
  })

  it('stages of unlike masks begin where the one before ended', async () => {
    const keeping = (every: number): TrainedSpace => {
      const kept = tensors.map((tensor) =>
        Array.from({ length: Math.ceil(elementsOf(tensor) / every) }, (_, i) => every * i),
      )
      const mask = maskOf(kept, tensors)
      const counted = tensors.map((tensor, t) => ({ ...tensor, kept: kept[t]!.length }))
      return { mask, space: { kind: 'pruned', tensors: counted, mask: maskHash(mask) } }
    }
    const [ended, begun] = await overStageEnd(keeping(7), keeping(3))
    for (const [n, loss] of begun.entries()) expect(Math.abs(loss - ended[n]!)).toBeLessThan(1e-4)
  })

  it('refuses weights and sites that the model does not have', () => {
    const odd = (tensor: { name: string; shape: number[] }) => () =>
      new Evaluator(runtime, setupOf(model, { ...dense, tensors: [tensor] }))
    expect(odd({ name: 'nothing', shape: [2] })).toThrow(expect.objectContaining({ code: 'unknown_site' }))
    expect(odd({ name: tensors[0]!.name, shape: [3] })).toThrow(expect.objectContaining({ code: 'site_mismatch' }))
  })
})

/** [records, groups] as [groups, records]. */
function transposed(values: Float32Array, groups: number): Float32Array {
  const rows = values.length / groups
  return Float32Array.from({ length: values.length }, (_, i) => values[(i % rows) * groups + Math.floor(i / rows)]!)
}
