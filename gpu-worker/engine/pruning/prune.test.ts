import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import {
  direction,
  type FullSpace,
  type Keep,
  maskHash,
  PRUNING_ROUNDS,
  pruningDirection,
  segmentOffsets,
  spaceDimension,
  type WeightTensor,
} from '../../../shared/zo/index.ts'
import { zooModels } from '../../../test/models/zoo.ts'
import { tokenFeeds } from '../evaluate/feeds.ts'
import type { FinishedStage } from '../evaluate/setup.ts'
import { readGraph } from '../graph/file.ts'
import { weightOf } from '../graph/stage.ts'
import { floatsOf, floatTensor } from '../graph/tensor.ts'
import { findWeights } from '../graph/weights.ts'
import { inspectModel } from '../inspect.ts'
import { normalise } from '../normalise/index.ts'
import { largestGap, runGraph } from '../normalise/run-graph.ts'
import { loadRuntime } from '../ort.ts'
import { cutSlopes, type Slopes } from './forward.ts'
import { layersOfWeights, pruneModel, type ScoreOptions, scoreWeights, verifyMask } from './index.ts'

const runtime = await loadRuntime()
const seed = '00c0ffee00c0ffee'
const keep: Keep = { keep: 0.05, order: 'highest', scope: 'global' }
const refused = (code: string) => expect.objectContaining({ code })
const zoo = zooModels()
const DEMO = fileURLToPath(new URL('../../../demo/model/spam-encoder', import.meta.url))
const weightsIn = async (modelDir: string): Promise<WeightTensor[]> => [...(await inspectModel(modelDir)).weights]
const optionsFor = async (modelDir: string, change: Partial<ScoreOptions> = {}): Promise<ScoreOptions> => {
  return { modelDir, tensors: await weightsIn(modelDir), score: 'forward', seed, ...change }
}

/** The forward score the plainest way: a graph with other constants for each forward, sums in float64. */
class NaiveScore {
  readonly #graph
  readonly #space: FullSpace
  readonly #tokens: number
  readonly theta: Float32Array[]

  constructor(modelDir: string, tensors: readonly WeightTensor[], tokens: number) {
    this.#graph = readGraph(modelDir)
    normalise(this.#graph)
    this.#tokens = tokens
    this.#space = { kind: 'full', directions: { kind: 'dense' }, tensors }
    this.theta = tensors.map((tensor) => floatsOf(weightOf(this.#graph, tensor)).map(Math.abs))
  }

  z(round: number, query: number): Int8Array[] {
    const whole = direction(seed, { round, k: pruningDirection(0, query) }, this.#space)
    return segmentOffsets(this.#space).map((offset, t) => whole.subarray(offset, offset + this.theta[t]!.length))
  }

  moved(theta: readonly Float32Array[], z: readonly Int8Array[], step: number): Float32Array[] {
    return theta.map((values, t) => values.map((value, i) => value + step * z[t]![i]!))
  }

  async outputs(theta: readonly Float32Array[]): Promise<number[]> {
    const graph = this.#graph.clone()
    for (const { name, shape } of findWeights(this.#graph)) {
      const at = this.#space.tensors.findIndex((tensor) => tensor.name === name)
      const values = theta[at] ?? floatsOf(this.#graph.constants.get(name)!).map(Math.abs)
      graph.constants.set(name, floatTensor(name, shape, values))
    }
    const ids = new Int32Array(this.#tokens).fill(1)
    const none = { positions: new Int32Array(), targets: new Int32Array(), weights: new Float32Array() }
    const positions = BigInt64Array.from({ length: this.#tokens }, (_, at) => BigInt(at))
    const feeds = {
      ...tokenFeeds(runtime, { ids, bucket: this.#tokens, ...none }, 0),
      position_ids: new runtime.Tensor('int64', positions, [1, this.#tokens]),
    }
    const made = await runGraph(graph, feeds)
    return Array.from(Object.values(made)[0]!.data as Float32Array)
  }

  /** Finite differences of the sum of outputs over `size`. */
  async slopes(theta: readonly Float32Array[], round: number, at: { queries: number; radius: number; size: number }) {
    const sum = async (sign: 1 | -1, j: number) => {
      const outputs = await this.outputs(this.moved(theta, this.z(round, j), sign * at.radius))
      return outputs.reduce((total, value) => total + value, 0)
    }
    const made: number[] = []
    for (let j = 0; j < at.queries; j++) made.push(((await sum(1, j)) - (await sum(-1, j))) / (2 * at.radius * at.size))
    return made
  }

  scores({ first, second }: Slopes, { queries, radius }: { queries: number; radius: number }): number[][] {
    const z = (which: 'first' | 'second') => first.map((_, j) => this.z(PRUNING_ROUNDS[which], j))
    const [z1, z2] = [z('first'), z('second')]
    return this.theta.map((values, t) =>
      Array.from(values, (value, i) => {
        const sum = first.reduce((all, g, j) => all + (second[j]! * z2[j]![t]![i]! - g * z1[j]![t]![i]!) / radius, 0)
        return (sum / queries) * value
      }),
    )
  }
}

/** Half a step of slopes that are cut to 1/64 of the largest, and what float32 leaves open. */
const withinCut = (got: readonly number[], wanted: readonly number[]): void => {
  const step = Math.max(...wanted.map(Math.abs)) / 64
  got.forEach((slope, j) => {
    expect(Math.abs(slope - wanted[j]!)).toBeLessThanOrEqual(0.5 * step + 2e-3 * Math.abs(wanted[j]!) + 1e-4)
  })
}

describe('the forward score', () => {
  it.each([
    ['bert-masked-optimum-14', 1],
    ['llama-causal-dynamo-23', 2],
    ['gpt2-classes-dynamo-21', 2],
  ])('is what plain forwards of a graph with absolute weights give: %s, %i queries', async (name, queries) => {
    const { dir } = zoo.find((model) => model.name === name)!
    const settings = { queries, radius: 1e-3, tokens: 8 }
    const tensors = (await weightsIn(dir)).filter((_, t) => t % 3 !== 1)
    const { values, slopes } = await scoreWeights(await optionsFor(dir, { tensors, forward: settings }))
    const naive = new NaiveScore(dir, tensors, settings.tokens)
    const size = (await naive.outputs(naive.theta)).reduce((sum, value) => sum + Math.abs(value), 0)
    const at = { ...settings, size }
    withinCut(slopes!.first, await naive.slopes(naive.theta, PRUNING_ROUNDS.first, at))
    const away = slopes!.first.reduce(
      (theta, g, j) => naive.moved(theta, naive.z(PRUNING_ROUNDS.first, j), (settings.radius / queries) * g),
      naive.theta,
    )
    withinCut(slopes!.second, await naive.slopes(away, PRUNING_ROUNDS.second, at))
    naive.scores(slopes!, settings).forEach((wanted, t) => {
      const most = Math.max(...wanted.map(Math.abs))
      expect(largestGap(values[t]!, wanted)).toBeLessThanOrEqual(1e-6 * most)
    })
  })

  it.each(zoo.map(({ name, dir }) => [name, dir]))('ranks the weights of %s', async (_, modelDir) => {
    const options = await optionsFor(modelDir, { forward: { queries: 2, tokens: 8 } })
    const { space, mask } = await pruneModel(options, keep)
    const entries = options.tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)
    expect(space.tensors.reduce((sum, { kept }) => sum + kept, 0)).toBe(Math.ceil(keep.keep * entries))
    expect(space.mask).toBe(maskHash(mask))
  })

  it('leaves the last bits of the runtime behind, and needs none of it where slopes are given', async () => {
    const options = await optionsFor(DEMO, { forward: { queries: 4 } })
    const made = await pruneModel(options, keep)
    const again = await pruneModel(options, keep)
    expect([again.space, again.slopes]).toEqual([made.space, made.slopes])
    expect(again.mask).toEqual(made.mask)
    let runs = 0
    const rebuilt = await pruneModel({ ...options, slopes: made.slopes!, step: () => runs++ }, keep)
    expect([rebuilt.space, runs]).toEqual([made.space, 0])
    expect(rebuilt.mask).toEqual(made.mask)
    await expect(pruneModel({ ...options, slopes: { first: [1], second: [1] } }, keep)).rejects.toThrow(
      refused('wrong_length'),
    )
  })

  it('has other directions at each stage and for each seed, and follows the weights', async () => {
    const options = await optionsFor(zoo[0]!.dir, { forward: { queries: 2, tokens: 8 } })
    const { mask } = await pruneModel(options, keep)
    const moved = [afterStage(options.tensors, (entry) => Math.sin(entry))]
    const others = [{ stage: 1 }, { seed: '00c0ffee00c0ffef' }, { finished: moved }]
    for (const change of others) expect((await pruneModel({ ...options, ...change }, keep)).mask).not.toEqual(mask)
  })

  it('refuses models and settings that give no score', async () => {
    const { dir } = zoo[0]!
    const options = await optionsFor(dir)
    const huge = [afterStage(options.tensors, () => 3e38)]
    await expect(pruneModel({ ...options, finished: huge }, keep)).rejects.toThrow(refused('no_score'))
    await expect(pruneModel({ ...options, variant: 'q4', tensors: [] }, keep)).rejects.toThrow(
      refused('unsupported_graph'),
    )
    for (const queries of [0, 1.5, 1025])
      await expect(pruneModel({ ...options, forward: { queries } }, keep)).rejects.toThrow(
        refused('queries_out_of_range'),
      )
    for (const radius of [0, -1, Number.NaN, 1e39, 1e-60])
      await expect(pruneModel({ ...options, forward: { radius } }, keep)).rejects.toThrow(
        refused('radius_out_of_range'),
      )
  })
})

/** A stage that trained all entries of some tensors. */
function afterStage(tensors: readonly WeightTensor[], entry: (at: number) => number): FinishedStage {
  const space: FullSpace = { kind: 'full', directions: { kind: 'dense' }, tensors }
  return { space, mask: undefined, trained: Float32Array.from({ length: spaceDimension(space) }, (_, at) => entry(at)) }
}

it('cuts slopes to a power of two that depends on the largest alone', () => {
  expect(cutSlopes([3.3712, -0.0131, 0])).toEqual([3.375, 0, 0])
  expect(cutSlopes([-64, 127.4])).toEqual([-64, 127])
  expect(cutSlopes([-64, 128.9])).toEqual([-64, 128])
  expect(cutSlopes([1e-9]).map((slope) => Math.fround(slope))).toEqual(cutSlopes([1e-9]))
  for (const none of [[0, 0], [Number.NaN], [Number.POSITIVE_INFINITY]])
    expect(() => cutSlopes(none)).toThrow(refused('no_score'))
})

describe('the other scores', () => {
  it('are |w| and seeded words, whatever the runtime', async () => {
    const options = await optionsFor(DEMO)
    const graph = readGraph(DEMO)
    normalise(graph)
    const { values } = await scoreWeights({ ...options, score: 'magnitude' })
    options.tensors.forEach((tensor, t) => {
      expect(values[t]).toEqual(floatsOf(weightOf(graph, tensor)).map(Math.abs))
    })
    // The demo's weights are a file of the repository: so are these hashes everywhere.
    const hash = async (score: 'magnitude' | 'random') => (await pruneModel({ ...options, score }, keep)).space.mask
    expect(await hash('magnitude')).toBe('849f042b29a9592aeaae884de07c8185f01a0daaf9c82c8390e607d7943ca8ac')
    expect(await hash('random')).toBe('9562b3e3876940889fc2599e5e1f87caf72e7dbf4e3ba635f515c3cf1ad32a44')
  })

  it('take half precision and quantised models, as far as there are numbers', async () => {
    const { dir } = zoo.find(({ expected }) => expected.variants.some(({ kind }) => kind === 'fp16'))!
    const { weights } = await inspectModel(dir, { variant: 'fp16' })
    const made = await pruneModel({ modelDir: dir, variant: 'fp16', tensors: weights, score: 'magnitude', seed }, keep)
    expect(made.space.tensors).toHaveLength(weights.length)
    const forward = await pruneModel({ modelDir: dir, variant: 'fp16', tensors: weights, score: 'forward', seed }, keep)
    expect(forward.slopes!.first).toHaveLength(1)
  })

  it('refuse tensors that are no weights, and keep rates out of range', async () => {
    const options = await optionsFor(DEMO, { score: 'magnitude' })
    const odd = (tensor: WeightTensor) => pruneModel({ ...options, tensors: [tensor] }, keep)
    await expect(odd({ name: 'positions', shape: [128, 128] })).rejects.toThrow(refused('unknown_site'))
    await expect(odd({ ...options.tensors[0]!, shape: [3] })).rejects.toThrow(refused('site_mismatch'))
    for (const rate of [0, 1.01])
      await expect(pruneModel(options, { ...keep, keep: rate })).rejects.toThrow(refused('keep_out_of_range'))
  })
})

describe('verification', () => {
  it('tells the same mask, one flipped bit, and a mask of other tensors', async () => {
    const options = await optionsFor(DEMO)
    const { mask, space } = await pruneModel(options, keep)
    const kept = space.tensors.reduce((sum, tensor) => sum + tensor.kept, 0)
    expect(await verifyMask(mask, options, keep)).toMatchObject({ equal: true, overlap: 1 })
    const flipped = mask.slice()
    flipped[flipped.findIndex((byte) => byte !== 0)]! &= flipped.find((byte) => byte !== 0)! - 1
    expect(await verifyMask(flipped, options, keep)).toMatchObject({ equal: false, overlap: (kept - 1) / kept })
    const some = { ...options, tensors: options.tensors.slice(1) }
    expect(await verifyMask(mask, some, keep)).toMatchObject({ equal: false, overlap: 0 })
  })
})

it('knows the layer of each weight, whatever names the exporter left', () => {
  const { dir } = zoo.find(({ name }) => name === 'llama-causal-dynamo-23')!
  const layers = layersOfWeights(dir)
  expect(layers.get('val_94')).toBe(0)
  expect(layers.get('model.layers.1.input_layernorm.weight')).toBe(1)
  expect(layers.has('model.embed_tokens.weight')).toBe(false)
})
