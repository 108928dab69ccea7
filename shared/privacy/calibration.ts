import { NOISE_EXACT_MIN } from './divergence.ts'
import { PrivacyError } from './error.ts'
import { type EventCount, gaussianEvent, type MechanismEvent, validateCount } from './event.ts'
import { type Budget, canSpend, spend, validateBudget } from './meter.ts'
import { type Epsilon, RDP_ORDERS } from './rdp.ts'

/** A span of rounds to be calibrated; its noise multiplier is `noiseRatio` (1 if absent) times the common one. */
export interface CalibrationStage {
  readonly samplingRate: number
  readonly rounds: number
  readonly noiseRatio?: number
}

/** A noise multiplier and the spend that it leads to. */
export interface Calibration extends Epsilon {
  readonly noiseMultiplier: number
}

/** Least noise multiplier ever proposed, even where less would do (no rounds, rate 0). */
export const NOISE_MIN = NOISE_EXACT_MIN
/** Search ends here: a target that needs more noise is called unreachable. */
export const NOISE_MAX = 1e6
/** Relative width of the last bracket: the proposed noise is at most this much above the least that does. */
export const NOISE_TOLERANCE = 1e-6
/** `affordableRounds` counts no further; a mechanism this cheap is not limited by the budget. */
export const ROUNDS_MAX = 1_000_000_000
/** `epsilonByRound` answers for at most this many rounds. */
export const CURVE_ROUNDS_MAX = 100_000

/** Least noise with `feasible(noise)`, to a relative `tolerance`; feasibility must be monotone. Null: none. */
const leastNoise = (
  feasible: (noise: number) => boolean,
  search: { start: number; factor: number; tolerance: number },
): number | null => {
  let high = search.start
  while (!feasible(high)) {
    if (high >= NOISE_MAX) return null
    high = Math.min(high * search.factor, NOISE_MAX)
  }
  let low = Math.max(high / search.factor, NOISE_MIN)
  while (feasible(low)) {
    high = low
    if (low === NOISE_MIN) return high
    low = Math.max(low / search.factor, NOISE_MIN)
  }
  while (high > low * (1 + search.tolerance)) {
    const middle = Math.sqrt(low * high)
    if (feasible(middle)) high = middle
    else low = middle
  }
  return high
}

const validateStages = (stages: readonly CalibrationStage[]) => {
  const valid = ({ samplingRate, rounds, noiseRatio = 1 }: CalibrationStage) =>
    samplingRate >= 0 &&
    samplingRate <= 1 &&
    Number.isFinite(noiseRatio) &&
    noiseRatio > 0 &&
    validateCount(rounds) >= 0
  if (!stages.every(valid)) {
    throw new PrivacyError('invalid_stages', 'a stage needs a rate of 0 to 1 and a finite noise ratio above 0')
  }
}

const eventsAt = (stages: readonly CalibrationStage[], noise: number): EventCount[] =>
  stages.map(({ samplingRate, rounds, noiseRatio = 1 }) => ({
    event: gaussianEvent({ noiseMultiplier: noise * noiseRatio, samplingRate }),
    count: rounds,
  }))

/** Every eighth order and the last: enough to find the neighbourhood, and never below the full grid's epsilon. */
const sparse = (orders: readonly number[]) => orders.filter((_, i) => i % 8 === 0 || i === orders.length - 1)

/** The orders within 8 places of `order`. */
const around = (orders: readonly number[], order: number) => {
  const centre = orders.indexOf(order)
  return orders.slice(Math.max(0, centre - 8), centre + 9)
}

/**
 * Smallest noise multiplier with which all stages together stay within (targetEpsilon, delta). The answer is the
 * upper end of the last bracket, checked against the full grid of orders, so it always satisfies the target.
 *
 * @example calibrateNoise({ targetEpsilon: 4, delta: 1e-5, stages: [{ samplingRate: 0.06, rounds: 300 }] })
 * @throws PrivacyError `invalid_epsilon`, `invalid_delta`, `invalid_stages`, `invalid_count`, `invalid_orders`,
 *   `unreachable_target` when NOISE_MAX is not enough
 */
export const calibrateNoise = (request: {
  targetEpsilon: number
  delta: number
  stages: readonly CalibrationStage[]
  orders?: readonly number[]
}): Calibration => {
  const { targetEpsilon, delta, stages, orders = RDP_ORDERS } = request
  validateBudget({ epsilon: targetEpsilon, delta })
  validateStages(stages)
  const spendAt = (noise: number, list: readonly number[]) => spend(eventsAt(stages, noise), delta, list)
  const within = (list: readonly number[]) => (noise: number) => spendAt(noise, list).epsilon <= targetEpsilon
  // A subset of orders never gives a smaller epsilon: what is feasible for it is feasible for the whole grid.
  const coarse = leastNoise(within(sparse(orders)), { start: 1, factor: 4, tolerance: 0.02 })
  const found = fine(coarse ?? NOISE_MAX, { spendAt, within, orders })
  if (found === null) throw new PrivacyError('unreachable_target', 'no noise multiplier reaches this epsilon')
  return { noiseMultiplier: found, ...spendAt(found, orders) }
}

/** From a rough answer to the exact one: on the orders around its best, or on all where the best lies elsewhere. */
const fine = (
  start: number,
  grid: {
    spendAt: (noise: number, list: readonly number[]) => Epsilon
    within: (list: readonly number[]) => (noise: number) => boolean
    orders: readonly number[]
  },
): number | null => {
  const { spendAt, within, orders } = grid
  const search = { start, factor: 1.05, tolerance: NOISE_TOLERANCE }
  const near = around(orders, spendAt(start, orders).order)
  const found = leastNoise(within(near), search)
  if (found !== null && near.includes(spendAt(found, orders).order)) return found
  return leastNoise(within(orders), search)
}

/**
 * How many releases of `event` still fit in the budget after `history`: `canSpend` says yes to this count and no to
 * one more. ROUNDS_MAX where the budget is no limit, 0 where nothing fits (or the history alone is too much).
 * @throws PrivacyError `invalid_epsilon`, `invalid_delta`, `invalid_event`, `invalid_count`, `invalid_orders`
 */
export const affordableRounds = (question: {
  event: MechanismEvent
  budget: Budget
  history?: readonly EventCount[]
  orders?: readonly number[]
}): number => {
  const { event, budget, history = [], orders = RDP_ORDERS } = question
  const fits = (count: number) => canSpend({ history, next: { event, count }, budget, orders }).ok
  if (!fits(1)) return 0
  if (fits(ROUNDS_MAX)) return ROUNDS_MAX
  let low = 1
  let high = 2
  while (high < ROUNDS_MAX && fits(high)) {
    low = high
    high = Math.min(2 * high, ROUNDS_MAX)
  }
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (fits(middle)) low = middle
    else high = middle
  }
  return low
}

/**
 * Spend after each round of the stages in turn: entry t-1 is the epsilon once round t is released.
 * @returns an array of as many epsilons (nats) as there are rounds, never falling
 * @throws PrivacyError `invalid_stages` above CURVE_ROUNDS_MAX rounds; `invalid_event`, `invalid_count`,
 *   `invalid_delta`, `invalid_orders`
 */
export const epsilonByRound = (
  stages: readonly EventCount[],
  delta: number,
  orders: readonly number[] = RDP_ORDERS,
): number[] => {
  const total = stages.reduce((sum, { count }) => sum + validateCount(count), 0)
  if (total > CURVE_ROUNDS_MAX) throw new PrivacyError('invalid_stages', 'too many rounds for a curve')
  return stages.flatMap(({ event, count }, stage) => {
    const before = stages.slice(0, stage)
    return Array.from({ length: count }, (_, i) => spend([...before, { event, count: i + 1 }], delta, orders).epsilon)
  })
}
