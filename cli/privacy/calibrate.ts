import { z } from 'zod'
import {
  calibrateNoise,
  largestRounds,
  largestSamplingRate,
  mechanismEvent,
  spend,
} from '../../shared/privacy/index.ts'
import { InputError } from '../failure.ts'
import { chance, roundedDown, roundedUp, table } from '../output.ts'
import { printAnswers, spendRows, type TimedSpend } from './epsilon.ts'
import { answerEach, flagName, readQuestions, type Source } from './question.ts'
import { FIELDS, historyOf, spendOf, timed } from './schedule.ts'

const { mechanism, noiseMultiplier, samplingRate, rounds, delta, neighbours, targetEpsilon } = FIELDS
const ratio = z.number().positive().default(1)

const goal = <Stage extends z.ZodType>(stage: Stage) =>
  z.strictObject({ stages: z.array(stage), delta, targetEpsilon, neighbours })

/** A stage of a schedule says its ratio as `noiseMultiplier`: the answer is then the factor for all of them. */
const NOISE = goal(
  z
    .strictObject({
      mechanism,
      samplingRate,
      rounds,
      noiseRatio: z.number().positive().optional(),
      noiseMultiplier: noiseMultiplier.optional(),
    })
    .refine((stage) => stage.noiseRatio === undefined || stage.noiseMultiplier === undefined, {
      path: ['noiseRatio'],
      message: 'cannot go with noiseMultiplier, which says the same: how much noise beside the other stages',
    })
    .transform(({ noiseRatio, noiseMultiplier: own, ...stage }) => ({ ...stage, noiseRatio: noiseRatio ?? own ?? 1 })),
)
const RATE = goal(z.strictObject({ mechanism, noiseMultiplier, rounds, rateRatio: ratio }))
const ROUNDS = goal(z.strictObject({ mechanism, noiseMultiplier, samplingRate, rounds: rounds.optional() })).refine(
  ({ stages }) => stages.filter((stage) => stage.rounds === undefined).length === 1,
  { path: ['stages'], message: 'must have exactly one stage without rounds, which are solved for' },
)

const noiseFor = (request: z.output<typeof NOISE>) => {
  const { noiseMultiplier: found, epsilon, lower } = calibrateNoise(request)
  const stages = request.stages.map(({ noiseRatio, ...stage }) => ({ ...stage, noiseMultiplier: found * noiseRatio }))
  const rdp = spend(historyOf(stages, request.neighbours), request.delta).epsilon
  return { noiseMultiplier: found, epsilon, lower, rdp }
}

const rateFor = (request: z.output<typeof RATE>) => {
  const { samplingRate: found, epsilon, lower } = largestSamplingRate(request)
  const stages = request.stages.map(({ rateRatio, ...stage }) => ({ ...stage, samplingRate: found * rateRatio }))
  const rdp = spend(historyOf(stages, request.neighbours), request.delta).epsilon
  return { samplingRate: found, epsilon, lower, rdp }
}

const roundsFor = (request: z.output<typeof ROUNDS>) => {
  const { stages, neighbours: relation, targetEpsilon: epsilon } = request
  const fixed = stages.flatMap(({ rounds: count, ...stage }) =>
    count === undefined ? [] : [{ ...stage, rounds: count }],
  )
  const { rounds: _, ...open } = stages.find((stage) => stage.rounds === undefined)!
  const history = historyOf(fixed, relation)
  const event = mechanismEvent({ ...open, neighbours: relation })
  const found = largestRounds({ event, budget: { epsilon, delta: request.delta }, history })
  return { rounds: found, ...spendOf([...history, { event, count: found }], request.delta) }
}

interface Goal {
  readonly delta: number
  readonly targetEpsilon: number
  readonly neighbours: string
}
/** One thing that can be solved for; `row` is its line in the table. */
interface Solver<Question extends Goal, Answer> {
  readonly schema: z.ZodType<Question>
  readonly hints: Readonly<Record<string, string>>
  readonly solve: (question: Question) => Answer & Omit<TimedSpend, 'seconds'>
  readonly row: (answer: Answer) => readonly [string, string, string]
}

const runSolver = async <Question extends Goal, Answer>(
  solver: Solver<Question, Answer>,
  source: Source,
  json: boolean,
) => {
  const { schema, hints, solve, row } = solver
  const questions = await readQuestions(schema, { ...source, hints })
  const answers = answerEach(questions, (question) => timed(() => solve(question)))
  const headline = ({ targetEpsilon: target, delta: allowed, neighbours: relation }: Goal) =>
    `target epsilon ${target}, delta ${chance(allowed)}, ${relation}`
  printAnswers(answers, {
    json,
    several: questions.several,
    text: (answer, i) => `${headline(questions.list[i]!)}\n${table([row(answer), ...spendRows(answer)])}`,
  })
}

const SOLVED = 'is what is solved for: leave it out'

const NOISE_SOLVER: Solver<z.output<typeof NOISE>, { noiseMultiplier: number }> = {
  schema: NOISE,
  hints: {
    rateRatio: 'belongs to --solve sampling-rate',
  },
  solve: noiseFor,
  row: ({ noiseMultiplier: found }) => ['noise multiplier', roundedUp(found), 'the least that stays within the target'],
}
const RATE_SOLVER: Solver<z.output<typeof RATE>, { samplingRate: number }> = {
  schema: RATE,
  hints: {
    samplingRate: `${SOLVED}, or give rateRatio, the stage's multiple of the common rate`,
    noiseRatio: 'belongs to --solve noise',
  },
  solve: rateFor,
  row: ({ samplingRate: found }) => ['sampling rate', roundedDown(found), 'the largest that stays within the target'],
}
const ROUNDS_SOLVER: Solver<z.output<typeof ROUNDS>, { rounds: number }> = {
  schema: ROUNDS,
  hints: { noiseRatio: 'belongs to --solve noise', rateRatio: 'belongs to --solve sampling-rate' },
  solve: roundsFor,
  row: ({ rounds: found }) => ['rounds', String(found), 'the most that stay within the target'],
}

/** What `--solve` takes. */
export const UNKNOWNS = ['noise', 'rounds', 'sampling-rate'] as const
export type Unknown = (typeof UNKNOWNS)[number]

/** The flag that would answer the question. */
const ANSWERED_BY = { noise: 'noiseMultiplier', rounds: 'rounds', 'sampling-rate': 'samplingRate' } as const

/** `sotto privacy calibrate`. @throws InputError, PrivacyError */
export const runCalibrate = async (source: Source, unknown: Unknown, json: boolean): Promise<void> => {
  const answer = ANSWERED_BY[unknown]
  if (source.flags[answer] !== undefined) throw new InputError(`${flagName([answer])} ${SOLVED}`)
  if (unknown === 'noise') return runSolver(NOISE_SOLVER, source, json)
  if (unknown === 'rounds') return runSolver(ROUNDS_SOLVER, source, json)
  return runSolver(RATE_SOLVER, source, json)
}
