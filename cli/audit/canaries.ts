import { existsSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import {
  type Canaries,
  DataError,
  EngineError,
  lowerBoundOf,
  NotScoredError,
  plantCanaries,
  scoreCanaries,
} from '../../gpu-worker/canaries/index.ts'
import { auditRun, hashOf } from '../../shared/ledger/index.ts'
import { FindingError, InputError, RunError } from '../failure.ts'
import { modelFiles } from '../model/push.ts'
import { dataLine, roundedDown, roundedUp, table, writeResult } from '../output.ts'
import { startProgress } from '../progress.ts'
import { textIn } from '../reading.ts'
import type { PlantGiven, ScoreGiven } from './command.ts'
import { auditing, checkedId, signedBy } from './log.ts'
import { openSource } from './source.ts'

const canariesSchema = z
  .strictObject({ version: z.literal(1), lines: z.array(z.string()).min(1), planted: z.array(z.boolean()) })
  .refine(({ lines, planted }) => lines.length === planted.length)

/** `sotto audit canaries plant`. @throws InputError, RunError */
export function plant(file: string, { count, output, secret, withData, json }: PlantGiven): void {
  for (const place of [output, secret])
    if (existsSync(place)) throw new InputError(`${place} exists: name another file`)
  const { copy, canaries } = planting(file, count, withData)
  try {
    writeFileSync(secret, `${JSON.stringify(canaries)}\n`, { mode: 0o600, flag: 'wx' })
    writeFileSync(output, copy, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    throw new RunError(`the canaries cannot be written: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`)
  }
  const units = copy.trimEnd().split('\n').length
  writeResult(
    json
      ? dataLine({ canaries: count, lines: units, output, secret })
      : `${count} canaries were made, and each put into ${output} by the toss of a coin: ${units} lines.
Register it as a dataset of its own, run over it as you would over the real one, and then score ${secret}, which nobody may see before.
`,
  )
}

function planting(file: string, count: number, withData: boolean) {
  try {
    return plantCanaries(file, count, { withData })
  } catch (error) {
    throw error instanceof DataError ? new InputError(error.message, error.code) : error
  }
}

/** `sotto audit canaries score`. @throws InputError, UnreachableError, RunError */
export async function score(run: string, given: ScoreGiven): Promise<void> {
  const question = { run: checkedId(run), ...signedBy(given) }
  const canaries = secretIn(given.secret)
  const source = await openSource(given.from)
  const audit = await auditing({ run }, () => auditRun(source, question))
  const upper = audit.spent.find(({ dataset }) => dataset === given.dataset)
  if (!upper) throw new InputError(`run ${run} has no dataset ${given.dataset}`)
  const guesses = given.guesses ?? 2 * Math.max(1, Math.floor(canaries.lines.length / 4))
  if (guesses > canaries.lines.length) throw new InputError(`--guesses is ${canaries.lines.length} at most`)
  const { records, spec } = audit
  await requireModel(given.model, audit.spec.model)
  const progress = startProgress(audit.rounds)
  const scored = await scoring(() =>
    scoreCanaries({
      canaries,
      records,
      dataset: given.dataset,
      modelDir: given.model,
      threads: 'auto',
      onRound: () => progress.step(),
    }),
  ).finally(() => progress.done())
  const { delta } = spec.budget
  const { lower, correct } = lowerBoundOf(scored, { guesses, delta, confidence: given.confidence })
  const facts = { canaries: scored.length, guesses, correct, delta }
  const holds = lower <= upper.epsilon
  const asked = { run, dataset: given.dataset, confidence: given.confidence }
  const told = { holds, ...asked, ...facts, lower, upper: upper.epsilon }
  if (given.json && holds) writeResult(dataLine(told))
  if (!given.json)
    writeResult(
      table([
        ['canaries', String(scored.length), `${guesses} guessed at, ${correct} rightly`],
        [
          'at least',
          roundedDown(lower),
          `epsilon at delta ${delta}, with confidence ${given.confidence}, from the guesses`,
        ],
        ['at most', roundedUp(upper.epsilon), `epsilon at delta ${delta}, from the charges`],
      ]),
    )
  if (!holds)
    throw new FindingError(
      `dataset ${given.dataset} released more than was charged: at least ${roundedDown(lower)} of epsilon`,
      { code: 'released_more', ...told },
    )
}

/** Another model would make other sums of the canaries, and a bound that means nothing. @throws InputError */
async function requireModel(folder: string, id: string): Promise<void> {
  if (hashOf({ files: await modelFiles(folder) }) !== id)
    throw new InputError(`${folder} is not the model that the run trained: its files hash to another id than ${id}`)
}

function secretIn(file: string): Canaries {
  const text = textIn(file)
  try {
    return canariesSchema.parse(JSON.parse(text))
  } catch {
    throw new InputError(`${file} is not what "sotto audit canaries plant" wrote`)
  }
}

async function scoring<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof EngineError || error instanceof NotScoredError) throw new InputError(error.message)
    throw error
  }
}
