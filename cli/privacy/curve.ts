import { InputError } from '../failure.ts'
import { dataLine, writeResult } from '../output.ts'
import { curveOf, plotOfCurve } from './by-round.ts'
import { drawPlot, type Plot } from './plot.ts'
import { plotOfProfile, profileOf } from './profile.ts'
import { answerEach, readQuestions, type Source } from './question.ts'
import { SCHEDULE, type Schedule } from './schedule.ts'

export const AXES = ['rounds', 'epsilon'] as const

export interface CurveOptions {
  /** At most this many points. */
  readonly points: number
  readonly against: (typeof AXES)[number]
  readonly json: boolean
  /** File to write; standard output where undefined. */
  readonly output: string | undefined
}

const answerOf = (schedule: Schedule, { against, points }: CurveOptions): { answer: object; plot: () => Plot } => {
  if (against === 'epsilon') {
    const profile = profileOf(schedule, points)
    return { answer: profile, plot: () => plotOfProfile(profile, schedule) }
  }
  const curve = curveOf(schedule, points)
  return { answer: curve, plot: () => plotOfCurve(curve, schedule) }
}

/** `sotto privacy curve`. @throws InputError, PrivacyError, RunError */
export const runCurve = async (source: Source, options: CurveOptions): Promise<void> => {
  const questions = await readQuestions(SCHEDULE, source)
  if (questions.several && !options.json) throw new InputError('a plot shows one schedule: a list of them needs --json')
  const found = answerEach(questions, (schedule) => answerOf(schedule, options))
  const answers = found.map(({ answer }) => answer)
  const text = options.json ? dataLine(questions.several ? answers : answers[0]) : drawPlot(found[0]!.plot())
  writeResult(text, options.output)
}
