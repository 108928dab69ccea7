import { exp } from '../elementary.ts'
import { PrivacyError } from '../error.ts'
import { canonicalHistory, distinctEvents, type EventCount, mechanismEvent, neighboursOf } from '../event.ts'
import { memo } from '../memo.ts'
import { spend } from '../meter.ts'
import { RDP_ORDERS, ROUNDING_SLACK, rdpCurve, validateDelta } from '../rdp.ts'
import { deltaAbove, deltaBelow, epsilonAbove, epsilonBelow } from './answer.ts'
import { dominatingPairs } from './pair.ts'
import { type Found, largest, NOTHING_KNOWN, type Question, type Release, TOLERANCE } from './search.ts'
import { singleDelta, singleEpsilon } from './single.ts'

/** A certified interval around the exact epsilon, nats. */
export interface EpsilonBounds {
  /** Upper bound: the number to publish. Infinity where no finite epsilon reaches the delta. */
  readonly epsilon: number
  /** Lower bound: no accountant of the same events may print less. */
  readonly lower: number
}

/** A certified interval around the exact delta. */
export interface DeltaBounds {
  readonly delta: number
  readonly lower: number
}

export interface BoundsOptions {
  /** Wanted width of the interval over its upper end; default 2e-4. Work grows as 1/sqrt(tolerance). */
  readonly tolerance?: number
}

const TOLERANCE_MIN = 1e-12
/** Steps are chosen as if epsilon were at least this: below, its relative width no longer matters. */
const EPSILON_FLOOR = 1e-9
/** First guesses are not above this. */
const EPSILON_CEILING = 1e6
/** Relative allowance for merging unsampled releases and for the last operations. */
const MERGE_SLACK = 1e-12

/** The distinct events that were released at all. @throws PrivacyError `mixed_neighbours` */
const chargedOf = (history: Iterable<EventCount>): EventCount[] => {
  const entries = distinctEvents(history).filter(({ count }) => count > 0)
  neighboursOf(entries)
  return entries
}

/** Unsampled Gaussian releases are one, with the noise 1/sqrt(sum count/noise^2); events that cost nothing are none. */
const merged = (entries: readonly EventCount[]): EventCount[] => {
  const charged = entries.filter(({ event }) => event.samplingRate > 0)
  const plain = ({ event }: EventCount) => event.mechanism === 'gaussian' && event.samplingRate === 1
  const unsampled = charged.filter(plain)
  if (countOf(unsampled) < 2) return charged
  const precision = unsampled.reduce(
    (sum, { event, count }) => sum + count / event.noiseMultiplier / event.noiseMultiplier,
    0,
  )
  const noiseMultiplier = 1 / Math.sqrt(precision)
  // Beyond the doubles nothing is merged: such noise is none, or all there is.
  if (!(noiseMultiplier > 0 && Number.isFinite(noiseMultiplier))) return charged
  const event = mechanismEvent({ ...unsampled[0]!.event, noiseMultiplier })
  return [...charged.filter((entry) => !plain(entry)), { event, count: 1 }]
}

/** The releases in each direction in which neighbours may differ. */
const directed = (history: readonly EventCount[]): Release[][] => {
  const all = history.map(({ event, count }) => ({ pairs: dominatingPairs(event), count }))
  const directions = all[0]?.pairs.length ?? 0
  return Array.from({ length: directions }, (_, d) => all.map(({ pairs, count }) => ({ pair: pairs[d]!, count })))
}

const countOf = (releases: readonly { readonly count: number }[]) => releases.reduce((sum, { count }) => sum + count, 0)

const toleranceOf = ({ tolerance = TOLERANCE }: BoundsOptions): number => {
  if (!(tolerance >= TOLERANCE_MIN && tolerance < 1)) {
    throw new PrivacyError('invalid_tolerance', 'tolerance must be at least 1e-12 and below 1')
  }
  return tolerance
}

/**
 * Least exponent of Chernoff's bound delta <= exp(tilt (RDP(tilt + 1) - eps)) over the orders of the grid: the saddle point,
 * near enough. (The steepness of delta itself is not it where the loss has two modes.)
 */
const saddleOf = (entries: readonly EventCount[]) => {
  const curves = entries.map(({ event, count }) => ({ curve: rdpCurve(event), count }))
  const composed = RDP_ORDERS.map((_, i) => curves.reduce((sum, { curve, count }) => sum + count * curve[i]!, 0))
  const exponentsAt = (epsilon: number, slack = 0) =>
    RDP_ORDERS.map((order, i) => (order - 1) * (composed[i]! * (1 + slack) - epsilon))
  return {
    tiltAt(epsilon: number): number {
      const exponents = exponentsAt(epsilon)
      return RDP_ORDERS[exponents.indexOf(Math.min(...exponents))]! - 1
    },
    /** The bound itself: log delta is at most this. */
    logDeltaAt: (epsilon: number): number => Math.min(...exponentsAt(epsilon, ROUNDING_SLACK)),
  }
}

type Saddle = ReturnType<typeof saddleOf>['tiltAt']

/**
 * What the lattice adds: in log delta, at the tilt (or where delta is steeper, at its steepness),
 * count step^2 tilt (1 + tilt) times 1/12 for connecting the dots (a cell split to its ends has variance step^2/6 more)
 * and at most 1/6 for cutting corners (a corner lies step^2/4 below its chord). Over the steepness of log delta it is the
 * error of epsilon.
 */
const latticeError = (count: number, tilt: number) => (count * tilt * (1 + tilt)) / 4

const epsilonQuestion = (releases: readonly Release[], delta: number, tiltAt: Saddle): Question => {
  const count = countOf(releases)
  const tiltFor = (found: Found) => tiltAt(found.upper)
  return {
    releases,
    count,
    breach: delta,
    read: (loss) => {
      const { value, slope } = epsilonAbove(loss, delta)
      return { upper: Math.max(0, value), lower: Math.max(0, epsilonBelow(loss, delta)), slope }
    },
    tiltFor,
    stepFor: (found, tolerance) =>
      Math.sqrt(
        (tolerance * Math.max(found.upper, EPSILON_FLOOR) * found.slope) /
          latticeError(count, Math.max(tiltFor(found), found.slope)),
      ),
  }
}

/**
 * The epsilon of all these releases together at a delta, as a certified interval: connect-the-dots and cut-corners
 * distributions of the privacy loss on an adaptive lattice, composed by one tilted FFT, with explicit allowances for
 * rounding and truncation. For parameters fixed before the data are seen; where later ones depend on earlier releases use
 * the filter (`canSpend`).
 *
 * @example epsilonBounds([{ event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 0.01 }), count: 1000 }], 1e-5)
 * @throws PrivacyError `invalid_event`, `invalid_count`, `invalid_delta`, `mixed_neighbours`, `invalid_tolerance`
 */
export const epsilonBounds = (
  history: Iterable<EventCount>,
  delta: number,
  options: BoundsOptions = {},
): EpsilonBounds => {
  validateDelta(delta)
  const tolerance = toleranceOf(options)
  const entries = chargedOf(history)
  const key = `${canonicalHistory(entries)} ${delta} ${tolerance}`
  return { ...remembered(key, () => boundsOf(entries, delta, tolerance)) }
}

/** A run asks about one history for each of its data sets, and so do those who watch it. */
const remembered = memo<EpsilonBounds>(1024)

const boundsOf = (entries: readonly EventCount[], delta: number, tolerance: number): EpsilonBounds => {
  const rdp = spend(entries, delta)
  if (rdp.epsilon === 0) return { epsilon: 0, lower: 0 }
  if (delta < DELTA_MIN || rdp.epsilon === Number.POSITIVE_INFINITY) return { epsilon: rdp.epsilon, lower: 0 }
  const directions = directed(merged(entries))
  if (countOf(directions[0]!) === 1) {
    const singles = directions.map(([release]) => singleEpsilon(release!.pair, delta))
    const upper = Math.max(...singles.map(({ epsilon }) => epsilon))
    return widened(Math.min(upper, rdp.epsilon), Math.max(...singles.map(({ lower }) => lower)))
  }
  const guess = { upper: Math.min(rdp.epsilon, EPSILON_CEILING), lower: 0, slope: rdp.order - 1 }
  const { tiltAt } = saddleOf(entries)
  const questions = directions.map((releases) => epsilonQuestion(releases, delta, tiltAt))
  const { upper, lower } = largest(questions, guess, tolerance)
  return widened(Math.min(upper, rdp.epsilon), lower)
}

const widened = (upper: number, lower: number): EpsilonBounds => ({
  epsilon: upper * (1 + MERGE_SLACK),
  lower: lower * (1 - MERGE_SLACK),
})

const deltaQuestion = (
  releases: readonly Release[],
  { epsilon, breach, tilt }: { epsilon: number; breach: number; tilt: number },
): Question => {
  const count = countOf(releases)
  return {
    releases,
    count,
    breach,
    read: (loss) => {
      const { value, slope } = deltaAbove(loss, epsilon)
      return { upper: value, lower: deltaBelow(loss, epsilon), slope }
    },
    tiltFor: () => tilt,
    stepFor: (found, tolerance) => Math.sqrt(tolerance / latticeError(count, Math.max(tilt, found.slope))),
  }
}

/** Deltas below this are not told apart from it: tails would leave the doubles. */
const DELTA_MIN = 1e-280
/** Beyond, delta is bounded by what it is here: tails of larger arguments leave the doubles. */
const FAR = 2 ** 40
/** Where delta is at most 1, it may be this much less. */
const BREACH_SHARE = 1e-3

/**
 * The delta of all these releases together at an epsilon, as a certified interval: the privacy profile. See
 * `epsilonBounds`.
 * @param epsilon nats, 0 or more
 * @throws PrivacyError `invalid_event`, `invalid_count`, `invalid_epsilon`, `mixed_neighbours`, `invalid_tolerance`
 */
export const deltaBounds = (
  history: Iterable<EventCount>,
  epsilon: number,
  options: BoundsOptions = {},
): DeltaBounds => {
  if (!(Number.isFinite(epsilon) && epsilon >= 0)) {
    throw new PrivacyError('invalid_epsilon', 'epsilon must be finite, 0 or more')
  }
  const tolerance = toleranceOf(options)
  if (epsilon > FAR) return { delta: deltaBounds(history, FAR, options).delta, lower: 0 }
  const entries = chargedOf(history)
  const directions = directed(merged(entries))
  if (directions.length === 0) return { delta: 0, lower: 0 }
  if (countOf(directions[0]!) === 1) {
    const singles = directions.map(([release]) => singleDelta(release!.pair, epsilon))
    return { delta: Math.max(...singles.map((s) => s.delta)), lower: Math.max(...singles.map((s) => s.lower)) }
  }
  const { tiltAt, logDeltaAt } = saddleOf(entries)
  const ceiling = exp(Math.min(0, logDeltaAt(epsilon))) * (1 + ROUNDING_SLACK)
  if (!(ceiling >= DELTA_MIN)) return { delta: DELTA_MIN, lower: 0 }
  const tilt = tiltAt(epsilon)
  const guess = { upper: ceiling, lower: 0, slope: tilt }
  // Mass cut off at the top counts as a breach: it must be small beside the answer, which is not known yet.
  let breach = ceiling * BREACH_SHARE
  let found = NOTHING_KNOWN
  for (let tries = 0; tries < 3; tries++) {
    const questions = directions.map((releases) => deltaQuestion(releases, { epsilon, breach, tilt }))
    found = largest(questions, guess, tolerance)
    if (found.upper >= breach || breach <= DELTA_MIN) break
    breach = Math.max(found.upper * BREACH_SHARE, DELTA_MIN)
  }
  return { delta: Math.min(1, found.upper, ceiling), lower: found.lower }
}
