import { type Command, InvalidArgumentError, Option } from 'commander'
import { runCalibrate, UNKNOWNS, type Unknown } from './calibrate.ts'
import { AXES, runCurve } from './curve.ts'
import { runEpsilon } from './epsilon.ts'
import type { ScheduleFlags, Source } from './question.ts'
import { FIELDS } from './schedule.ts'

const POINTS_MAX = 10_000

interface Given extends ScheduleFlags {
  readonly file?: string
  readonly json?: true
}

const number = (text: string): number => {
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) throw new InvalidArgumentError('It must be a number.')
  return Number(text)
}

const pointCount = (text: string): number => {
  const count = Number(text)
  if (!/^\d+$/.test(text) || count < 1 || count > POINTS_MAX) {
    throw new InvalidArgumentError(`It must be a whole number from 1 to ${POINTS_MAX}.`)
  }
  return count
}

const choice = (flags: string, description: string, field: 'mechanism' | 'neighbours') =>
  new Option(flags, description).choices(FIELDS[field].unwrap().options)

/** The flags that all three verbs share: a schedule of one stage, or a file. */
const addSchedule = (command: Command): Command =>
  command
    .option('--noise-multiplier <number>', 'noise over sensitivity: standard deviation, or scale for Laplace', number)
    .option('--sampling-rate <number>', 'chance of each unit to be in a round, 0 to 1', number)
    .option('--rounds <count>', 'releases', number)
    .option('--delta <number>', 'delta of the guarantee, between 0 and 1', number)
    .addOption(choice('--mechanism <name>', 'noise of each release (default gaussian)', 'mechanism'))
    .addOption(choice('--neighbours <relation>', 'what two data sets differ by (default add-remove)', 'neighbours'))
    .option('--file <file>', 'JSON instead of these flags: a schedule, or a list of them; - is standard input')
    .option('--json', 'print JSON alone')

const sourceOf = (given: Given): Source => {
  const { file, mechanism, noiseMultiplier, samplingRate, rounds, delta, neighbours, targetEpsilon } = given
  const named = { mechanism, noiseMultiplier, samplingRate, rounds, delta, neighbours, targetEpsilon }
  const flags = Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined))
  return { file, flags }
}

const EPSILON_HELP = `
A file holds one schedule, or a list of them, which is answered by a list:
  {"stages": [{"mechanism": "gaussian", "noiseMultiplier": 1, "samplingRate": 0.01, "rounds": 1000}],
   "delta": 1e-5, "neighbours": "add-remove"}

JSON answer, in "data": {"epsilon", "lower", "rdp", "seconds"}; null stands for "no finite bound".

Examples
  sotto privacy epsilon --noise-multiplier 1 --sampling-rate 0.01 --rounds 1000 --delta 1e-5
  sotto privacy epsilon --file schedules.json --json
  echo '{"stages": [], "delta": 1e-5}' | sotto privacy epsilon --file -`

const CALIBRATE_HELP = `
A file holds one question, or a list of them:
  --solve noise          {"stages": [{"samplingRate", "rounds", "noiseRatio"}], "delta", "targetEpsilon"};
                         a stage's noiseMultiplier is taken as its noiseRatio
  --solve rounds         {"stages": [{"noiseMultiplier", "samplingRate", "rounds"}], ...}; one stage without rounds
  --solve sampling-rate  {"stages": [{"noiseMultiplier", "rounds", "rateRatio"}], ...}
A ratio is the stage's multiple of the common value; left out, it is 1. "mechanism" and "neighbours" as in epsilon.

JSON answer, in "data": {"noiseMultiplier" or "rounds" or "samplingRate", "epsilon", "lower", "rdp", "seconds"}.

Examples
  sotto privacy calibrate --target-epsilon 4 --delta 1e-5 --sampling-rate 0.06 --rounds 300
  sotto privacy calibrate --solve rounds --target-epsilon 2 --delta 1e-6 --noise-multiplier 1 --sampling-rate 0.01`

const CURVE_HELP = `
Without --json the answer is a plot, an SVG document for light and dark pages. A list of schedules needs --json.

JSON answer, in "data": {"points": [{"round", "epsilon", "lower", "rdp"}], "delta", "neighbours", "stageEnds"}, or with
--against epsilon {"points": [{"epsilon", "delta", "lower"}], "delta", "epsilon", "neighbours"}.

Examples
  sotto privacy curve --noise-multiplier 1 --sampling-rate 0.01 --rounds 1000 --delta 1e-5 --output spend.svg
  sotto privacy curve --file schedule.json --against epsilon --output profile.svg
  sotto privacy curve --file schedule.json --points 200 --json`

const addEpsilon = (noun: Command) =>
  addSchedule(noun.command('epsilon').description('epsilon of a schedule, bounded from above and below'))
    .addHelpText('after', EPSILON_HELP)
    .action((given: Given) => runEpsilon(sourceOf(given), given.json === true))

const addCalibrate = (noun: Command) =>
  addSchedule(noun.command('calibrate').description('least noise, most rounds or largest sampling for a budget'))
    .option('--target-epsilon <number>', 'epsilon not to be exceeded', number)
    .addOption(new Option('--solve <unknown>', 'what to look for').choices(UNKNOWNS).default('noise'))
    .addHelpText('after', CALIBRATE_HELP)
    .action((given: Given & { solve: Unknown }) => runCalibrate(sourceOf(given), given.solve, given.json === true))

interface CurveGiven extends Given {
  readonly points: number
  readonly against: (typeof AXES)[number]
  readonly output?: string
}

const addCurve = (noun: Command) =>
  addSchedule(noun.command('curve').description('epsilon round by round, or delta against epsilon, as a plot'))
    .option('--points <count>', 'points of the curve, at most', pointCount, 50)
    .addOption(new Option('--against <axis>', 'what runs along the axis').choices(AXES).default('rounds'))
    .option('--output <file>', 'file to write (default: standard output)')
    .addHelpText('after', CURVE_HELP)
    .action((given: CurveGiven) => {
      const { points, against, output } = given
      return runCurve(sourceOf(given), { points, against, output, json: given.json === true })
    })

/** Adds the verbs of `sotto privacy`. */
export const describePrivacy = (noun: Command): void => {
  addEpsilon(noun)
  addCalibrate(noun)
  addCurve(noun)
}
