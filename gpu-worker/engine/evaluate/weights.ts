import type { FullSpace, PrunedSpace } from '../../../shared/zo/index.ts'
import { weightOf } from '../graph/stage.ts'
import { Bucket } from './bucket.ts'
import { blocks, byKey, mostMembers } from './chunks.ts'
import { type BucketLead, type Groups, leadOf, type SpaceDriver } from './driver.ts'
import type { Feeds } from './feeds.ts'
import { filledUp } from './filled.ts'
import type { Model } from './model.ts'
import { PrefixCache } from './prefix-cache.ts'
import { ResidentWeights } from './resident-weights.ts'
import { type EncodedRecord, type FinishedStage, type Output, valuesPerGroup } from './setup.ts'
import { Shelf } from './shelf.ts'
import { HostWeights, type TrainedWeights } from './trained-weights.ts'

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
  readonly #weights: TrainedWeights
  /** Finished stages that are not part of the weights yet. */
  #unloaded: readonly FinishedStage[] | undefined = []

  /** @throws EngineError where the space does not fit the model, or memory does not hold its weights. */
  constructor(model: Model, { space, mask }: { space: FullSpace | PrunedSpace; mask: Uint8Array | undefined }) {
    this.#model = model
    this.#space = space
    this.#cache = new PrefixCache(model.setup.cacheBytes)
    this.#shelf = new Shelf(model.setup.limits.buckets)
    for (const tensor of space.tensors) weightOf(model.graph, tensor)
    const isResident = model.setup.device === 'webgpu' && space.kind === 'full'
    this.#weights = isResident ? new ResidentWeights(model, space) : new HostWeights(model, { space, mask })
  }

  async setStage(_stage: number, finished: readonly FinishedStage[]): Promise<void> {
    this.#unloaded = finished
    // Weights before the first trained one stand as they were, but what is kept of them belongs to no other run.
    this.#cache.clear()
  }

  async run(records: readonly EncodedRecord[], groups: Groups, output: Output): Promise<Float32Array> {
    const width = valuesPerGroup(this.#model.setup.outputs, output)
    const values = new Float32Array(records.length * groups.count * width)
    if (this.#unloaded) await this.#weights.load(this.#unloaded)
    this.#unloaded = undefined
    await this.#weights.setCenter(groups.center)
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
          const weights = await this.#weights.perturbed(groups, g)
          for (const { chunk, feeds } of calls) {
            const made = await bucket.run({ ...feeds, ...weights }, output, members * width)
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
    await this.#weights.release()
  }

  #bucket(tokens: number): Promise<Bucket> {
    return this.#shelf.take(String(tokens), () => this.#open(tokens))
  }

  async #open(bucket: number): Promise<Bucket> {
    const trained = { kind: 'weights', tensors: this.#space.tensors } as const
    return Bucket.open(this.#model, this.#model.graph, { trained, lead: 'records', bucket }, this.#cache)
  }
}
