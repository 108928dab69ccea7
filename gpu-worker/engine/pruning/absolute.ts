import type { InferenceSession, Tensor } from 'onnxruntime-node'
import type { WeightTensor } from '../../../shared/zo/index.ts'
import { EngineError } from '../error.ts'
import { runFailure } from '../evaluate/failure.ts'
import { type Feeds, inputsOf, tokenFeeds } from '../evaluate/feeds.ts'
import type { Model } from '../evaluate/model.ts'
import { CLASS_LOGITS } from '../graph/head.ts'
import { productsOf } from '../graph/products.ts'
import { valueInfo } from '../graph/split.ts'
import { weightInput, weightOf } from '../graph/stage.ts'
import { floatsOf } from '../graph/tensor.ts'
import { findWeights } from '../graph/weights.ts'
import { TensorProto_DataType as DataType } from '../onnx/onnx_pb.ts'

/** The token that is repeated, as published: every vocabulary has it. */
const TOKEN = 1

/** What the sum of all outputs comes to. */
export interface OutputSum {
  /** R */
  readonly sum: number
  /** Sum of the outputs without their signs. */
  readonly size: number
}

/** Replaces numbers by their absolute values. */
export function makeAbsolute(values: Float32Array): Float32Array {
  for (let i = 0; i < values.length; i++) values[i] = Math.abs(values[i]!)
  return values
}

/** @throws EngineError where a matrix is not there as numbers, and so has no absolute value. */
function refuseQuantised(model: Model): void {
  const quantised = productsOf(model.graph).find(({ isFloat }) => !isFloat)
  if (quantised)
    throw new EngineError(
      'unsupported_graph',
      `the matrix of node ${quantised.node.name} is quantised: score a float variant of the model, or by magnitude`,
    )
}

/** The model with all its weights as inputs, nothing else changed. */
function withWeightsFed(model: Model, tensors: readonly WeightTensor[], tokens: number) {
  const graph = model.placed(tokens, model.graph).clone()
  for (const { name, shape } of tensors) {
    graph.constants.delete(name)
    graph.redirect(name, weightInput(name))
    graph.inputs.push(valueInfo(weightInput(name), DataType.FLOAT, shape))
  }
  return graph
}

/**
 * R of a model: the sum of its outputs for one token repeated, every weight replaced by its absolute value. Masks, rotary
 * tables and sizes are no weights and stay. Chosen weights lie with the caller, who moves them between calls.
 */
export class AbsoluteModel {
  readonly #session: InferenceSession
  readonly #feeds: Feeds

  private constructor(session: InferenceSession, feeds: Feeds) {
    this.#session = session
    this.#feeds = feeds
  }

  /**
   * @param chosen values of some weights, read at every call.
   * @throws EngineError where the model has quantised matrices, or does not run for so many tokens.
   */
  static async open(model: Model, chosen: ReadonlyMap<string, Float32Array>, tokens: number): Promise<AbsoluteModel> {
    refuseQuantised(model)
    const { Tensor } = model.runtime
    const weights = findWeights(model.graph)
    const record = { ids: new Int32Array(tokens).fill(TOKEN), bucket: tokens }
    const none = { positions: new Int32Array(), targets: new Int32Array(), weights: new Float32Array() }
    const fed = weights.map((weight): [string, Tensor] => {
      const values = chosen.get(weight.name) ?? makeAbsolute(floatsOf(weightOf(model.graph, weight)))
      return [weightInput(weight.name), new Tensor('float32', values, weight.shape)]
    })
    const session = await model.session(withWeightsFed(model, weights, tokens))
    const tokensFed = tokenFeeds(model.runtime, { ...record, ...none }, TOKEN)
    return new AbsoluteModel(session, inputsOf(session, { ...tokensFed, ...Object.fromEntries(fed) }))
  }

  /** Outputs in float32, summed in float64 in their order. @throws EngineError `no_score` where one is not finite. */
  async outputSum(): Promise<OutputSum> {
    const outputs = await this.#session.run(this.#feeds).catch((cause: unknown) => {
      throw runFailure(cause)
    })
    let [sum, size] = [0, 0]
    for (const value of outputs[CLASS_LOGITS]!.data as Float32Array) {
      sum += value
      size += Math.abs(value)
    }
    if (!Number.isFinite(size))
      throw new EngineError(
        'no_score',
        'the outputs of the model with absolute weights are not finite: score by magnitude',
      )
    return { sum, size }
  }

  async release(): Promise<void> {
    await this.#session.release()
  }
}
