import { type CountAnswer, countPrivately, DataError, WorkerError } from '../../gpu-worker/count/index.ts'
import { InputError, RunError } from '../failure.ts'
import { dataLine, roundedUp, writeResult } from '../output.ts'
import type { CountGiven } from './command.ts'

const textOf = ({ units, unit, count, budget, epsilon }: CountAnswer): string => `${units} ${unit}s, more or less
  noise         Gaussian, standard deviation ${count.noiseMultiplier}
  costs         epsilon ${roundedUp(epsilon)} of ${budget.epsilon} at delta ${budget.delta}
  register as   ${JSON.stringify({ units, unit, count, budget })}
`

/** `sotto dataset count`. @throws InputError, RunError */
export const runCount = async (file: string, { json, epsilon, delta, share, unit }: CountGiven): Promise<void> => {
  try {
    const answer = await countPrivately(file, { epsilon, delta, share, unit })
    writeResult(json ? dataLine(answer) : textOf(answer))
  } catch (error) {
    if (error instanceof DataError) throw new InputError(error.message, error.code)
    if (!(error instanceof WorkerError)) throw error
    const { code, message } = error
    throw code === 'counted_before' ? new InputError(message, code) : new RunError(message, code)
  }
}
