import { existsSync, readFileSync } from 'node:fs'
import { EngineError, forwardRuns } from '../../gpu-worker/engine/index.ts'
import { PruningError } from '../../shared/zo/index.ts'
import { InputError, RunError } from '../failure.ts'
import { jsonLine, writeResult } from '../output.ts'
import { type Progress, startProgress } from '../progress.ts'
import { type Check, type CheckOptions, checkModel, STEPS } from './check.ts'
import { type PruneOptions, pruneWeights } from './prune.ts'
import { pruneAnswer, pruneText } from './prune-report.ts'
import { reportText } from './report.ts'

/** What is wrong with the machine, not with the model: exit code 1. */
const MACHINE = new Set(['device_lost', 'device_missing', 'no_room', 'out_of_memory'])

/** JSON leaves out what is undefined; an answer has all its fields. */
const complete = (check: Check): unknown =>
  JSON.parse(JSON.stringify(check, (_, value: unknown) => (value === undefined ? null : value)))

/**
 * Does what a command was asked for, and takes the progress off the screen.
 * @throws InputError for what is refused, RunError where the machine fails
 */
const answering = async <Answer>(progress: Progress, work: () => Promise<Answer>): Promise<Answer> => {
  try {
    return await work()
  } catch (error) {
    if (error instanceof PruningError) throw new InputError(error.message)
    if (!(error instanceof EngineError)) throw error
    throw MACHINE.has(error.code) ? new RunError(error.message) : new InputError(error.message)
  } finally {
    progress.done()
  }
}

const requireFolder = (modelDir: string): void => {
  if (!existsSync(modelDir)) throw new InputError(`${modelDir} does not exist: name the folder of a model`)
}

/** `sotto model check`. @throws InputError, RunError */
export const runCheck = async (modelDir: string, options: CheckOptions & { json: boolean }): Promise<void> => {
  requireFolder(modelDir)
  const progress = startProgress(options.speed ? STEPS.withSpeed : STEPS.withoutSpeed)
  const check = await answering(progress, () => checkModel(modelDir, options, () => progress.step()))
  writeResult(options.json ? jsonLine(complete(check)) : reportText(check))
}

interface PruneGiven extends PruneOptions {
  readonly json: boolean
  /** File for the mask. */
  readonly output?: string
  /** Mask to compare with. */
  readonly verify?: string
  /** Share of the kept entries that a verified mask must have in common, at least. */
  readonly overlap: number
}

/** `sotto model prune`. @throws InputError, RunError; RunError too where a mask is not the one verified */
export const runPrune = async (modelDir: string, options: PruneGiven): Promise<void> => {
  const { output, verify, overlap, json } = options
  if ((output === undefined) === (verify === undefined))
    throw new InputError('name --output FILE for the mask, or --verify FILE for one to compare with')
  requireFolder(modelDir)
  const known = verify === undefined ? undefined : readMask(verify)
  const progress = startProgress(options.score === 'forward' ? forwardRuns(options.queries) : 0)
  const prune = await answering(progress, () => pruneWeights(modelDir, options, known, () => progress.step()))
  if (output !== undefined) writeResult(prune.mask, output)
  writeResult(json ? jsonLine(pruneAnswer(prune)) : pruneText(prune))
  const { verified } = prune
  if (verified && verified.overlap < overlap)
    throw new RunError(`the mask is another: ${verified.overlap} of its entries are the same`)
}

const readMask = (file: string): Uint8Array => {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new InputError(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`)
  }
}
