import { z } from 'zod'
import {
  type EventCount,
  epsilonBounds,
  type MechanismEvent,
  mechanismEvent,
  spend,
} from '../../shared/privacy/index.ts'
import { chance } from '../output.ts'

/** Fields that every kind of question has in the same form. */
export const FIELDS = {
  mechanism: z.enum(['gaussian', 'laplace']).default('gaussian'),
  noiseMultiplier: z.number().positive(),
  samplingRate: z.number().min(0).max(1),
  rounds: z.int().min(0),
  delta: z.number().gt(0).lt(1),
  neighbours: z.enum(['add-remove', 'zero-out', 'replace-one']).default('add-remove'),
  targetEpsilon: z.number().positive(),
}

const { mechanism, noiseMultiplier, samplingRate, rounds, delta, neighbours } = FIELDS

/** Rounds fixed before the first of them: what `epsilon` and `curve` are asked about. */
export const SCHEDULE = z.strictObject({
  stages: z.array(z.strictObject({ mechanism, noiseMultiplier, samplingRate, rounds })),
  delta,
  neighbours,
})
export type Schedule = z.output<typeof SCHEDULE>

type Relation = MechanismEvent['neighbours']
type Stage = Schedule['stages'][number]

/** The stages as the accountant counts them, in order. @throws PrivacyError `invalid_event` */
export const historyOf = (stages: readonly Stage[], relation: Relation): EventCount[] =>
  stages.map(({ rounds: count, ...release }) => ({
    event: mechanismEvent({ ...release, neighbours: relation }),
    count,
  }))

/** Epsilons of one history, in nats; Infinity where there is no finite bound. */
export interface Spend {
  /** Certified upper bound of the exact epsilon. */
  readonly epsilon: number
  /** Certified lower bound of the exact epsilon. */
  readonly lower: number
  /** Upper bound of Renyi accounting. */
  readonly rdp: number
}

/**
 * @param target the delta
 * @throws PrivacyError for what the accountant refuses
 */
export const spendOf = (history: readonly EventCount[], target: number): Spend => {
  const { epsilon, lower } = epsilonBounds(history, target)
  return { epsilon, lower, rdp: spend(history, target).epsilon }
}

/** A value with the seconds that it took. */
export const timed = <Value>(compute: () => Value): Value & { readonly seconds: number } => {
  const start = performance.now()
  const value = compute()
  return { ...value, seconds: (performance.now() - start) / 1000 }
}

/** One line that says what was computed for: mechanisms, rounds, delta and relation. */
export const headline = (schedule: Schedule): string => {
  const names = [...new Set(schedule.stages.map((stage) => stage.mechanism))].join(' and ') || 'nothing released'
  const total = schedule.stages.reduce((sum, stage) => sum + stage.rounds, 0)
  return `${names}, ${plural(total, 'round')}, delta ${chance(schedule.delta)}, ${schedule.neighbours}`
}

/** @example plural(2, 'round') // '2 rounds' */
export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`
