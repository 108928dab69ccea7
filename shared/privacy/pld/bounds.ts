import { exp } from '../elementary.ts'
import { PrivacyError } from '../error.ts'
import { canonicalHistory, distinctEvents, type EventCount, mechanismEvent, neighboursOf } from '../event.ts'
import { memo } from '../memo.ts'
import { spend } from '../meter.ts'
import { RDP_ORDERS, ROUNDING_SLACK, rdpCurve, validateDelta } from '../rdp.ts'
import { deltaAbove, deltaBelow, epsilonAbove, epsilonBelow } from './answer.ts'
import { type ComposedLoss, compose, type EnclosedReleases } from './compose.ts'
import { enclose } from './discretise.ts'
import { type DominatingPair, dominatingPairs } from './pair.ts'
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

export const TOLERANCE = 2e-4
const TOLERANCE_MIN = 1e-12
/** Of the first pass, which only finds where the answer lies. */
const COARSE_TOLERANCE = 0.02
/** Part of the wanted width that a pass aims at, for its prediction is not exact. */
const AIM = 0.8
/** Part of the tolerance by which another pass must still lower the upper bound, from the third on. */
const SETTLED = 0.1
/** Passes after which the interval is left as wide as it is. */
const PASSES_MAX = 5
/** Largest FFT: 2^20 points take about half a second. A composition that needs more gets a wider interval. */
const POINTS_MAX = 2 ** 20
/** How much finer a lattice may get to bring the point masses of several mechanisms near its points. */
const ALIGNMENT_COST = 1.25
/** Part of the tolerance that the cut ends of the losses may use up. */
const CUT_SHARE = 1e-3
/** Steps are chosen as if epsilon were at least this: below, its relative width no longer matters. */
const EPSILON_FLOOR = 1e-9
/** First guesses are not above this. */
const EPSILON_CEILING = 1e6
/** Part of the tolerance that the tilted mass outside of the window may use up; it weighs more than other mass. */
const WINDOW_SHARE = 1e-4
/** What the share falls by from pass to pass: a loss of two modes has its answer in a faint part of the tilted mass. */
const OUTSIDE_STEP = 1e-3
/** Relative allowance for merging unsampled releases and for the last operations. */
const MERGE_SLACK = 1e-12

interface Release {
  readonly pair: DominatingPair
  readonly count: number
}

/** What one pass over a lattice found. */
interface Found {
  readonly upper: number
  readonly lower: number
  /** -d log delta / d eps at the answer. */
  readonly slope: number
}

/** One question in one direction: how to read its answer, and the lattice step that gives it to a relative width. */
interface Question {
  readonly releases: readonly Release[]
  readonly count: number
  read(loss: ComposedLoss): Found
  /** The tilt that brings the peak of the composed loss to the answer. */
  tiltFor(found: Found): number
  /** The step that makes the interval of this relative width. */
  stepFor(found: Found, tolerance: number): number
  /** Mass of P that may count as a breach without being seen in the answer. */
  readonly breach: number
}

/** Unsampled Gaussian releases are one, with the noise 1/sqrt(sum count/noise^2); events that cost nothing are none. */
const merged = (history: Iterable<EventCount>): EventCount[] => {
  const charged = distinctEvents(history).filter(({ event, count }) => count > 0 && event.samplingRate > 0)
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

/**
 * A step not above `wanted` with which both point masses of the release that spreads most among those that have some are
 * lattice points, and those of the others lie little above one: lower bounds round them down.
 */
const alignedStep = (releases: readonly Release[], wanted: number): number => {
  const [main, ...others] = releases
    .filter(({ pair }) => pair.atoms.length > 1)
    .map(({ pair: { atoms }, count }) => ({ span: atoms.at(-1)!.loss - atoms[0]!.loss, count }))
    .filter(({ span }) => span >= wanted)
    .sort((a, b) => b.count * b.span - a.count * a.span)
  if (!main) return wanted
  const fewest = Math.ceil(main.span / wanted)
  let best = { step: main.span / fewest, cost: Number.POSITIVE_INFINITY }
  for (let cells = fewest; cells <= fewest * ALIGNMENT_COST && best.cost > 0; cells++) {
    const step = main.span / cells
    const above = (span: number) => (span / step - Math.floor(span / step)) * step
    const cost = others.reduce((total, { span, count }) => total + count * above(span), 0)
    if (cost < best.cost) best = { step, cost }
  }
  return best.step
}

interface PassSettings {
  readonly step: number
  readonly tilt: number
  readonly tolerance: number
  /** Less than 1 where mass outside of the window weighs more than usual. */
  readonly outside?: number
}

/** One pass: every release on a lattice of this step, composed at this tilt, and read. Null: too many points. */
const pass = (question: Question, { step: wanted, tilt, tolerance, outside = 1 }: PassSettings) => {
  const { releases, count } = question
  const step = alignedStep(releases, wanted)
  const cuts = { top: (CUT_SHARE * tolerance * question.breach) / count, bottom: (CUT_SHARE * tolerance) / count }
  const enclosed: EnclosedReleases[] = []
  for (const release of releases) {
    const loss = enclose(release.pair, step, cuts)
    if (!loss) return null
    enclosed.push({ loss, count: release.count })
  }
  const composed = compose(enclosed, tilt, {
    outside: WINDOW_SHARE * Math.min(tolerance, TOLERANCE) * outside,
    pointsMax: POINTS_MAX,
  })
  return composed && question.read(composed)
}

/** Widens the step until the lattice is small enough; null where no step is. */
const passOrCoarser = (question: Question, settings: PassSettings) => {
  for (let { step } = settings, tries = 0; tries < 16; step *= 4, tries++) {
    const found = pass(question, { ...settings, step })
    if (found) return { found, step }
  }
  return null
}

const NOTHING_KNOWN: Found = { upper: Number.POSITIVE_INFINITY, lower: 0, slope: 1 }

/** The tighter of two findings about the same number. */
const both = (a: Found, b: Found): Found => ({
  upper: Math.min(a.upper, b.upper),
  lower: Math.max(a.lower, b.lower),
  slope: b.slope,
})

const narrow = ({ upper, lower }: Found, tolerance: number) =>
  Number.isFinite(upper) && upper - lower <= tolerance * upper

/** A coarse pass to find where the answer lies, then passes until the interval is as narrow as wanted. */
const search = (question: Question, guess: Found, tolerance: number): { found: Found; step: number } => {
  const coarse = Math.max(COARSE_TOLERANCE, tolerance)
  const first = passOrCoarser(question, {
    step: question.stepFor(guess, coarse),
    tilt: question.tiltFor(guess),
    tolerance: coarse,
  })
  if (!first) return { found: NOTHING_KNOWN, step: 0 }
  let { found, step } = first
  let wanted = AIM * tolerance
  let outside = 1
  for (let passes = 1; passes < PASSES_MAX && !narrow(found, tolerance); passes++) {
    const near = Number.isFinite(found.upper) ? found : guess
    const finer = question.stepFor(near, wanted)
    if (!(finer > 0)) break
    const next = passOrCoarser(question, {
      step: Math.min(finer, step / 1.5),
      tilt: question.tiltFor(near),
      tolerance,
      outside,
    })
    if (!next || next.step >= step) break
    const settled = passes > 1 && found.upper - next.found.upper < SETTLED * tolerance * found.upper
    found = both(found, next.found)
    step = next.step
    // The number to publish is as good as it gets: point masses beside the lattice keep the lower bound behind.
    if (settled) break
    wanted /= 2
    outside *= OUTSIDE_STEP
  }
  return { found, step }
}

/**
 * The larger of two directions. The second seldom counts: where a coarser pass shows that it stays below the first, it is
 * left at that.
 */
const largest = (questions: readonly Question[], guess: Found, tolerance: number): Found => {
  const [main, other] = questions
  const { found, step } = search(main!, guess, tolerance)
  if (!other) return found
  if (step > 0) {
    for (const coarser of [2, 1]) {
      const second = pass(other, { step: step * coarser, tilt: other.tiltFor(found), tolerance })
      if (second && second.upper <= found.upper) return { ...found, lower: Math.max(found.lower, second.lower) }
    }
  }
  const { found: second } = search(other, guess, tolerance)
  return { upper: Math.max(found.upper, second.upper), lower: Math.max(found.lower, second.lower), slope: found.slope }
}

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
  const exponentsAt = (epsilon: number) => RDP_ORDERS.map((order, i) => (order - 1) * (composed[i]! - epsilon))
  return {
    tiltAt(epsilon: number): number {
      const exponents = exponentsAt(epsilon)
      return RDP_ORDERS[exponents.indexOf(Math.min(...exponents))]! - 1
    },
    /** The bound itself: log delta is at most this. */
    logDeltaAt: (epsilon: number): number => Math.min(...exponentsAt(epsilon)),
  }
}

type Saddle = ReturnType<typeof saddleOf>['tiltAt']

/**
 * What the lattice adds: in log delta, at the tilt (or where delta is steeper, at its steepness), count step^2 tilt (1 + tilt) times 1/12 for connecting the dots (a cell
 * split to its ends has variance step^2/6 more) and at most 1/6 for cutting corners (a corner lies step^2/4 below its
 * chord). Over the steepness of log delta it is the error of epsilon.
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
  const entries = distinctEvents(history)
  neighboursOf(entries)
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
  const entries = distinctEvents(history)
  neighboursOf(entries)
  const directions = directed(merged(entries))
  if (directions.length === 0) return { delta: 0, lower: 0 }
  if (countOf(directions[0]!) === 1) {
    const singles = directions.map(([release]) => singleDelta(release!.pair, epsilon))
    return { delta: Math.max(...singles.map((s) => s.delta)), lower: Math.max(...singles.map((s) => s.lower)) }
  }
  const { tiltAt, logDeltaAt } = saddleOf(entries)
  const ceiling = exp(Math.min(0, logDeltaAt(epsilon))) * (1 + ROUNDING_SLACK)
  if (ceiling < DELTA_MIN) return { delta: DELTA_MIN, lower: 0 }
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
