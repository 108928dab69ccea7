import { EngineError } from '../error.ts'
import type { Runtime } from '../ort.ts'
import { ActivationDriver } from './activations.ts'
import type { BucketLead, Groups, SpaceDriver } from './driver.ts'
import { LoraDriver } from './lora.ts'
import { Model } from './model.ts'
import {
  type EncodedRecord,
  type EvaluatorSetup,
  finishedStages,
  type Output,
  type StageSpace,
  stageSpaceOf,
} from './setup.ts'
import { WeightsDriver } from './weights.ts'

/** Losses of records under groups of trained vectors, in one thread. */
export class Evaluator {
  readonly #model: Model
  #at: StageSpace
  /** Undefined while it is exchanged: the memory of the one before goes before that of the next is made. */
  #driver: SpaceDriver | undefined

  /** Reads the model. @throws EngineError where the model, the task or the space do not fit. */
  constructor(runtime: Runtime, setup: EvaluatorSetup) {
    this.#model = new Model(runtime, setup)
    this.#at = stageSpaceOf(setup, 0)
    this.#driver = driverOf(this.#model, this.#at)
  }

  /** Takes what belongs to a stage and merges the finished ones; sessions are made again when next needed. */
  async setStage(stage: number, finished: readonly Float32Array[]): Promise<void> {
    const { setup } = this.#model
    const next = stageSpaceOf(setup, stage)
    if (next.space !== this.#at.space) {
      await this.#driver?.release()
      this.#driver = undefined
      this.#at = next
    }
    this.#driver ??= driverOf(this.#model, next)
    await this.#driver.setStage(stage, finishedStages(setup, finished))
  }

  get #open(): SpaceDriver {
    if (!this.#driver) throw new EngineError('wrong_stage', 'the stage could not be opened')
    return this.#driver
  }

  /** Losses [records, groups], or class logits [records, groups, classes], row-major. Calls must not overlap. */
  run(records: readonly EncodedRecord[], groups: Groups, output: Output): Promise<Float32Array> {
    return this.#open.run(records, groups, output)
  }

  /** How the buckets met so far are run. */
  leads(): Promise<BucketLead[]> {
    return this.#open.leads()
  }

  /** Ends all sessions. */
  async release(): Promise<void> {
    await this.#driver?.release()
    this.#model.release()
  }
}

function driverOf(model: Model, at: StageSpace): SpaceDriver {
  const { space, mask } = at
  if (space.kind === 'statistic') return new ActivationDriver(model, space)
  return space.kind === 'lora' ? new LoraDriver(model, space) : new WeightsDriver(model, { space, mask })
}
