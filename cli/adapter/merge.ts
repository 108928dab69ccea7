import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { EngineError, type MergedWeight, mergedWeights, writeMerged } from '../../gpu-worker/engine/index.ts'
import type { Session } from '../connection/index.ts'
import { InputError, RunError } from '../failure.ts'
import { startProgress } from '../progress.ts'
import { sha256Of } from '../reading.ts'
import { writeParameters } from './parameters.ts'
import { readSafetensors } from './safetensors.ts'

export interface MergeGiven {
  readonly format: 'onnx' | 'safetensors'
  /** Folder of the base model. */
  readonly model: string
  readonly variant?: string | undefined
  /** Safetensors files of the base model, as `transformers` has it. */
  readonly weights?: readonly string[] | undefined
}

/** Merges an adapter, and writes what is asked for into a folder. @returns names of what changed @throws InputError */
export function merged(bytes: Uint8Array, given: MergeGiven, output: string): string[] {
  const { format, model, variant, weights = [] } = given
  if (!existsSync(model)) throw new InputError(`${model} does not exist: name the folder of the base model`)
  if (!relative(resolve(model), resolve(output)).startsWith('..'))
    throw new InputError('the output lies inside the base model: name another folder')
  if (format === 'safetensors' && weights.length === 0)
    throw new InputError('name the safetensors files of the base model by --weights')
  const changed = changedBy(bytes, model, variant)
  writeMerged(model, changed, { output, variant })
  if (format === 'onnx') return changed.map(({ name }) => name).toSorted()
  // Configuration and tokenizer are the same; the graph is not what was asked for.
  rmSync(join(output, 'onnx'), { recursive: true })
  return writeParameters(weights, changed, output)
}

function changedBy(bytes: Uint8Array, model: string, variant: string | undefined): MergedWeight[] {
  try {
    return mergedWeights(model, readSafetensors(bytes, 'the adapter'), variant)
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
    throw new InputError(error.message)
  }
}

/**
 * Makes a folder that is there whole or not at all.
 * @throws InputError where it holds something; RunError where it can not be made
 */
export function wholeFolder<T>(output: string, fill: (folder: string) => T): T {
  if (existsSync(output) && readdirSync(output).length > 0)
    throw new InputError(`${output} is not empty: name another folder`)
  const making = join(dirname(output), `.${basename(output)}.${process.pid}`)
  try {
    mkdirSync(making, { recursive: true })
    const made = fill(making)
    rmSync(output, { recursive: true, force: true })
    renameSync(making, output)
    return made
  } catch (error) {
    if (error instanceof InputError) throw error
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    throw new RunError(`${output} cannot be made: ${code}`)
  } finally {
    rmSync(making, { recursive: true, force: true })
  }
}

/**
 * The folder has each file of the model that a run trained, bit for bit, and the graph that is merged into is one of them.
 * @throws InputError, SottoError
 */
export async function requireModel(
  { model: folder, variant }: { model: string; variant?: string | undefined },
  id: string,
  { api, answer }: Session,
): Promise<void> {
  const { files } = await answer(api.v1.models[':id'].$get({ param: { id } }))
  if (variant && !files.some(({ path }) => path === `onnx/model_${variant}.onnx`))
    throw new InputError(`the model of this run has no variant ${variant}`)
  const progress = startProgress(files.length)
  try {
    for (const { path, sha256 } of files) {
      const file = join(folder, path)
      if (!existsSync(file) || (await sha256Of(file)) !== sha256)
        throw new InputError(`${folder} is not the model of this run: ${path} is missing, or another`)
      progress.step()
    }
  } finally {
    progress.done()
  }
}
