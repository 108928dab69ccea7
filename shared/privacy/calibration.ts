import { estimateEpsilon } from './contour.ts'
import { exp, log } from './elementary.ts'
import { PrivacyError } from './error.ts'
import {
  type EventCount,
  type Mechanism,
  type MechanismEvent,
  mechanismEvent,
  type Neighbours,
  validateCount,
} from './event.ts'
import { type Budget, validateBudget } from './meter.ts'
import { type EpsilonBounds, epsilonBounds } from './pld/bounds.ts'

/** A span of rounds to be calibrated; its noise multiplier is `noiseRatio` (1 if absent) times the common one. */
export interface CalibrationStage {
  readonly mechanism?: Mechanism
  readonly samplingRate: number
  readonly rounds: number
  readonly noiseRatio?: number
}

/** A span of rounds whose sampling rate is asked for: `rateRatio` (0 to 1; 1 if absent) times the common one. */
export interface RateStage {
  readonly mechanism?: Mechanism
  readonly noiseMultiplier: number
  readonly rounds: number
  readonly rateRatio?: number
}

/** A target for a schedule that is fixed before the data are seen. */
interface Target {
  readonly targetEpsilon: number
  readonly delta: number
  /** 'add-remove' if absent. */
  readonly neighbours?: Neighbours
}

/** Least and largest noise multiplier ever proposed. A target that needs more is called unreachable. */
export const NOISE_MIN = 0.05
export const NOISE_MAX = 1e6
/** Least sampling rate ever proposed. */
export const RATE_MIN = 1e-9
/** `largestRounds` counts no further; a mechanism this cheap is not limited by the budget. */
export const ROUNDS_MAX = 100_000_000

/** Width of the last bracket, relative to the answer. */
const RESOLUTION = 5e-5
/** Of the bounds that stand in for an estimate where the contour method declines. */
const ROUGH = { tolerance: 5e-3 }

/** Where a search begins and ends: first step either way from `guess`, and width of the last bracket. */
interface Search {
  readonly guess: number
  readonly span: number
  readonly resolution: number
  readonly min: number
  readonly max: number
}

/**
 * Largest place in [min, max] at which `fits`, to the resolution; fits is monotone: true up to some place. The answer was
 * itself tried.
 * @returns null where not even `min` fits
 */
const largest = (fits: (place: number) => boolean, { guess, span, resolution, min, max }: Search): number | null => {
  let good = Math.min(max, Math.max(min, guess))
  let bad = good
  let step = span
  if (fits(good)) {
    while (good < max) {
      bad = Math.min(max, good + step)
      if (!fits(bad)) break
      good = bad
      step *= 2
    }
    if (good === max) return max
  } else {
    for (;;) {
      if (bad === min) return null
      good = Math.max(min, bad - step)
      if (fits(good)) break
      bad = good
      step *= 2
    }
  }
  while (bad - good > resolution) {
    const middle = resolution === 1 ? Math.floor((good + bad) / 2) : (good + bad) / 2
    if (fits(middle)) good = middle
    else bad = middle
  }
  return good
}

/** How far the epsilon of a history, by a fast estimate that may err, is above the budget's: log of the ratio. */
const excess = (history: EventCount[], { epsilon, delta }: Budget): number => {
  const estimate = estimateEpsilon(history, delta) ?? epsilonBounds(history, delta, ROUGH).epsilon
  return estimate > 0 ? Math.min(EXCESS_MAX, log(estimate) - log(epsilon)) : -EXCESS_MAX
}
/** Stands for no epsilon at all, and for an infinite one. */
const EXCESS_MAX = 1000

/** Whether a history is within a budget, by the certified upper bound. */
const confirmed = (history: EventCount[], { epsilon, delta }: Budget): boolean =>
  epsilonBounds(history, delta).epsilon <= epsilon

/**
 * Where a rising function crosses 0, near enough to start from: bracketed from `guess`, then by false position, the
 * stale end halved (the Illinois rule).
 */
const crossing = (of: (place: number) => number, { guess, span, resolution, min, max }: Search): number => {
  let low = { place: guess, value: of(guess) }
  let high = low
  for (let step = span; low.value > 0 && low.place > min; step *= 2) {
    const place = Math.max(min, low.place - step)
    high = low
    low = { place, value: of(place) }
  }
  for (let step = span; high.value <= 0 && high.place < max; step *= 2) {
    const place = Math.min(max, high.place + step)
    low = high
    high = { place, value: of(place) }
  }
  if (low.value > 0) return min
  if (high.value <= 0) return max
  for (let tries = 0; high.place - low.place > resolution && tries < 60; tries++) {
    const place = low.place + ((high.place - low.place) * -low.value) / (high.value - low.value)
    const value = of(place)
    if (Math.abs(value) < resolution) return place
    if (value > 0) {
      high = { place, value }
      low = { ...low, value: low.value / 2 }
    } else {
      low = { place, value }
      high = { ...high, value: high.value / 2 }
    }
  }
  return low.place
}

/** The largest place at which the schedule is within the target: found with estimates, then confirmed around the find. */
const calibrated = (scheduleAt: (place: number) => EventCount[], target: Target, search: Search): number | null => {
  const budget = { epsilon: target.targetEpsilon, delta: target.delta }
  const guess = crossing((place) => excess(scheduleAt(place), budget), search)
  const near = { ...search, guess, span: 4 * RESOLUTION, resolution: RESOLUTION }
  return largest((place) => confirmed(scheduleAt(place), budget), near)
}

const refuse = (fields: string): never => {
  throw new PrivacyError('invalid_stages', fields)
}

const validateTarget = ({ targetEpsilon, delta }: Target, stages: readonly { rounds: number }[]) => {
  validateBudget({ epsilon: targetEpsilon, delta })
  const rounds = stages.reduce((sum, stage) => sum + validateCount(stage.rounds), 0)
  if (rounds === 0) refuse('stages.rounds: nothing is released, so any noise will do')
}

const isRatio = (ratio: number) => Number.isFinite(ratio) && ratio > 0

/** Places of a search over a positive quantity: its logarithm. */
const LOG_SEARCH = { guess: 0, span: 1, resolution: RESOLUTION / 4 }

/** A noise multiplier and the spend that it leads to. */
export interface Calibration extends EpsilonBounds {
  readonly noiseMultiplier: number
}

/**
 * Smallest noise multiplier with which all stages together stay within (targetEpsilon, delta): confirmed by the certified
 * upper bound, and within 0.1 % above the exact answer.
 *
 * @example calibrateNoise({ targetEpsilon: 4, delta: 1e-5, stages: [{ samplingRate: 0.06, rounds: 300 }] })
 * @throws PrivacyError `invalid_epsilon`, `invalid_delta`, `invalid_stages`, `invalid_count`, `invalid_event`,
 *   `unreachable_target` when NOISE_MAX is not enough
 */
export const calibrateNoise = (request: Target & { readonly stages: readonly CalibrationStage[] }): Calibration => {
  const { stages, delta, neighbours = 'add-remove' } = request
  validateTarget(request, stages)
  for (const { samplingRate, noiseRatio = 1 } of stages) {
    if (!(samplingRate >= 0 && samplingRate <= 1)) refuse('stages.samplingRate must be between 0 and 1')
    if (!isRatio(noiseRatio)) refuse('stages.noiseRatio must be finite and above 0')
  }
  const scheduleAt = (place: number): EventCount[] =>
    stages.map(({ mechanism = 'gaussian', samplingRate, rounds, noiseRatio = 1 }) => ({
      event: mechanismEvent({ mechanism, neighbours, samplingRate, noiseMultiplier: exp(-place) * noiseRatio }),
      count: rounds,
    }))
  const place = calibrated(scheduleAt, request, { ...LOG_SEARCH, min: -log(NOISE_MAX), max: -log(NOISE_MIN) })
  if (place === null) throw new PrivacyError('unreachable_target', 'no noise multiplier reaches targetEpsilon')
  return { noiseMultiplier: exp(-place), ...epsilonBounds(scheduleAt(place), delta) }
}

/** A sampling rate and the spend that it leads to. */
export interface RateCalibration extends EpsilonBounds {
  readonly samplingRate: number
}

/**
 * Largest sampling rate with which all stages together stay within (targetEpsilon, delta); 1 where it is no limit.
 * @throws PrivacyError `invalid_epsilon`, `invalid_delta`, `invalid_stages`, `invalid_count`, `invalid_event`,
 *   `unreachable_target` when RATE_MIN is too much
 */
export const largestSamplingRate = (request: Target & { readonly stages: readonly RateStage[] }): RateCalibration => {
  const { stages, delta, neighbours = 'add-remove' } = request
  validateTarget(request, stages)
  for (const { rateRatio = 1 } of stages) {
    if (!(isRatio(rateRatio) && rateRatio <= 1)) refuse('stages.rateRatio must be above 0 and at most 1')
  }
  const scheduleAt = (place: number): EventCount[] =>
    stages.map(({ mechanism = 'gaussian', noiseMultiplier, rounds, rateRatio = 1 }) => ({
      event: mechanismEvent({ mechanism, neighbours, noiseMultiplier, samplingRate: exp(place) * rateRatio }),
      count: rounds,
    }))
  const place = calibrated(scheduleAt, request, { ...LOG_SEARCH, guess: log(0.01), min: log(RATE_MIN), max: 0 })
  if (place === null) throw new PrivacyError('unreachable_target', 'no sampling rate reaches targetEpsilon')
  return { samplingRate: exp(place), ...epsilonBounds(scheduleAt(place), delta) }
}

/**
 * How many releases of `event` still fit in the budget after `history`, where all of them are fixed beforehand: the
 * certified upper bound of so many is within the budget, and that of one more is not (within its own width of 0.02 %).
 * ROUNDS_MAX where the budget is no limit. Across runs whose parameters may depend on earlier releases ask
 * `RdpFilter.affordable`.
 * @throws PrivacyError `invalid_epsilon`, `invalid_delta`, `invalid_event`, `invalid_count`, `mixed_neighbours`
 */
export const largestRounds = (question: {
  event: MechanismEvent
  budget: Budget
  history?: readonly EventCount[]
}): number => {
  const { event, budget, history = [] } = question
  validateBudget(budget)
  const scheduleOf = (count: number) => [...history, { event, count }]
  if (event.samplingRate === 0) return confirmed(scheduleOf(1), budget) ? ROUNDS_MAX : 0
  const places = { ...LOG_SEARCH, min: 0, max: log(ROUNDS_MAX) }
  const guess = Math.floor(exp(crossing((place) => excess(scheduleOf(Math.floor(exp(place))), budget), places)))
  const span = Math.max(1, Math.floor(guess * 4 * RESOLUTION))
  const search = { guess, span, resolution: 1, min: 0, max: ROUNDS_MAX }
  return largest((count) => confirmed(scheduleOf(count), budget), search) ?? 0
}
