import { existsSync } from 'node:fs'
import { EngineError } from '../../gpu-worker/engine/index.ts'
import { InputError, RunError } from '../failure.ts'
import { jsonLine, writeResult } from '../output.ts'
import { startProgress } from '../progress.ts'
import { type Check, type CheckOptions, checkModel, STEPS } from './check.ts'
import { reportText } from './report.ts'

/** What is wrong with the machine, not with the model: exit code 1. */
const MACHINE = new Set(['device_lost', 'device_missing', 'no_room', 'out_of_memory'])

/** JSON leaves out what is undefined; an answer has all its fields. */
const complete = (check: Check): unknown =>
  JSON.parse(JSON.stringify(check, (_, value: unknown) => (value === undefined ? null : value)))

/** `sotto model check`. @throws InputError for a model that is refused, RunError where the machine fails */
export const runCheck = async (modelDir: string, options: CheckOptions & { json: boolean }): Promise<void> => {
  if (!existsSync(modelDir)) throw new InputError(`${modelDir} does not exist: name the folder of a model`)
  const progress = startProgress(options.speed ? STEPS.withSpeed : STEPS.withoutSpeed)
  try {
    const check = await checkModel(modelDir, options, () => progress.step())
    progress.done()
    writeResult(options.json ? jsonLine(complete(check)) : reportText(check))
  } catch (error) {
    progress.done()
    if (!(error instanceof EngineError)) throw error
    throw MACHINE.has(error.code) ? new RunError(error.message) : new InputError(error.message)
  }
}
