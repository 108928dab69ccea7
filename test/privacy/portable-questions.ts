/** The entry of the bundle that every engine runs: questions to the accountant, answered to the last bit. */
import { exp, expm1, log, log1p, normalTail, quarterWave } from '../../shared/privacy/elementary.ts'
import {
  type Budget,
  calibrateNoise,
  canSpend,
  deltaBounds,
  type EventCount,
  epsilonBounds,
  estimateDelta,
  estimateEpsilon,
  largestRounds,
  largestSamplingRate,
  type MechanismEvent,
  mechanismEvent,
  odometer,
  PrivacyError,
  RDP_ORDERS,
  rdpCurve,
  spend,
  spendCurve,
} from '../../shared/privacy/index.ts'

const view = new DataView(new ArrayBuffer(8))

/** The 16 hexadecimal digits of a double. */
const bitsOf = (value: number): string => {
  view.setFloat64(0, value)
  return view.getBigUint64(0).toString(16).padStart(16, '0')
}

/** FNV-1a over the bits of a list too long to be shown. */
const digestOf = (values: ArrayLike<number>): string => {
  let hash = 0x811c9dc5
  for (let i = 0; i < values.length; i++) {
    view.setFloat64(0, values[i]!)
    for (let byte = 0; byte < 8; byte++) hash = Math.imul(hash ^ view.getUint8(byte), 0x01000193)
  }
  return `${values.length} doubles, ${(hash >>> 0).toString(16)}`
}

const written = (answer: unknown): string => {
  if (typeof answer === 'number') return bitsOf(answer)
  if (Array.isArray(answer) || answer instanceof Float64Array) return digestOf(answer)
  if (typeof answer !== 'object' || answer === null) return String(answer)
  return Object.entries(answer)
    .map(([name, value]) => `${name} ${written(value)}`)
    .join(', ')
}

/** What was asked, or the code of the refusal. */
const answerTo = (ask: () => unknown): string => {
  try {
    return written(ask())
  } catch (error) {
    if (error instanceof PrivacyError) return error.code
    throw error
  }
}

type Stage = readonly [MechanismEvent['mechanism'], noiseMultiplier: number, samplingRate: number, count: number]

const history = (neighbours: MechanismEvent['neighbours'], ...stages: Stage[]): EventCount[] =>
  stages.map(([mechanism, noiseMultiplier, samplingRate, count]) => ({
    event: mechanismEvent({ mechanism, noiseMultiplier, samplingRate, neighbours }),
    count,
  }))

const HISTORIES: Record<string, EventCount[]> = {
  'gaussian, sampled': history('add-remove', ['gaussian', 1, 0.01, 1000]),
  'gaussian, unsampled': history('add-remove', ['gaussian', 4, 1, 20]),
  'gaussian, few of many': history('zero-out', ['gaussian', 0.9, 0.001, 100]),
  'gaussian, replaced': history('replace-one', ['gaussian', 1.5, 0.05, 200]),
  'laplace, sampled': history('add-remove', ['laplace', 1, 0.02, 300]),
  'laplace, unsampled': history('zero-out', ['laplace', 8, 1, 10]),
  'laplace, replaced': history('replace-one', ['laplace', 2, 0.1, 50]),
  'three stages': history(
    'add-remove',
    ['gaussian', 1, 0.01, 500],
    ['gaussian', 0.8, 0.02, 300],
    ['gaussian', 2, 0.05, 99],
  ),
  'both mechanisms': history('add-remove', ['gaussian', 1.2, 0.04, 80], ['laplace', 1.5, 0.04, 80]),
}

const BUDGET: Budget = { epsilon: 3, delta: 1e-6 }
const TARGET = { targetEpsilon: 4, delta: 1e-6 }
const STAGE = { samplingRate: 0.06, rounds: 300 }

/** From -40 to 40, denser at 0: the range in which the accountant asks. */
const POINTS = Array.from({ length: 4001 }, (_, i) => ((i - 2000) / 2000) ** 3 * 40)
const POSITIVE = POINTS.map(Math.abs)

const ELEMENTARY: Record<string, () => unknown> = {
  exp: () => POINTS.map(exp),
  expm1: () => POINTS.map(expm1),
  log: () => POSITIVE.map(log),
  log1p: () => POSITIVE.map(log1p),
  normalTail: () => POINTS.map(normalTail),
  'quarterWave, cosines': () => quarterWave(4096).cos,
  'quarterWave, sines': () => quarterWave(4096).sin,
}

const SINGLE: Record<string, () => unknown> = {
  'noise for one stage': () => calibrateNoise({ targetEpsilon: 2, delta: 1e-5, stages: [STAGE] }),
  'noise for two stages': () =>
    calibrateNoise({ ...TARGET, stages: [STAGE, { samplingRate: 0.02, rounds: 50, noiseRatio: 1.5 }] }),
  'noise that does not exist': () =>
    calibrateNoise({ targetEpsilon: 1e-9, delta: 1e-12, stages: [{ samplingRate: 1, rounds: 1_000_000 }] }),
  'largest rate': () => largestSamplingRate({ ...TARGET, stages: [{ noiseMultiplier: 1.2, rounds: 200 }] }),
  'rounds left': () =>
    largestRounds({ event: mechanismEvent({ noiseMultiplier: 1.1, samplingRate: 0.02 }), budget: BUDGET }),
  'spend by round': () => {
    const stages = history('add-remove', ['gaussian', 1, 0.03, 40], ['gaussian', 2, 0.1, 40])
    return spendCurve(stages, 1e-5, 8).flatMap(({ round, epsilon, lower }) => [round, epsilon, lower])
  },
  'mixed relations': () =>
    epsilonBounds(
      [...history('add-remove', ['gaussian', 1, 1, 1]), ...history('replace-one', ['gaussian', 1, 1, 1])],
      1e-5,
    ),
}

const QUESTIONS: [string, () => unknown][] = [
  ...Object.entries(ELEMENTARY),
  ...Object.entries(SINGLE),
  ...Object.entries(HISTORIES).flatMap(([name, list]): [string, () => unknown][] => [
    [`${name}: divergences`, () => rdpCurve(list[0]!.event, RDP_ORDERS)],
    [`${name}: RDP`, () => spend(list, 1e-5)],
    [`${name}: filter`, () => canSpend({ history: list, next: list[0]!, budget: BUDGET })],
    [`${name}: odometer`, () => odometer(list, 1e-5)],
    [`${name}: estimates`, () => [estimateEpsilon(list, 1e-5), estimateDelta(list, 1)].map(written).join(', ')],
    [`${name}: epsilon`, () => epsilonBounds(list, 1e-5)],
    [`${name}: delta`, () => deltaBounds(list, 1)],
  ]),
]

/** Every question's answer, by its name; the same in every engine. */
export const answers = (): Record<string, string> =>
  Object.fromEntries(QUESTIONS.map(([name, ask]) => [name, answerTo(ask)]))
