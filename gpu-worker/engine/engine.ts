import { resolve } from 'node:path'
import type { Task } from '../../shared/api/spec.ts'
import { type LoraSpace, spaceDimension } from '../../shared/zo/index.ts'
import { EngineError } from './error.ts'
import type { EncodedRecord } from './evaluate/evaluator.ts'
import { Pool } from './evaluate/pool.ts'
import { preparePrompt } from './prompt/prompt.ts'
import { loadTokenizer } from './prompt/tokenizer.ts'

export interface EngineOptions {
  /** Folder in the layout of transformers.js: tokenizer.json, config.json, onnx/model.onnx. */
  readonly modelDir: string
  readonly task: Task
  readonly space: LoraSpace
  /** Public seed of the run, 16 hexadecimal digits. */
  readonly seed: string
  /** Evaluating threads, each with its own copy of the weights. Default 1. The losses are the same for any number. */
  readonly threads?: number
  /** Memory for what the untrained layers make of each record, for each thread. Default 256 MiB; 0 keeps nothing. */
  readonly cacheBytes?: number
}

export interface EngineRecord {
  readonly encoded: EncodedRecord
  /** Label as the data has it: a key of the task's labels. */
  readonly label: string
}

/** A model made ready for a run. Calls may overlap; they are answered in order. */
export interface Engine {
  /** Number of trained coordinates d: the length of every factor. */
  readonly dimension: number
  /** Text as tokens: template, special tokens, cut to the task's maximum. */
  encode(text: string): EncodedRecord
  /** Moves to a stage: its frozen factors V, and earlier stages merged into the weights in order. */
  setStage(stage: number, finished: readonly Float32Array[]): Promise<void>
  /**
   * Loss of every record under every group of factors (direction and sign), each of length d.
   * @returns [records, groups], row-major. A record's losses are the same bits whatever else is in the call.
   */
  losses(records: readonly EngineRecord[], groups: readonly Float32Array[]): Promise<Float32Array>
  /** Class logits [records, labels], row-major, in the order of the task's labels. */
  logits(records: readonly Pick<EngineRecord, 'encoded'>[], factor: Float32Array): Promise<Float32Array>
  /** Ends the threads; later calls fail with code `closed`. */
  close(): Promise<void>
}

const CACHE_BYTES = 256 * 2 ** 20

/** @throws EngineError `wrong_length`. */
function checkFactors(factors: readonly Float32Array[], dimension: number): void {
  if (factors.some((factor) => factor.length !== dimension))
    throw new EngineError('wrong_length', `a factor does not have ${dimension} entries`)
}

/**
 * Opens a model for a run, at stage 0.
 * @example
 * const engine = await openEngine({ modelDir, task, space, seed })
 * const losses = await engine.losses([{ encoded: engine.encode('free money'), label: 'spam' }], [plus, minus])
 * @throws EngineError where model, task and space do not fit together.
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { task, space, seed, threads = 1, cacheBytes = CACHE_BYTES } = options
  const modelDir = resolve(options.modelDir)
  const tokenizer = loadTokenizer(modelDir)
  const prompt = preparePrompt(task, tokenizer)
  const dimension = spaceDimension(space)
  const { labelTokens } = prompt
  const { padToken } = tokenizer
  const setup = { modelDir, labelTokens, space, seed, padToken, cacheBytes }
  const pool = await Pool.open(threads, setup)
  return {
    dimension,
    encode: prompt.encode,
    setStage: async (stage, finished) => {
      if (stage !== finished.length)
        throw new EngineError('wrong_stage', `stage ${stage} follows ${stage} finished stages, not ${finished.length}`)
      checkFactors(finished, dimension)
      await pool.setStage(stage, finished)
    },
    losses: async (records, groups) => {
      checkFactors(groups, dimension)
      const labelled = records.map(({ encoded, label }) => ({ encoded, label: prompt.labelIndex(label) }))
      return pool.run(labelled, groups, 'losses')
    },
    logits: async (records, factor) => {
      checkFactors([factor], dimension)
      const unlabelled = records.map(({ encoded }) => ({ encoded, label: 0 }))
      return pool.run(unlabelled, [factor], 'logits')
    },
    close: () => pool.close(),
  }
}
