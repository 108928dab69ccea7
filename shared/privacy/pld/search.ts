import { type ComposedLoss, compose, type EnclosedReleases } from './compose.ts'
import { enclose } from './discretise.ts'
import type { DominatingPair } from './pair.ts'

/** Width of an interval over its upper end, unless told otherwise. */
export const TOLERANCE = 2e-4
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
/** The same for those who ask for a width below the usual one. */
const FINE_POINTS_MAX = 2 ** 22
/** How much finer a lattice may get to bring the point masses of several mechanisms near its points. */
const ALIGNMENT_COST = 1.25
/** Part of the tolerance that the cut ends of the losses may use up. */
const CUT_SHARE = 1e-3
/** Part of the tolerance that the tilted mass outside of the window may use up; it weighs more than other mass. */
const WINDOW_SHARE = 1e-4
/** What the share falls by from pass to pass: a loss of two modes has its answer in a faint part of the tilted mass. */
const OUTSIDE_STEP = 1e-3
/** `count` releases in one direction. */
export interface Release {
  readonly pair: DominatingPair
  readonly count: number
}

/** What one pass over a lattice found. */
export interface Found {
  readonly upper: number
  readonly lower: number
  /** -d log delta / d eps at the answer. */
  readonly slope: number
}

/** One question in one direction: how to read its answer, and the lattice step that gives it to a relative width. */
export interface Question {
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
  // A lattice of more points is refused; to look for the best of them would take for ever.
  if (!main || main.span / wanted > FINE_POINTS_MAX) return wanted
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
    pointsMax: tolerance < TOLERANCE ? FINE_POINTS_MAX : POINTS_MAX,
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

export const NOTHING_KNOWN: Found = { upper: Number.POSITIVE_INFINITY, lower: 0, slope: 1 }

/** The tighter of two findings about the same number. */
const both = (a: Found, b: Found): Found => ({
  upper: Math.min(a.upper, b.upper),
  lower: Math.max(a.lower, b.lower),
  slope: b.slope,
})

const narrow = ({ upper, lower }: Found, tolerance: number) =>
  Number.isFinite(upper) && upper - lower <= tolerance * upper

/** A next step is not below this share of the one before: beside a point mass delta falls so steeply that any step seems too wide. */
const FINEST = 2 ** -20

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
  const discrete = question.releases.some(({ pair }) => pair.atoms.length > 0)
  let wanted = AIM * tolerance
  let outside = 1
  for (let passes = 1; passes < PASSES_MAX && !narrow(found, tolerance); passes++) {
    const near = Number.isFinite(found.upper) ? found : guess
    const finer = question.stepFor(near, wanted)
    if (!(finer > 0)) break
    const next = passOrCoarser(question, {
      step: Math.max(Math.min(finer, step / 1.5), step * FINEST),
      tilt: question.tiltFor(near),
      tolerance,
      outside,
    })
    if (!next || next.step >= step) break
    const settled = discrete && passes > 1 && found.upper - next.found.upper < SETTLED * tolerance * found.upper
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
export const largest = (questions: readonly Question[], guess: Found, tolerance: number): Found => {
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
