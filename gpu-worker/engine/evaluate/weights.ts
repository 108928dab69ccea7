import type { FullSpace, PrunedSpace } from '../../../shared/zo/index.ts'
import { weightInput, weightOf } from '../graph/stage.ts'
import { floatsOf } from '../graph/tensor.ts'
import { Bucket } from './bucket.ts'
import { blocks, byKey, mostMembers } from './chunks.ts'
import { type BucketLead, type Groups, leadOf, type SpaceDriver } from './driver.ts'
import type { Feeds } from './feeds.ts'
import { filledUp } from './filled.ts'
import type { Model } from './model.ts'
import { PrefixCache } from './prefix-cache.ts'
import { type EncodedRecord, type Output, valuesPerGroup } from './setup.ts'
import { Shelf } from './shelf.ts'
import { WeightMemory } from './weight-memory.ts'

/** Calls whose boundaries are held while the groups pass over them: each block perturbs all weights again. */
const BLOCK_BYTES = 2 ** 28

/**
 * The `full` and `pruned` spaces: weights are inputs of the tail, perturbed where they lie in memory. One perturbation at a
 * time serves all records; calls hold several records in a fixed shape.
 */
export class WeightsDriver implements SpaceDriver {
  readonly #model: Model
  readonly #space: FullSpace | PrunedSpace
  readonly #cache: PrefixCache
  readonly #shelf: Shelf
  readonly #memory: WeightMemory
  readonly #weights: Readonly<Record<'out' | 'other', Feeds>>

  /** @throws EngineError where the space does not fit the model, or memory does not hold its weights. */
  constructor(model: Model, space: FullSpace | PrunedSpace) {
    this.#model = model
    this.#space = space
    this.#cache = new PrefixCache(model.setup.cacheBytes)
    this.#shelf = new Shelf(model.setup.limits.buckets)
    for (const tensor of space.tensors) weightOf(model.graph, tensor)
    this.#memory = new WeightMemory(space, { seed: model.setup.seed, mask: model.setup.mask })
    const { Tensor } = model.runtime
    const feedsOf = (side: 'out' | 'other'): Feeds => {
      const weights = this.#memory.weights(side)
      return Object.fromEntries(
        space.tensors.map(({ name, shape }, segment) => {
          return [weightInput(name), new Tensor('float32', weights[segment]!, shape)] as const
        }),
      )
    }
    this.#weights = { out: feedsOf('out'), other: feedsOf('other') }
    this.#load([])
  }

  async setStage(_stage: number, finished: readonly Float32Array[]): Promise<void> {
    this.#load(finished)
    // Weights before the first trained one stand as they were, but what is kept of them belongs to no other run.
    this.#cache.clear()
  }

  async run(records: readonly EncodedRecord[], groups: Groups, output: Output): Promise<Float32Array> {
    const width = valuesPerGroup(this.#model.setup.outputs, output)
    const values = new Float32Array(records.length * groups.count * width)
    this.#memory.setCenter(groups.center)
    for (const [tokens, placed] of byKey(records, ({ bucket }) => bucket)) {
      const bucket = await this.#bucket(tokens)
      const members =
        bucket.graphs.lead === 'single' ? 1 : mostMembers(bucket.graphs.member, this.#model.setup.limits.call)
      const perBlock = Math.max(1, Math.floor(BLOCK_BYTES / (members * bucket.boundaryBytes)))
      for (const block of blocks(blocks(placed, members), perBlock)) {
        const calls: { chunk: (typeof block)[number]; feeds: Feeds }[] = []
        for (const chunk of block) {
          const filled = filledUp(
            chunk.map(({ item }) => item),
            members,
          )
          calls.push({ chunk, feeds: { ...(await bucket.boundaries(filled)), ...bucket.steering(filled) } })
        }
        for (let g = 0; g < groups.count; g++) {
          const weights = this.#weights[this.#memory.perturb(groups, g)]
          for (const { chunk, feeds } of calls) {
            const made = await bucket.run({ ...feeds, ...weights }, output)
            for (const [at, { index }] of chunk.entries())
              values.set(made.subarray(at * width, (at + 1) * width), (index * groups.count + g) * width)
          }
        }
      }
    }
    return values
  }

  async leads(): Promise<BucketLead[]> {
    return (await this.#shelf.all()).map(leadOf)
  }

  async release(): Promise<void> {
    this.#cache.clear()
    await this.#shelf.clear()
  }

  /** The weights that a stage begins with: base plus finished stages, in order, each sum rounded once. */
  #load(finished: readonly Float32Array[]): void {
    this.#space.tensors.forEach((tensor, segment) => {
      this.#memory.setBase(segment, floatsOf(weightOf(this.#model.graph, tensor)))
    })
    for (const trained of finished) this.#memory.merge(trained)
  }

  #bucket(tokens: number): Promise<Bucket> {
    return this.#shelf.take(String(tokens), () => this.#open(tokens))
  }

  async #open(bucket: number): Promise<Bucket> {
    const trained = { kind: 'weights', tensors: this.#space.tensors } as const
    return Bucket.open(this.#model, this.#model.graph, { trained, lead: 'records', bucket }, this.#cache)
  }
}
