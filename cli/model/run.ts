import { existsSync } from 'node:fs'
import { join, parse } from 'node:path'
import { EngineError, forwardRuns } from '../../gpu-worker/engine/index.ts'
import { keepRateAt, PruningError } from '../../shared/zo/index.ts'
import { FindingError, InputError, RunError } from '../failure.ts'
import { dataLine, writeResult } from '../output.ts'
import { type Progress, startProgress } from '../progress.ts'
import { bytesIn } from '../reading.ts'
import { type Check, type CheckOptions, checkModel, STEPS } from './check.ts'
import { type Prune, type PruneOptions, pruneWeights } from './prune.ts'
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
    if (error instanceof PruningError) throw new InputError(error.message, error.code)
    if (!(error instanceof EngineError)) throw error
    const { code, message } = error
    throw MACHINE.has(code) ? new RunError(message, code) : new InputError(message, code)
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
  writeResult(options.json ? dataLine(complete(check)) : reportText(check))
}

interface PruneGiven extends PruneOptions {
  readonly json: boolean
  /** Of the last stage; `keep` is that of the first. */
  readonly keepEnd?: number
  readonly stages: number
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
  if (options.stages > 1 && output === undefined)
    throw new InputError('one mask is verified at a time: leave out --stages')
  if (options.stages === 1 && options.keepEnd !== undefined)
    throw new InputError('--keep-end is that of the last of several --stages')
  requireFolder(modelDir)
  const known = verify === undefined ? undefined : bytesIn(verify)
  const runs = options.score === 'forward' ? forwardRuns(options.queries) : 0
  const progress = startProgress(runs * options.stages)
  const prunes = await answering(progress, () => prunedByStage(modelDir, options, known, () => progress.step()))
  prunes.forEach((prune, stage) => {
    if (output !== undefined) writeResult(prune.mask, prunes.length === 1 ? output : stageFile(output, stage))
  })
  const other = prunes.find(({ verified }) => verified !== null && isAnother(verified, overlap))
  if (!json) writeResult(prunes.map(pruneText).join('\n\n'))
  else if (!other) writeResult(dataLine(answerOf(prunes)))
  if (other)
    throw new FindingError(`the mask is another: ${other.verified?.overlap} of its entries are the same`, {
      code: 'another_mask',
      ...pruneAnswer(other),
    })
}

/** Masks that keep the same entries may differ in their factors. */
const isAnother = ({ equal, overlap }: NonNullable<Prune['verified']>, wanted: number): boolean =>
  wanted === 1 ? !equal : overlap < wanted

/** One stage's answer stands alone. */
const answerOf = (prunes: readonly Prune[]): unknown => {
  const answers = prunes.map(pruneAnswer)
  return answers.length === 1 ? answers[0] : answers
}

/** m.bin of stage 2 is m.2.bin. */
const stageFile = (file: string, stage: number): string => {
  const { dir, name, ext } = parse(file)
  return join(dir, `${name}.${stage}${ext}`)
}

const prunedByStage = async (
  modelDir: string,
  options: PruneGiven,
  known: Uint8Array | undefined,
  step: () => void,
): Promise<Prune[]> => {
  const { keep: start, keepEnd: end = start, stages } = options
  const prunes: Prune[] = []
  for (let stage = 0; stage < stages; stage++) {
    const keep = stages === 1 ? start : keepRateAt({ start, end, stages, growth: 'geometric' }, stage)
    prunes.push(await pruneWeights(modelDir, { ...options, keep }, known, step))
  }
  return prunes
}
