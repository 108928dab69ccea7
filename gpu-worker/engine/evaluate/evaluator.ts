import type { InferenceSession, Tensor } from 'onnxruntime-node'
import type { LoraSpace } from '../../../shared/zo/index.ts'
import { EngineError } from '../error.ts'
import { restrictDecoder } from '../graph/decoder.ts'
import { graphBytes, readGraph } from '../graph/file.ts'
import { type ProbedValue, probeGraph } from '../graph/fold.ts'
import type { Graph } from '../graph/graph.ts'
import { LABEL, LOGITS, LOSSES, POSITION } from '../graph/loss.ts'
import { mergedGraph, type StageGraphs, sitesOf, stageGraphs } from '../graph/stage.ts'
import { type Runtime, SESSION_OPTIONS } from '../ort.ts'
import { type FactorValues, groupParts, layOut } from './factors.ts'
import { type Boundary, PrefixCache, recordKey } from './prefix-cache.ts'

/** What an evaluator needs to know of a run. */
export interface EvaluatorSetup {
  readonly modelDir: string
  /** Token of each label word; a record's label is an index into these. */
  readonly labelTokens: readonly number[]
  readonly space: LoraSpace
  /** Public seed of the run. */
  readonly seed: string
  readonly padToken: number
  /** Bytes that prefixes of records may take between calls; 0 keeps none. */
  readonly cacheBytes: number
}

/** One record as token ids. */
export interface EncodedRecord {
  /** Token ids without padding. */
  readonly ids: Int32Array
  /** Index of the mask token in `ids`. */
  readonly maskPosition: number
  /** Length it is padded to. */
  readonly bucket: number
}

export interface LabelledRecord {
  readonly encoded: EncodedRecord
  /** Index of the label. */
  readonly label: number
}

export type Output = 'losses' | 'logits'

interface BucketSessions {
  readonly graphs: StageGraphs
  readonly prefix: InferenceSession
  readonly tail: InferenceSession
}

type Feeds = Record<string, Tensor>

/** Sessions of a bucket with the factors of one call: one entry for each part of the groups. */
interface ReadyBucket extends BucketSessions {
  readonly factors: readonly Feeds[]
}

/**
 * Losses of records under groups of factors, in one thread. Every call of the runtime sees ONE record, so that a record's
 * losses cannot depend on its batch mates: not by a test alone, but because they never meet.
 */
export class Evaluator {
  readonly #runtime: Runtime
  readonly #setup: EvaluatorSetup
  readonly #base: Graph
  readonly #probed = new Map<number, ReadonlyMap<string, ProbedValue>>()
  readonly #sessions = new Map<number, BucketSessions>()
  readonly #cache: PrefixCache
  #stage = 0
  #merged: Graph

  /** Reads the model. @throws EngineError where the model, the labels or the sites do not fit. */
  constructor(runtime: Runtime, setup: EvaluatorSetup) {
    this.#runtime = runtime
    this.#setup = setup
    this.#cache = new PrefixCache(setup.cacheBytes)
    this.#base = readGraph(setup.modelDir, { weights: true })
    restrictDecoder(this.#base, setup.labelTokens)
    sitesOf(this.#base, setup.space)
    this.#merged = this.#base
  }

  /** Takes the frozen factors of `stage` and merges the finished stages; sessions are made again when next needed. */
  async setStage(stage: number, finished: readonly Float32Array[]): Promise<void> {
    await this.release()
    this.#merged = mergedGraph(this.#base, this.#setup, finished)
    this.#stage = stage
  }

  /** Losses [records, groups], or class logits [records, groups, labels], row-major. Calls must not overlap. */
  async run(
    records: readonly LabelledRecord[],
    groups: readonly Float32Array[],
    output: Output,
  ): Promise<Float32Array> {
    const width = output === 'losses' ? 1 : this.#setup.labelTokens.length
    const values = new Float32Array(records.length * groups.length * width)
    const buckets = new Map<number, ReadyBucket>()
    let at = 0
    for (const record of records) {
      const { bucket } = record.encoded
      const ready = buckets.get(bucket) ?? (await this.#ready(bucket, groups))
      buckets.set(bucket, ready)
      for (const part of await this.#evaluate(record, ready, output)) {
        values.set(part, at)
        at += part.length
      }
    }
    return values
  }

  /** Ends all sessions. */
  async release(): Promise<void> {
    const sessions = [...this.#sessions.values()]
    this.#sessions.clear()
    this.#cache.clear()
    for (const { prefix, tail } of sessions) {
      await prefix.release()
      await tail.release()
    }
  }

  /** Sessions of a bucket, and the factors laid out for them once for all records. */
  async #ready(bucket: number, groups: readonly Float32Array[]): Promise<ReadyBucket> {
    const sessions = await this.#bucketSessions(bucket)
    const tensorOf = ({ name, values, dims }: FactorValues) =>
      [name, new this.#runtime.Tensor('float32', values, dims)] as const
    const factors = groupParts(groups, sessions.graphs.groupElements).map((part) =>
      Object.fromEntries(layOut(sessions.graphs.factors, this.#setup.space, part).map(tensorOf)),
    )
    return { ...sessions, factors }
  }

  /** One record: the prefix once, the tail for each part of the groups. */
  async #evaluate({ encoded, label }: LabelledRecord, ready: ReadyBucket, output: Output): Promise<Float32Array[]> {
    const one = (value: number): Tensor => new this.#runtime.Tensor('int64', BigInt64Array.of(BigInt(value)), [1])
    const steering: Feeds = { [POSITION]: one(encoded.maskPosition), [LABEL]: one(label) }
    const boundary = await this.#boundary(encoded, ready.prefix, { [POSITION]: steering[POSITION]! })
    const name = output === 'losses' ? LOSSES : LOGITS
    const made: Float32Array[] = []
    for (const factors of ready.factors) {
      const feeds = inputsOf(ready.tail, { ...boundary, ...factors, ...steering })
      const outputs = await ready.tail.run(feeds, [name])
      made.push(outputs[name]!.data as Float32Array)
    }
    return made
  }

  /** What the prefix makes of a record: from the cache, or now. */
  async #boundary(record: EncodedRecord, prefix: InferenceSession, steering: Feeds): Promise<Boundary> {
    const key = recordKey(record)
    const known = this.#cache.get(key)
    if (known) return known
    const made = (await prefix.run(inputsOf(prefix, { ...this.#tokenFeeds(record), ...steering }))) as Boundary
    this.#cache.set(key, made)
    return made
  }

  /** Token ids, attention mask and token types, [1, bucket]. */
  #tokenFeeds({ ids, bucket }: EncodedRecord): Feeds {
    const padded = new BigInt64Array(bucket).fill(BigInt(this.#setup.padToken))
    const mask = new BigInt64Array(bucket)
    ids.forEach((id, at) => {
      padded[at] = BigInt(id)
      mask[at] = 1n
    })
    const tensor = (values: BigInt64Array): Tensor => new this.#runtime.Tensor('int64', values, [1, bucket])
    return {
      input_ids: tensor(padded),
      attention_mask: tensor(mask),
      token_type_ids: tensor(new BigInt64Array(bucket)),
    }
  }

  async #bucketSessions(bucket: number): Promise<BucketSessions> {
    const known = this.#sessions.get(bucket)
    if (known) return known
    const { space, seed } = this.#setup
    const graphs = stageGraphs(this.#merged, { space, seed, stage: this.#stage }, await this.#probe(bucket))
    const made = { graphs, prefix: await this.#session(graphs.prefix), tail: await this.#session(graphs.tail) }
    this.#sessions.set(bucket, made)
    return made
  }

  /** Runs the model once for a record of padding, to learn what its shape arithmetic comes to in this bucket. */
  async #probe(bucket: number): Promise<ReadonlyMap<string, ProbedValue>> {
    const known = this.#probed.get(bucket)
    if (known) return known
    const session = await this.#session(probeGraph(this.#base))
    const ids = new Int32Array(bucket).fill(this.#setup.padToken)
    const outputs = await session.run(inputsOf(session, this.#tokenFeeds({ ids, maskPosition: 0, bucket })))
    const probed = new Map(
      Object.entries(outputs).map(
        ([name, { type, dims, data }]) => [name, { type, dims, data } as ProbedValue] as const,
      ),
    )
    await session.release()
    this.#probed.set(bucket, probed)
    return probed
  }

  async #session(graph: Graph): Promise<InferenceSession> {
    try {
      return await this.#runtime.InferenceSession.create(graphBytes(graph), SESSION_OPTIONS)
    } catch (cause) {
      throw new EngineError('unsupported_graph', 'the runtime refuses the rewritten graph', { cause })
    }
  }
}

/** The feeds that a session takes, out of all there are. @throws EngineError naming an input nobody feeds. */
function inputsOf(session: InferenceSession, feeds: Feeds): Feeds {
  return Object.fromEntries(
    session.inputNames.map((name) => {
      const feed = feeds[name]
      if (!feed)
        throw new EngineError('unsupported_graph', `the graph has an input ${name} that the engine does not know`)
      return [name, feed] as const
    }),
  )
}
