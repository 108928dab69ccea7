import { resolve } from 'node:path'
import type { Task } from '../../shared/api/task.ts'
import { type Perturbation, type RunSpace, type Space, spaceDimension } from '../../shared/zo/index.ts'
import type { Line } from '../data/index.ts'
import { chooseDevice, type Device, type DeviceWish, limitsFor, memoryOf, threadsFor } from './device/index.ts'
import { EngineError } from './error.ts'
import { Pool } from './evaluate/pool.ts'
import { stageSpaceOf } from './evaluate/setup.ts'
import { modelBytes, type Variant } from './graph/file.ts'
import { type EncodedRecord, loadTokenizer, prepareTask } from './task/index.ts'

export interface EngineOptions {
  /** Folder in the layout of transformers.js: tokenizer.json, config.json, onnx/model.onnx. */
  readonly modelDir: string
  /** Which of several precisions in the folder; default: the plain one, or the only one. */
  readonly variant?: Variant
  readonly task: Task
  readonly space: RunSpace
  /** Bitset of a `pruned` space. */
  readonly mask?: Uint8Array
  /** Where the stages after the first train, if not all where the first does. */
  readonly later?: readonly { readonly space: Space; readonly mask?: Uint8Array }[]
  /** Public seed of the run, 16 hexadecimal digits. */
  readonly seed: string
  /**
   * Evaluating threads, each with its own copy of the weights. Default 1; `auto`: as many as cores and memory allow. The
   * losses are the same for any number.
   */
  readonly threads?: number | 'auto'
  /** Memory for what the untrained layers make of each record, for each thread. Default 256 MiB; 0 keeps nothing. */
  readonly cacheBytes?: number
  /**
   * Whether float16 matrices of the file stay so in memory, half as large, and are widened call by call; otherwise once, when
   * they are loaded. Everything is computed in float32 either way. Default: on a GPU they stay.
   */
  readonly keepsHalves?: boolean
  /** Where to evaluate; default `cpu`. What `auto` comes to is in the engine's `device`. */
  readonly device?: DeviceWish
}

/** A model made ready for a run. Calls may overlap; they are answered in order. */
export interface Engine {
  /** Number of trained coordinates d of the stage: the length of its trained vectors. */
  readonly dimension: number
  readonly device: Device
  readonly threads: number
  /** A line of data as tokens, cut to the task's maximum. @throws EngineError where the line does not fit the task. */
  encode(line: Line): EncodedRecord
  /** Moves to a stage: its frozen factors, and earlier stages merged into the weights in order. */
  setStage(stage: number, finished: readonly Float32Array[]): Promise<void>
  /**
   * Makes and runs everything that a round of this shape needs, for every bucket, on padding: what does not fit is told
   * now and not in the middle of a round, and the first round is as fast as the others.
   */
  warm(round: Pick<Perturbation, 'directions' | 'sides'>): Promise<void>
  /**
   * Loss of every record under every group of a round: in order 0+, 0-, 1+, 1-, ... of two sides, or the center once and
   * then 0+, 1+, ... of one.
   * @returns nats, [records, groups], row-major. A record's losses are the same bits whatever else is in the call.
   */
  losses(records: readonly EncodedRecord[], at: Perturbation): Promise<Float32Array>
  /** Loss of every record at the center alone: nats, [records]. */
  centerLosses(records: readonly EncodedRecord[], center: Float32Array): Promise<Float32Array>
  /** Class logits [records, classes], row-major, in the order of the task's classes; for classification tasks. */
  logits(records: readonly EncodedRecord[], center: Float32Array): Promise<Float32Array>
  /** Activations [records, size] at the last token of each record, row-major; where the space is a statistic. */
  activations(records: readonly EncodedRecord[]): Promise<Float32Array>
  /** Ends the threads; later calls fail with code `closed`. */
  close(): Promise<void>
}

/** Nothing is trained where activations are read. */
const READING = { center: new Float32Array(), around: 'center' } as const

const CACHE_BYTES = 256 * 2 ** 20

/** @throws EngineError `wrong_length`. */
function checkLength(vector: Float32Array, dimension: number): void {
  if (vector.length !== dimension)
    throw new EngineError('wrong_length', `a trained vector does not have ${dimension} entries`)
}

/**
 * Opens a model for a run, at stage 0.
 * @example
 * const engine = await openEngine({ modelDir, task, space, seed })
 * const record = engine.encode({ text: 'free money', label: 'spam' })
 * const losses = await engine.losses([record], { center, round: 0, directions: 16, radius: 0.01, sides: 'two' })
 * @throws EngineError where model, task and space do not fit together.
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { task, space, seed, mask, variant, cacheBytes = CACHE_BYTES } = options
  const later = options.later?.map((each) => ({ space: each.space, mask: each.mask }))
  const modelDir = resolve(options.modelDir)
  const tokenizer = loadTokenizer(modelDir)
  const { encode, outputs, positionsOf } = prepareTask(task, tokenizer)
  const positions = new Map(task.buckets.map((bucket) => [bucket, positionsOf(bucket)]))
  const { padToken } = tokenizer
  const blankOf = (bucket: number): EncodedRecord => ({
    ids: Int32Array.of(padToken),
    bucket,
    positions: Int32Array.of(0),
    targets: Int32Array.of(0),
    weights: Float32Array.of(1),
  })
  const device = await chooseDevice(options.device ?? 'cpu')
  const machine = memoryOf()
  const weightBytes = modelBytes(modelDir, variant)
  const asked = options.threads ?? 1
  const threads = asked === 'auto' ? threadsFor(device, machine, weightBytes) : asked
  const limits = limitsFor(device, machine, { threads, weightBytes })
  const keepsHalves = options.keepsHalves ?? device !== 'cpu'
  const run = { modelDir, variant, outputs, positions, space, mask, seed, padToken, ...(later ? { later } : {}) }
  const setup = { ...run, cacheBytes, device, keepsHalves, limits }
  const dimensionOf = (stage: number): number => {
    const at = stageSpaceOf(setup, stage).space
    return at.kind === 'statistic' ? at.size : spaceDimension(at)
  }
  let dimension = dimensionOf(0)
  const pool = await Pool.open(threads, setup)
  return {
    get dimension() {
      return dimension
    },
    device,
    threads,
    encode,
    setStage: async (stage, finished) => {
      if (stage !== finished.length)
        throw new EngineError('wrong_stage', `stage ${stage} follows ${stage} finished stages, not ${finished.length}`)
      for (const [each, vector] of finished.entries()) checkLength(vector, dimensionOf(each))
      await pool.setStage(stage, finished)
      dimension = dimensionOf(stage)
    },
    warm: (shape) => {
      if (space.kind === 'statistic') return pool.warm(task.buckets.map(blankOf), READING, 'activations')
      const around = { ...shape, round: 0, radius: 1e-3 }
      return pool.warm(task.buckets.map(blankOf), { center: new Float32Array(dimension), around })
    },
    losses: async (records, { center, ...around }) => {
      checkLength(center, dimension)
      return pool.run(records, { center, around }, 'losses')
    },
    centerLosses: async (records, center) => {
      checkLength(center, dimension)
      return pool.run(records, { center, around: 'center' }, 'losses')
    },
    logits: async (records, center) => {
      checkLength(center, dimension)
      if (outputs.kind === 'vocabulary')
        throw new EngineError('no_classes', 'a causal task has no class logits: ask for losses')
      return pool.run(records, { center, around: 'center' }, 'logits')
    },
    activations: async (records) => {
      if (space.kind !== 'statistic')
        throw new EngineError('wrong_stage', 'activations are read where the space is a statistic')
      return pool.run(records, READING, 'activations')
    },
    close: () => pool.close(),
  }
}
