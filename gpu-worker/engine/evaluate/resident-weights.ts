import { create } from '@bufbuild/protobuf'
import type { InferenceSession, Tensor } from 'onnxruntime-node'
import {
  direction,
  type FullSpace,
  lowRankFactors,
  matrixShape,
  perturbationStep,
  segmentLengths,
  segmentOffsets,
} from '../../../shared/zo/index.ts'
import { Graph } from '../graph/graph.ts'
import { valueInfo } from '../graph/split.ts'
import { weightInput, weightOf } from '../graph/stage.ts'
import { floatsOf } from '../graph/tensor.ts'
import { TensorProto_DataType as DataType, OperatorSetIdProtoSchema, ValueInfoProtoSchema } from '../onnx/onnx_pb.ts'
import type { Groups } from './driver.ts'
import { runFailure } from './failure.ts'
import type { Feeds } from './feeds.ts'
import type { Model } from './model.ts'
import type { FinishedStage } from './setup.ts'
import type { TrainedWeights } from './trained-weights.ts'

/**
 * Whole weights resident on a WebGPU device. Base and center stay there as buffers; the weights of a group are made there by a
 * small graph, from signs of a byte each, or from two thin factors where directions are of low rank. The trained vector itself
 * is updated by the host, so that its bits are the same everywhere, and goes up once a round.
 *
 * A buffer is never read back: `getData` of one ends the process in onnxruntime-node 1.30.
 */
export class ResidentWeights implements TrainedWeights {
  readonly #model: Model
  readonly #space: FullSpace
  #sessions: { readonly sum: InferenceSession; readonly step: InferenceSession } | undefined
  #base: readonly Tensor[] = []
  #center: readonly Tensor[] = []
  #perturbed: readonly Tensor[] = []

  constructor(model: Model, space: FullSpace) {
    this.#model = model
    this.#space = space
  }

  async load(finished: readonly FinishedStage[]): Promise<void> {
    const { tensors } = this.#space
    const zero = this.#parts(new Float32Array(segmentLengths(this.#space).reduce((sum, length) => sum + length, 0)))
    const base = tensors.map((tensor) => {
      return new this.#model.runtime.Tensor('float32', floatsOf(weightOf(this.#model.graph, tensor)), tensor.shape)
    })
    this.#replaceBase(await this.#sum(base, zero))
    for (const { trained } of finished) this.#replaceBase(await this.#sum(this.#base, this.#parts(trained)))
  }

  async setCenter(trained: Float32Array): Promise<void> {
    const center = await this.#sum(this.#base, this.#parts(trained))
    dispose(this.#center)
    this.#center = center
  }

  async perturbed(groups: Groups, group: number): Promise<Feeds> {
    const { k, sign } = groups.at(group)
    if (sign === 0) return this.#feeds(this.#center)
    const { step } = await this.#open()
    const at = { round: groups.round, k }
    const { directions: kind } = this.#space
    const z = kind.kind === 'dense' ? direction(this.#model.setup.seed, at, this.#space) : undefined
    const length = Float32Array.of(sign * perturbationStep(groups.radius, this.#space, z))
    const directions = z ? this.#denseFeeds(z) : this.#lowRankFeeds(at)
    const feeds = Object.fromEntries(this.#center.map((tensor, segment) => [`w${segment}`, tensor]))
    const made = await run(step, {
      ...feeds,
      ...directions,
      step: new this.#model.runtime.Tensor('float32', length, [1]),
    })
    dispose(this.#perturbed)
    this.#perturbed = this.#space.tensors.map((_, segment) => made[`out${segment}`]!)
    return this.#feeds(this.#perturbed)
  }

  async release(): Promise<void> {
    for (const tensors of [this.#base, this.#center, this.#perturbed]) dispose(tensors)
    this.#base = this.#center = this.#perturbed = []
    const sessions = this.#sessions
    this.#sessions = undefined
    await sessions?.sum.release()
    await sessions?.step.release()
  }

  #replaceBase(base: readonly Tensor[]): void {
    dispose(this.#base)
    this.#base = base
  }

  #feeds(tensors: readonly Tensor[]): Feeds {
    return Object.fromEntries(
      this.#space.tensors.map(({ name }, segment) => [weightInput(name), tensors[segment]!] as const),
    )
  }

  /** A trained vector as tensors on the host. */
  #parts(trained: Float32Array): Tensor[] {
    const offsets = segmentOffsets(this.#space)
    const lengths = segmentLengths(this.#space)
    return this.#space.tensors.map(({ shape }, segment) => {
      const part = trained.slice(offsets[segment]!, offsets[segment]! + lengths[segment]!)
      return new this.#model.runtime.Tensor('float32', part, shape)
    })
  }

  /** base + trained, on the device. */
  async #sum(base: readonly Tensor[], trained: readonly Tensor[]): Promise<Tensor[]> {
    const { sum } = await this.#open()
    const feeds = Object.fromEntries(
      base.flatMap((tensor, segment) => [
        [`w${segment}`, tensor],
        [`d${segment}`, trained[segment]!],
      ]),
    )
    const made = await run(sum, feeds)
    return base.map((_, segment) => made[`out${segment}`]!)
  }

  /** U and V of every tensor. */
  #lowRankFeeds(at: { round: number; k: number }): Feeds {
    const { Tensor } = this.#model.runtime
    const { seed } = this.#model.setup
    const { tensors } = this.#space
    const rank = rankOf(this.#space)
    return Object.fromEntries(
      tensors.flatMap((tensor, segment) => {
        const { left, right } = lowRankFactors(seed, { ...at, segment }, { tensor, rank })
        const { rows, columns } = matrixShape(tensor)
        return [
          [`u${segment}`, new Tensor('float32', Float32Array.from(left), [rows, rank])],
          [`v${segment}`, new Tensor('float32', Float32Array.from(right), [rank, columns])],
        ]
      }),
    )
  }

  /** z of every tensor, a byte an entry. */
  #denseFeeds(z: Int8Array): Feeds {
    const offsets = segmentOffsets(this.#space)
    const lengths = segmentLengths(this.#space)
    return Object.fromEntries(
      this.#space.tensors.map(({ shape }, segment) => {
        const part = z.slice(offsets[segment]!, offsets[segment]! + lengths[segment]!)
        return [`z${segment}`, new this.#model.runtime.Tensor('int8', part, shape)] as const
      }),
    )
  }

  async #open(): Promise<{ sum: InferenceSession; step: InferenceSession }> {
    if (this.#sessions) return this.#sessions
    const options = { preferredOutputLocation: 'gpu-buffer' } as const
    const sum = await this.#model.session(sumGraph(this.#space), options)
    const step = await this.#model.session(stepGraph(this.#space), options)
    this.#sessions = { sum, step }
    return this.#sessions
  }
}

const rankOf = ({ directions }: FullSpace): number => (directions.kind === 'low-rank' ? directions.rank : 0)

const OPSET = 18n

function emptyGraph(space: FullSpace): Graph {
  const graph = new Graph()
  graph.opsets = [create(OperatorSetIdProtoSchema, { domain: '', version: OPSET })]
  graph.outputs = space.tensors.map((_, segment) => create(ValueInfoProtoSchema, { name: `out${segment}` }))
  return graph
}

/** out = w + d, for every tensor. */
function sumGraph(space: FullSpace): Graph {
  const graph = emptyGraph(space)
  space.tensors.forEach(({ shape }, segment) => {
    for (const name of [`w${segment}`, `d${segment}`]) graph.inputs.push(valueInfo(name, DataType.FLOAT, shape))
    graph.add('Add', [`w${segment}`, `d${segment}`], { name: `out${segment}`, dims: shape })
  })
  return graph
}

/** out = w + step z, for every tensor; z as bytes, or as u v. */
function stepGraph(space: FullSpace): Graph {
  const graph = emptyGraph(space)
  graph.inputs.push(valueInfo('step', DataType.FLOAT, [1]))
  space.tensors.forEach((tensor, segment) => {
    const { shape } = tensor
    graph.inputs.push(valueInfo(`w${segment}`, DataType.FLOAT, shape))
    const z = space.directions.kind === 'low-rank' ? lowRank(graph, space.directions.rank) : dense(graph)
    const moved = graph.add('Mul', [z(tensor, segment), 'step'], { name: `moved${segment}`, dims: shape })
    graph.add('Add', [`w${segment}`, moved], { name: `out${segment}`, dims: shape })
  })
  return graph
}

type DirectionOf = (tensor: FullSpace['tensors'][number], segment: number) => string

const dense =
  (graph: Graph): DirectionOf =>
  ({ shape }, segment) => {
    graph.inputs.push(valueInfo(`z${segment}`, DataType.INT8, shape))
    return graph.add('Cast', [`z${segment}`], {
      name: `signs${segment}`,
      dims: shape,
      attributes: { to: DataType.FLOAT },
    })
  }

const lowRank =
  (graph: Graph, rank: number): DirectionOf =>
  (tensor, segment) => {
    const { rows, columns } = matrixShape(tensor)
    graph.inputs.push(valueInfo(`u${segment}`, DataType.FLOAT, [rows, rank]))
    graph.inputs.push(valueInfo(`v${segment}`, DataType.FLOAT, [rank, columns]))
    const product = graph.add('MatMul', [`u${segment}`, `v${segment}`], {
      name: `product${segment}`,
      dims: [rows, columns],
    })
    const target = graph.addInts(`shape${segment}`, tensor.shape)
    return graph.add('Reshape', [product, target], { name: `direction${segment}`, dims: tensor.shape })
  }

async function run(session: InferenceSession, feeds: Feeds): Promise<Record<string, Tensor>> {
  try {
    return await session.run(feeds)
  } catch (cause) {
    throw runFailure(cause)
  }
}

function dispose(tensors: readonly Tensor[]): void {
  for (const tensor of tensors) tensor.dispose()
}
