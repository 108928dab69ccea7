import { resolve } from 'node:path'
import { groupAt, groupCount, type LoraSpace, spaceDimension } from '../../shared/zo/index.ts'
import { CALL_LIMITS } from './device/index.ts'
import { EngineError } from './error.ts'
import { Evaluator } from './evaluate/evaluator.ts'
import { runFailure, sessionFailure } from './evaluate/failure.ts'
import { inputsOf, tokenFeeds } from './evaluate/feeds.ts'
import { Model } from './evaluate/model.ts'
import type { EncodedRecord, EvaluatorSetup } from './evaluate/setup.ts'
import { writeGraph } from './graph/emit.ts'
import type { Variant } from './graph/file.ts'
import { fold } from './graph/fold.ts'
import type { Graph } from './graph/graph.ts'
import { elementCount } from './graph/tensor.ts'
import type { ModelInspection } from './inspect.ts'
import { recordAxes, regularise } from './normalise/index.ts'
import { loadRuntime, SESSION_OPTIONS } from './ort.ts'
import type { Outputs } from './task/record.ts'

/**
 * What running a model shows: memory of its activations, how records are put together, speed. On the CPU, one thread.
 */

export interface ExaminedModel {
  readonly modelDir: string
  readonly variant?: Variant
  readonly inspection: ModelInspection
  /** Length of the records. */
  readonly tokens: number
}

export interface Examination {
  /** Bytes of the activations of one record that live at once, at most. */
  readonly activationBytes: number
  /** Node that keeps records from being put into one call; undefined where there is none. */
  readonly oneByOne: string | undefined
}

/** Positions of a completion that count, in what is measured. */
const COMPLETION = 16
/** Any token that every vocabulary has. */
const SOME_TOKEN = 1
const FLOAT_BYTES = 4

/** What the head is asked for: two labels, all classes, or the whole vocabulary. */
function outputsOf({ tasks, classes }: ModelInspection): Outputs {
  if (tasks[0] === 'sequence-classification') return { kind: 'classes', count: classes ?? 2 }
  return tasks[0] === 'causal-lm' ? { kind: 'vocabulary' } : { kind: 'rows', tokens: [SOME_TOKEN, SOME_TOKEN + 1] }
}

const positionsOf = (outputs: Outputs, tokens: number): number =>
  outputs.kind === 'vocabulary' ? Math.min(COMPLETION, tokens - 1) : 1

function setupOf({ modelDir, variant, inspection, tokens }: ExaminedModel, space: LoraSpace): EvaluatorSetup {
  const outputs = outputsOf(inspection)
  return {
    ...{ modelDir: resolve(modelDir), variant, outputs, space },
    positions: new Map([[tokens, positionsOf(outputs, tokens)]]),
    ...{ mask: undefined, seed: '0000000000000000', padToken: 0, cacheBytes: 0 },
    device: 'cpu',
    keepsHalves: false,
    limits: { call: CALL_LIMITS.cpu, buckets: 1 },
  }
}

/** Bytes of the tensors that are made and still to be read, at most, when nodes run in their order. */
export function liveBytes(graph: Graph): number {
  const lastReader = new Map<string, number>()
  graph.nodes.forEach((node, at) => {
    for (const input of node.input) lastReader.set(input, at)
  })
  let live = 0
  let most = 0
  const sizeOf = (tensor: string): number => FLOAT_BYTES * elementCount(graph.dims.get(tensor) ?? [0])
  graph.nodes.forEach((node, at) => {
    for (const output of node.output) if (lastReader.has(output)) live += sizeOf(output)
    most = Math.max(most, live)
    for (const input of new Set(node.input)) if (lastReader.get(input) === at) live -= sizeOf(input)
  })
  return most
}

/** @throws EngineError where the model does not run for records of this length. */
export async function examineModel(examined: ExaminedModel): Promise<Examination> {
  const { tokens } = examined
  const space: LoraSpace = { kind: 'lora', rank: 1, trained: 'factor', sites: [] }
  const model = new Model(await loadRuntime(), setupOf(examined, space))
  try {
    const graph = model.placed(tokens, model.graph).clone()
    fold(graph, await model.probe(tokens))
    regularise(graph)
    const { unknown } = recordAxes(graph)
    return { activationBytes: liveBytes(graph), oneByOne: unknown && `${unknown.name} (${unknown.opType})` }
  } finally {
    model.release()
  }
}

/** Seconds of CPU time would hide waiting; a user waits wall time. */
async function timed(run: () => Promise<unknown>, seconds: number): Promise<number> {
  await run()
  const began = performance.now()
  let count = 0
  do {
    await run()
    count++
  } while (performance.now() - began < 1000 * seconds)
  return (performance.now() - began) / 1000 / count
}

/** Tokens of a call on a CPU: longer calls are not faster. */
const CALL_TOKENS = 512

/**
 * Speed of the model as exported, nothing trained.
 * @returns tokens a second, one thread.
 */
export async function measureForward(examined: ExaminedModel, seconds: number): Promise<number> {
  const { tokens } = examined
  const space: LoraSpace = { kind: 'lora', rank: 1, trained: 'factor', sites: [] }
  const runtime = await loadRuntime()
  const model = new Model(runtime, setupOf(examined, space))
  const written = writeGraph(model.placed(tokens, model.graph))
  try {
    const session = await runtime.InferenceSession.create(written.path, SESSION_OPTIONS).catch((cause: unknown) => {
      throw sessionFailure(cause)
    })
    const feeds = inputsOf(session, tokenFeeds(runtime, recordOf(tokens, 1), 0))
    const calls = Math.max(1, Math.floor(CALL_TOKENS / tokens))
    const run = async (): Promise<void> => {
      for (let call = 0; call < calls; call++) await session.run(feeds)
    }
    const perRun = await timed(run, seconds).catch((cause: unknown) => {
      throw runFailure(cause)
    })
    await session.release()
    return (calls * tokens) / perRun
  } finally {
    written.remove()
    model.release()
  }
}

/** A record of full length whose last positions count. */
function recordOf(tokens: number, positions: number): EncodedRecord {
  const first = positions === 1 ? 0 : tokens - 1 - positions
  return {
    ids: new Int32Array(tokens).fill(SOME_TOKEN),
    bucket: tokens,
    positions: Int32Array.from({ length: positions }, (_, at) => first + at),
    targets: new Int32Array(positions),
    weights: new Float32Array(positions).fill(1 / positions),
  }
}

export interface RoundSpeed {
  /** Sequences a second: records times perturbed vectors. */
  readonly sequences: number
  /** `groups`: one record under many vectors; `records`: several under one; `single`: one under one. */
  readonly lead: 'groups' | 'records' | 'single'
  /** Why it is `single`. */
  readonly reason: string | undefined
}

/** A round as it is measured: all sites of the layers, K directions on both sides, a few records. */
const ROUND = { rank: 4, directions: 8, records: 2, radius: 1e-3 } as const

/** @throws EngineError `unknown_site` where the model has no layers. */
export async function measureRound(examined: ExaminedModel, seconds: number): Promise<RoundSpeed> {
  const sites = examined.inspection.sites.filter(({ name }) => name.startsWith('layer.'))
  if (sites.length === 0) throw new EngineError('unknown_site', 'the model has no layers with sites')
  const space: LoraSpace = {
    ...{ kind: 'lora', trained: 'factor', rank: ROUND.rank },
    sites: sites.map((site) => ({ ...site, scale: 1 })),
  }
  const setup = setupOf(examined, space)
  const evaluator = new Evaluator(await loadRuntime(), setup)
  const positions = setup.positions.get(examined.tokens)!
  const records = Array.from({ length: ROUND.records }, () => recordOf(examined.tokens, positions))
  const count = groupCount({ directions: ROUND.directions, sides: 'two' })
  const groups = {
    ...{ count, round: 0, radius: ROUND.radius },
    center: new Float32Array(spaceDimension(space)),
    at: (group: number) => groupAt(group, 'two'),
  }
  try {
    const perRound = await timed(() => evaluator.run(records, groups, 'losses'), seconds)
    const [lead] = await evaluator.leads()
    return { sequences: (records.length * count) / perRound, lead: lead!.lead, reason: lead!.reason }
  } finally {
    await evaluator.release()
  }
}
