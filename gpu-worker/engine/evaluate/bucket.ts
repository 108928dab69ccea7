import type { InferenceSession, Tensor } from 'onnxruntime-node'
import { EngineError } from '../error.ts'
import type { Graph } from '../graph/graph.ts'
import { LOGITS, LOSSES, SELECTION } from '../graph/loss.ts'
import { declareInputs, type Lead } from '../graph/split.ts'
import { type StageGraphs, stageGraphs, type Trained } from '../graph/stage.ts'
import { elementCount } from '../graph/tensor.ts'
import { runFailure } from './failure.ts'
import { type Feeds, inputsOf, positionFeeds, selectionFeed, stacked, targetFeeds, tokenFeeds } from './feeds.ts'
import { elementTypeOf, type Model } from './model.ts'
import { type Boundary, type PrefixCache, recordKey } from './prefix-cache.ts'
import type { EncodedRecord, Output } from './setup.ts'

/** The two sessions of one bucket in one lead: the prefix of a record, and the tail. */
export class Bucket {
  readonly graphs: StageGraphs
  /** Why it runs one by one, where it does. */
  readonly reason: string | undefined
  readonly #model: Model
  readonly #cache: PrefixCache
  readonly #prefix: InferenceSession | undefined
  readonly #tail: InferenceSession
  readonly #key: string

  private constructor(
    made: { graphs: StageGraphs; prefix: InferenceSession | undefined; tail: InferenceSession; reason?: string },
    model: Model,
    cache: PrefixCache,
  ) {
    this.graphs = made.graphs
    this.reason = made.reason
    this.#prefix = made.prefix
    this.#tail = made.tail
    this.#model = model
    this.#cache = cache
    this.#key = `${made.graphs.lead}/`
  }

  /**
   * Opens a bucket in the lead asked for, or one by one where the graph does not allow it.
   * @param base the model's graph with finished stages merged.
   * @throws EngineError where the graph can not run at all.
   */
  static async open(
    model: Model,
    base: Graph,
    made: { trained: Trained; lead: Lead; bucket: number },
    cache: PrefixCache,
  ): Promise<Bucket> {
    try {
      return await Bucket.#open(model, base, made, cache)
    } catch (error) {
      if (!(error instanceof EngineError && error.code === 'unsupported_graph')) throw error
      return Bucket.#open(model, base, { ...made, lead: 'single', reason: error.message }, cache)
    }
  }

  static async #open(
    model: Model,
    base: Graph,
    made: { trained: Trained; lead: Lead; bucket: number; reason?: string },
    cache: PrefixCache,
  ): Promise<Bucket> {
    const { bucket, reason, ...rest } = made
    const size = { tokens: bucket, positions: model.setup.positions.get(bucket) ?? 1 }
    const graphs = stageGraphs(model.placed(bucket, base), { ...rest, size }, await model.probe(bucket))
    if (made.lead === 'records') requireMembers(graphs)
    const isEmpty = graphs.prefix.outputs.length === 0
    const prefix = isEmpty ? undefined : await model.session(graphs.prefix)
    try {
      declareInputs(graphs, graphs.trained, made.lead, boundaryTypes(prefix, model.graph))
      const tail = await model.session(graphs.tail)
      return new Bucket({ graphs, prefix, tail, ...(reason === undefined ? {} : { reason }) }, model, cache)
    } catch (error) {
      await prefix?.release()
      throw error
    }
  }

  /** Bytes that the boundary of one record takes, at most. */
  get boundaryBytes(): number {
    const { boundary, tail } = this.graphs
    return boundary.reduce((sum, name) => sum + 8 * elementCount(tail.dimsOf(name)), 1)
  }

  /** What the tail takes of a record: from the cache, or now. */
  async boundary(record: EncodedRecord): Promise<Boundary> {
    const key = this.#key + recordKey(record)
    const known = this.#cache.get(key)
    if (known) return known
    const { runtime, setup } = this.#model
    const tokens = tokenFeeds(runtime, record, setup.padToken)
    const feeds = { ...tokens, ...positionFeeds(runtime, record, this.graphs.size) }
    const made = this.#prefix ? await run(this.#prefix, feeds) : {}
    const boundary: Boundary = Object.fromEntries(
      this.graphs.boundary.map((name) => [name, (made[name] ?? tokens[name])!] as const),
    )
    this.#cache.set(key, boundary)
    return boundary
  }

  /** Boundaries of several records as one, [N, ...]. */
  async boundaries(records: readonly EncodedRecord[]): Promise<Boundary> {
    const parts: Boundary[] = []
    for (const record of records) parts.push(await this.boundary(record))
    return Object.fromEntries(
      this.graphs.boundary.map((name) => {
        return [
          name,
          stacked(
            this.#model.runtime,
            parts.map((part) => part[name]!),
          ),
        ] as const
      }),
    )
  }

  /** What steers a call whose leading axis holds these members: one record again and again, or several. */
  steering(members: readonly EncodedRecord[]): Feeds {
    const { runtime } = this.#model
    const { size, lead } = this.graphs
    const targets = targetFeeds(runtime, members, size.positions)
    const [first] = members as [EncodedRecord]
    const isSelecting = lead === 'records' && this.#tail.inputNames.includes(SELECTION)
    if (isSelecting) return { ...targets, ...selectionFeed(runtime, members, size) }
    return { ...targets, ...positionFeeds(runtime, first, size) }
  }

  /**
   * One call of the tail.
   * @param count numbers that it makes of its members.
   * @throws EngineError where it makes more or fewer: then they are not theirs.
   */
  async run(feeds: Feeds, output: Output, count: number): Promise<Float32Array> {
    const name = output === 'losses' ? LOSSES : LOGITS
    const outputs = await run(this.#tail, feeds, [name])
    const values = outputs[name]!.data as Float32Array
    if (values.length !== count)
      throw new EngineError('unsupported_graph', 'the graph makes other numbers than one for each member of a call')
    return values
  }

  async release(): Promise<void> {
    await this.#prefix?.release()
    await this.#tail.release()
  }
}

/** @throws EngineError where what the prefix makes of a record has no leading axis to put records along. */
function requireMembers({ boundary, tail }: StageGraphs): void {
  const odd = boundary.find((name) => tail.dimsOf(name)[0] !== 1)
  if (odd !== undefined)
    throw new EngineError('unsupported_graph', `tensor ${odd} of several records cannot be put together`)
}

function boundaryTypes(prefix: InferenceSession | undefined, graph: Graph): Map<string, number> {
  const types = new Map<string, number>()
  for (const { name, type } of graph.inputs)
    if (type?.value.case === 'tensorType') types.set(name, type.value.value.elemType)
  for (const output of prefix?.outputMetadata ?? [])
    if (output.isTensor) types.set(output.name, elementTypeOf(output.type))
  return types
}

async function run(
  session: InferenceSession,
  feeds: Feeds,
  outputs?: readonly string[],
): Promise<Record<string, Tensor>> {
  try {
    const inputs = inputsOf(session, feeds)
    return outputs ? await session.run(inputs, outputs) : await session.run(inputs)
  } catch (cause) {
    throw runFailure(cause)
  }
}
