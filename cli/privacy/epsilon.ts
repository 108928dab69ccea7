import { dataLine, roundedDown, roundedUp, table, writeResult } from '../output.ts'
import { answerEach, readQuestions, type Source } from './question.ts'
import { headline, historyOf, SCHEDULE, type Schedule, type Spend, spendOf, timed } from './schedule.ts'

/** A spend with the seconds that its computation took. */
export interface TimedSpend extends Spend {
  readonly seconds: number
}

/** @throws PrivacyError for what the accountant refuses */
export const epsilonOf = (schedule: Schedule): TimedSpend =>
  timed(() => spendOf(historyOf(schedule.stages, schedule.neighbours), schedule.delta))

/** The rows in which a spend is read, each with what the number is. */
export const spendRows = ({ epsilon, lower, rdp, seconds }: TimedSpend): (readonly [string, string, string])[] => [
  ['epsilon', roundedUp(epsilon), 'certified upper bound: the exact epsilon is at most this'],
  ['lower', roundedDown(lower), 'certified lower bound: the exact epsilon is at least this'],
  ['rdp', roundedUp(rdp), 'upper bound of Renyi accounting, the simpler method'],
  ['seconds', seconds.toFixed(3), 'time of this computation'],
]

/** Writes the answer: JSON of the same shape as the question, or one small table per schedule. */
export const printAnswers = <Answer>(
  answers: readonly Answer[],
  form: { json: boolean; several: boolean; text: (answer: Answer, i: number) => string },
): void => {
  if (form.json) writeResult(dataLine(form.several ? answers : answers[0]))
  else writeResult(answers.map(form.text).join('\n'))
}

/** `sotto privacy epsilon`. @throws InputError, PrivacyError */
export const runEpsilon = async (source: Source, json: boolean): Promise<void> => {
  const questions = await readQuestions(SCHEDULE, source)
  const { list, several } = questions
  const text = (spend: TimedSpend, i: number) => `${headline(list[i]!)}\n${table(spendRows(spend))}`
  printAnswers(answerEach(questions, epsilonOf), { json, several, text })
}
