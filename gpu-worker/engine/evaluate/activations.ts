import { create } from '@bufbuild/protobuf'
import type { InferenceSession } from 'onnxruntime-node'
import type { StatisticSpace } from '../../../shared/zo/index.ts'
import { EngineError } from '../error.ts'
import { findHiddenStates } from '../graph/hidden.ts'
import { ValueInfoProtoSchema } from '../onnx/onnx_pb.ts'
import type { SpaceDriver } from './driver.ts'
import { runFailure } from './failure.ts'
import { inputsOf, tokenFeeds } from './feeds.ts'
import type { Model } from './model.ts'
import type { EncodedRecord } from './setup.ts'

/** Sessions that are kept: one for each length. */
type Sessions = Map<number, InferenceSession>

/**
 * Reads an activation at the last token of a record. Nothing is trained or perturbed; what lies behind the activation is not
 * computed. A call holds one record, so that no other one can touch it.
 */
export class ActivationDriver implements SpaceDriver {
  readonly #model: Model
  readonly #tensor: string
  readonly #size: number
  readonly #sessions: Sessions = new Map()

  /** @throws EngineError `unknown_site`, `site_mismatch` where the model has no such activation. */
  constructor(model: Model, { activation, size }: StatisticSpace) {
    const found = findHiddenStates(model.graph).find(({ name }) => name === activation)
    if (!found)
      throw new EngineError('unknown_site', `the model has no activation ${activation}: see "sotto model check"`)
    if (found.size !== size)
      throw new EngineError('site_mismatch', `activation ${activation} is ${found.size} wide in the model`)
    this.#model = model
    this.#tensor = found.tensor
    this.#size = size
  }

  async setStage(): Promise<void> {}

  /** @returns activations [records, size], row-major. */
  async run(records: readonly EncodedRecord[]): Promise<Float32Array> {
    const values = new Float32Array(records.length * this.#size)
    for (const [at, record] of records.entries()) values.set(await this.#read(record), at * this.#size)
    return values
  }

  async leads() {
    return []
  }

  async release(): Promise<void> {
    for (const session of this.#sessions.values()) await session.release()
    this.#sessions.clear()
  }

  async #read(record: EncodedRecord): Promise<Float32Array> {
    const { runtime, setup } = this.#model
    const session = await this.#session(record.bucket)
    const feeds = inputsOf(session, tokenFeeds(runtime, record, setup.padToken))
    const { data, type } = await this.#made(session, feeds)
    if (type !== 'float32' || data.length !== record.bucket * this.#size)
      throw new EngineError('unsupported_graph', 'the activation is not one float32 vector for each token')
    const last = record.ids.length - 1
    return (data as Float32Array).subarray(last * this.#size, (last + 1) * this.#size)
  }

  async #made(session: InferenceSession, feeds: ReturnType<typeof inputsOf>) {
    try {
      return (await session.run(feeds))[this.#tensor]!
    } catch (cause) {
      throw runFailure(cause)
    }
  }

  async #session(bucket: number): Promise<InferenceSession> {
    const known = this.#sessions.get(bucket)
    if (known) return known
    // Lengths of the task are few; what one session holds beside the weights is small.
    const graph = this.#model.placed(bucket, this.#model.graph).clone()
    graph.outputs = [create(ValueInfoProtoSchema, { name: this.#tensor })]
    graph.tidy()
    const read = new Set(graph.nodes.flatMap((node) => node.input))
    graph.inputs = graph.inputs.filter(({ name }) => read.has(name))
    const session = await this.#model.session(graph)
    this.#sessions.set(bucket, session)
    return session
  }
}
