import type { FullSpace, PrunedSpace } from '../../../shared/zo/index.ts'
import { weightInput, weightOf } from '../graph/stage.ts'
import { floatsOf } from '../graph/tensor.ts'
import type { Groups } from './driver.ts'
import type { Feeds } from './feeds.ts'
import type { Model } from './model.ts'
import { WeightMemory } from './weight-memory.ts'

/** Trained weights wherever they lie, as inputs of the tail. */
export interface TrainedWeights {
  /** The weights that a stage begins with: the model's plus finished stages, in order, each sum rounded once. */
  load(finished: readonly Float32Array[]): Promise<void>
  /** The weights around which a round perturbs. */
  setCenter(trained: Float32Array): Promise<void>
  /** The weights of one group of a round; good until the next call. */
  perturbed(groups: Groups, group: number): Promise<Feeds>
  release(): Promise<void>
}

/** Weights in the memory of the host, which the CPU provider reads in place. */
export class HostWeights implements TrainedWeights {
  readonly #model: Model
  readonly #space: FullSpace | PrunedSpace
  readonly #memory: WeightMemory
  readonly #feeds: Readonly<Record<'out' | 'other', Feeds>>

  constructor(model: Model, space: FullSpace | PrunedSpace) {
    this.#model = model
    this.#space = space
    this.#memory = new WeightMemory(space, { seed: model.setup.seed, mask: model.setup.mask })
    const feedsOf = (side: 'out' | 'other'): Feeds => {
      const weights = this.#memory.weights(side)
      return Object.fromEntries(
        space.tensors.map(({ name, shape }, segment) => {
          return [weightInput(name), new model.runtime.Tensor('float32', weights[segment]!, shape)] as const
        }),
      )
    }
    this.#feeds = { out: feedsOf('out'), other: feedsOf('other') }
  }

  async load(finished: readonly Float32Array[]): Promise<void> {
    this.#space.tensors.forEach((tensor, segment) => {
      this.#memory.setBase(segment, floatsOf(weightOf(this.#model.graph, tensor)))
    })
    for (const trained of finished) this.#memory.merge(trained)
  }

  async setCenter(trained: Float32Array): Promise<void> {
    this.#memory.setCenter(trained)
  }

  async perturbed(groups: Groups, group: number): Promise<Feeds> {
    return this.#feeds[this.#memory.perturb(groups, group)]
  }

  async release(): Promise<void> {}
}
