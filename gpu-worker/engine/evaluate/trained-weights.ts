import { type FullSpace, type PrunedSpace, segmentLengths, segmentOffsets } from '../../../shared/zo/index.ts'
import { weightInput, weightOf } from '../graph/stage.ts'
import { floatsOf } from '../graph/tensor.ts'
import type { Groups } from './driver.ts'
import type { Feeds } from './feeds.ts'
import type { Model } from './model.ts'
import type { FinishedStage } from './setup.ts'
import { addWeighted, type Kept, keptOf, WeightMemory } from './weight-memory.ts'

/** Trained weights wherever they lie, as inputs of the tail. */
export interface TrainedWeights {
  /** The weights that a stage begins with: the model's plus finished stages, in order, each sum rounded once. */
  load(finished: readonly FinishedStage[]): Promise<void>
  /** The weights around which a round perturbs. */
  setCenter(trained: Float32Array): Promise<void>
  /** The weights of one group of a round; good until the next call. */
  perturbed(groups: Groups, group: number): Promise<Feeds>
  release(): Promise<void>
}

interface LaidOut {
  readonly trained: Float32Array
  readonly offsets: readonly number[]
  readonly lengths: readonly number[]
  /** Entries that the stage's mask keeps, by tensor. */
  readonly kept: readonly Kept[] | undefined
}

/** Where a finished stage's coordinates lie. @throws EngineError `wrong_mask` */
const laidOut = ({ space, mask, trained }: FinishedStage): LaidOut => ({
  trained,
  offsets: segmentOffsets(space),
  lengths: segmentLengths(space),
  kept: space.kind === 'pruned' ? keptOf(space, mask) : undefined,
})

/** Adds a stage to one weight, each sum rounded once. Stages of one run train the same tensors, whatever entries of them. */
function mergeSegment(weight: Float32Array, { trained, offsets, lengths, kept }: LaidOut, segment: number): void {
  const offset = offsets[segment]!
  const { indices, factors } = kept?.[segment] ?? {}
  const part = trained.subarray(offset, offset + lengths[segment]!)
  if (indices && factors) addWeighted(weight, part, { indices, factors })
  else for (let i = 0; i < part.length; i++) weight[indices ? indices[i]! : i]! += part[i]!
}

/**
 * Adds finished stages to the weights of the model, in order.
 * @returns adds them to one weight, in place: of the tensor at this place of their spaces.
 * @throws EngineError `wrong_mask`
 */
export function mergeStages(finished: readonly FinishedStage[]): (weight: Float32Array, segment: number) => void {
  const stages = finished.map(laidOut)
  return (weight, segment) => {
    for (const stage of stages) mergeSegment(weight, stage, segment)
  }
}

/** Weights in the memory of the host, which the CPU provider reads in place. */
export class HostWeights implements TrainedWeights {
  readonly #model: Model
  readonly #space: FullSpace | PrunedSpace
  readonly #memory: WeightMemory
  readonly #feeds: Readonly<Record<'out' | 'other', Feeds>>

  constructor(model: Model, { space, mask }: { space: FullSpace | PrunedSpace; mask: Uint8Array | undefined }) {
    this.#model = model
    this.#space = space
    this.#memory = new WeightMemory(space, { seed: model.setup.seed, mask })
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

  async load(finished: readonly FinishedStage[]): Promise<void> {
    const merge = mergeStages(finished)
    this.#space.tensors.forEach((tensor, segment) => {
      const weight = floatsOf(weightOf(this.#model.graph, tensor))
      merge(weight, segment)
      this.#memory.setBase(segment, weight)
    })
  }

  async setCenter(trained: Float32Array): Promise<void> {
    this.#memory.setCenter(trained)
  }

  async perturbed(groups: Groups, group: number): Promise<Feeds> {
    return this.#feeds[this.#memory.perturb(groups, group)]
  }

  async release(): Promise<void> {}
}
