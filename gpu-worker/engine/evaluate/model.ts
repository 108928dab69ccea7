import { rmSync } from 'node:fs'
import { threadId } from 'node:worker_threads'
import type { InferenceSession } from 'onnxruntime-node'
import { sessionOptions } from '../device/index.ts'
import { EngineError } from '../error.ts'
import { scratchPath, spill, writeGraph } from '../graph/emit.ts'
import { readGraph } from '../graph/file.ts'
import { type ProbedValue, probeGraph } from '../graph/fold.ts'
import type { Graph } from '../graph/graph.ts'
import { restrictHead } from '../graph/head.ts'
import { normalise } from '../normalise/index.ts'
import { type Runtime, STATIC_QUANTISATION } from '../ort.ts'
import { sessionFailure } from './failure.ts'
import { inputsOf, tokenFeeds } from './feeds.ts'
import type { EvaluatorSetup } from './setup.ts'

type Probed = ReadonlyMap<string, ProbedValue>

/** Element types as sessions name them, as ONNX numbers them. */
const ELEMENT_TYPES: Readonly<Record<string, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
}

export const elementTypeOf = (type: string): number => ELEMENT_TYPES[type] ?? 1

let spilled = 0

/** A model of a run: its graph, with weights left in their files, and sessions made of rewritten graphs. */
export class Model {
  readonly runtime: Runtime
  readonly setup: EvaluatorSetup
  /** Head restricted to what the task wants; nobody changes it. */
  readonly graph: Graph
  readonly #probed = new Map<number, Probed>()
  readonly #files: string[] = []

  /** Reads the model. @throws EngineError where it can not be used. */
  constructor(runtime: Runtime, setup: EvaluatorSetup) {
    this.runtime = runtime
    this.setup = setup
    this.graph = readGraph(setup.modelDir, setup.variant)
    normalise(this.graph)
    const { space } = setup
    const trained = new Set('tensors' in space ? space.tensors.map(({ name }) => name) : [])
    restrictHead(this.graph, setup.outputs, trained)
    // The rows of a head that a task reads are picked in single precision before that.
    this.graph.keepsHalves = setup.keepsHalves
  }

  /** A session for a graph; the graph's own files are gone again when it is ready. */
  async session(graph: Graph, options: InferenceSession.SessionOptions = {}): Promise<InferenceSession> {
    const written = writeGraph(graph)
    try {
      return await this.runtime.InferenceSession.create(written.path, {
        ...sessionOptions(this.setup.device),
        ...(graph.nodes.some(({ opType }) => opType === 'QuantizeLinear') ? STATIC_QUANTISATION : {}),
        ...options,
      })
    } catch (cause) {
      throw sessionFailure(cause)
    } finally {
      written.remove()
    }
  }

  /** Runs the model once for a record of padding, to learn what its shape arithmetic comes to in this bucket. */
  async probe(bucket: number): Promise<Probed> {
    const known = this.#probed.get(bucket)
    if (known) return known
    const graph = this.#placed(bucket)
    // Weights are read where they lie: packing them for one run would cost as much memory again.
    const session = await this.session(probeGraph(graph), {
      executionProviders: ['cpu'],
      graphOptimizationLevel: 'disabled',
      extra: { session: { disable_prepacking: '1', qdq_matmulnbits_accuracy_level: '1' } },
    })
    try {
      const outputs = await session.run(inputsOf(session, this.#blankFeeds(bucket)))
      const probed = new Map(
        Object.entries(outputs).map(
          ([name, { type, dims, data }]) => [name, { type, dims, data } as ProbedValue] as const,
        ),
      )
      this.#probed.set(bucket, probed)
      return probed
    } catch (cause) {
      if (cause instanceof EngineError) throw cause
      throw new EngineError(
        'runtime_failed',
        `the model does not run for ${bucket} tokens: does it have so many positions, and the vocabulary of its tokenizer?`,
        { cause },
      )
    } finally {
      await session.release()
    }
  }

  /** The graph for a bucket, or `graph` in its place: positions run from 0, since records are padded on the right. */
  placed(bucket: number, graph: Graph): Graph {
    const at = graph.inputs.findIndex(({ name }) => name === 'position_ids')
    if (at < 0) return graph
    const placed = graph.clone()
    placed.inputs = placed.inputs.filter((_, index) => index !== at)
    placed.addInts(
      'position_ids',
      Array.from({ length: bucket }, (_, position) => position),
      [1, bucket],
    )
    return placed
  }

  #placed(bucket: number): Graph {
    return this.placed(bucket, this.graph)
  }

  #blankFeeds(bucket: number) {
    const none = { positions: new Int32Array(), targets: new Int32Array(), weights: new Float32Array() }
    const ids = new Int32Array(bucket).fill(this.setup.padToken)
    return tokenFeeds(this.runtime, { ids, bucket, ...none }, this.setup.padToken)
  }

  /** Moves what was made in memory for a graph into a file that lives as long as this model. */
  keepOnDisk(graph: Graph): Graph {
    const path = scratchPath(`weights-${threadId}-${spilled++}`)
    spill(graph, path)
    this.#files.push(path)
    return graph
  }

  /** Removes its files. */
  release(): void {
    for (const path of this.#files.splice(0)) rmSync(path, { force: true })
  }
}
