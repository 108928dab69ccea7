import { integrandAt, type LogDelta, logDeltaOf } from './contour/integral.ts'
import { type Budget, type Component, rememberNodes, type TotalLoss } from './contour/loss.ts'
import { type Direction, nodeRule } from './contour/nodes.ts'
import { logDeltaBound, type Saddle, saddleOfDelta, saddleOfEpsilon } from './contour/saddle.ts'
import { NOISE_EXACT_MIN } from './divergence.ts'
import { exp, expm1, log, log1p } from './elementary.ts'
import { PrivacyError } from './error.ts'
import { distinctEvents, type EventCount, type MechanismEvent, neighboursOf } from './event.ts'
import { dominatingPairs } from './pld/pair.ts'
import { singleDelta, singleEpsilon } from './pld/single.ts'
import { validateDelta } from './rdp.ts'

/**
 * Epsilon and delta by inversion of the moment generating function of the privacy loss L, along a vertical line in the
 * complex plane (Alghamdi, Gomez, Asoodeh, Calmon, Kosut, Sankar 2023, arXiv 2208.09595). With K(z) = log E_P e^(zL),
 * a sum over releases,
 *
 *   delta(eps) = 1/pi int_0^inf Re[ e^(K(c+it) - (c+it) eps) / ((c+it)(1+c+it)) ] dt,   any c > 0.
 *
 * It shares neither lattice nor transform with the PLD accountant, which it checks, and it is faster. It estimates, to
 * 1e-6 where it answers, and certifies nothing: no decision about a budget may rest on it.
 */

/** Above, rounding of one release's transform would show in the composition. */
export const RELEASES_MAX = 100_000_000
const ATTEMPTS_MAX = 6
const NEWTON_MAX = 30
/** What one answer may cost, in turns of a phase (see `Budget`): about 15 ms. */
const WORK_MAX = 6_000_000
/** Relative error of delta that truncation and aliases may leave. */
const TOLERANCE = 1e-9

const unsampledGaussian = ({ mechanism, samplingRate }: MechanismEvent) =>
  mechanism === 'gaussian' && samplingRate === 1

/** Variance of the loss of Gaussian releases without sampling: (shift/s)^2 each. */
const mergedVariance = (history: readonly EventCount[]) =>
  history
    .filter(({ event }) => unsampledGaussian(event))
    .reduce((sum, { event, count }) => {
      const ratio = (event.neighbours === 'replace-one' ? 2 : 1) / event.noiseMultiplier
      return sum + count * ratio * ratio
    }, 0)

const sampledComponent = ({ event, count }: EventCount, direction: Direction): Component => {
  const rule = nodeRule(event, direction)
  return { kind: 'sampled', count, rule, momentNodes: rememberNodes(rule), atomic: event.mechanism === 'laplace' }
}

const totalLoss = (history: readonly EventCount[], direction: Direction, budget: Budget): TotalLoss => {
  const sampled = history.filter(({ event }) => !unsampledGaussian(event))
  const variance = mergedVariance(history)
  const normal: Component[] = variance > 0 ? [{ kind: 'normal', variance }] : []
  return { components: [...normal, ...sampled.map((entry) => sampledComponent(entry, direction))], budget }
}

/** Greatest loss of one release in a direction; Infinity where there is none. */
const greatestLoss = ({ mechanism, noiseMultiplier, samplingRate }: MechanismEvent, direction: Direction) => {
  const edge = mechanism === 'laplace' ? 1 / noiseMultiplier : Number.POSITIVE_INFINITY
  const up = edge < 700 ? log1p(samplingRate * expm1(edge)) : edge
  const down = -log1p(samplingRate * expm1(-edge))
  return direction === 'remove' ? up : direction === 'add' ? down : up + down
}

const greatestTotal = (history: readonly EventCount[], direction: Direction) =>
  history.reduce((sum, { event, count }) => sum + count * greatestLoss(event, direction), 0)

/** An integrand is good for an epsilon this far from where it was made, in nats. */
const nearEnough = (saddle: Saddle) => 0.05 / saddle.tilt

/** log delta at an epsilon, or null. */
const logDeltaAt = (loss: TotalLoss, epsilon: number): LogDelta | null => {
  const saddle = saddleOfEpsilon(loss, epsilon)
  const integrand = saddle && integrandAt(loss, { ...saddle, epsilon, tolerance: TOLERANCE })
  return integrand && logDeltaOf(integrand, epsilon)
}

/** Newton's steps in log delta on one integrand, as far as it is good for: two e-folds at most from where it was made. */
const solveOn = (loss: TotalLoss, saddle: Saddle, target: number): number | null => {
  const integrand = integrandAt(loss, { ...saddle, tolerance: TOLERANCE })
  if (integrand === null) return null
  const reach = 2 / saddle.tilt
  let epsilon = saddle.epsilon
  for (let step = 0; step < NEWTON_MAX; step++) {
    const answer = logDeltaOf(integrand, epsilon)
    // Nothing left but rounding: delta is far smaller here than the saddle point made believe, so epsilon is less.
    if (answer === null || !(answer.slope < 0))
      return saddle.epsilon / 2 > nearEnough(saddle) ? saddle.epsilon / 2 : null
    const wanted = epsilon - (answer.value - target) / answer.slope
    if (Math.abs(wanted - saddle.epsilon) > reach) return saddle.epsilon + reach * Math.sign(wanted - saddle.epsilon)
    if (Math.abs(wanted - epsilon) <= 1e-11 * (Math.abs(epsilon) + nearEnough(saddle))) return wanted
    epsilon = wanted
  }
  return null
}

/** Epsilon (may be negative) of one direction, or null. */
const solveEpsilon = (loss: TotalLoss, delta: number): number | null => {
  let saddle = saddleOfDelta(loss, log(delta))
  for (let attempt = 0; saddle !== null && attempt < ATTEMPTS_MAX; attempt++) {
    const epsilon = solveOn(loss, saddle, log(delta))
    if (epsilon === null || Math.abs(epsilon - saddle.epsilon) <= nearEnough(saddle)) return epsilon
    const next = saddleOfEpsilon(loss, epsilon, saddle.tilt)
    saddle = next && { ...next, epsilon }
  }
  return null
}

/** The releases that cost something, and the directions to look at. */
const question = (history: readonly EventCount[]) => {
  const entries = distinctEvents(history).filter(({ event, count }) => count > 0 && event.samplingRate > 0)
  const replaced = neighboursOf(history) === 'replace-one'
  const directions: readonly Direction[] = replaced ? ['replace'] : ['remove', 'add']
  const releases = entries.reduce((sum, { count }) => sum + count, 0)
  const faint = ({ event }: EventCount) => !unsampledGaussian(event) && event.noiseMultiplier < NOISE_EXACT_MIN
  return { entries, directions, releases, refused: releases > RELEASES_MAX || entries.some(faint) }
}

/** Is delta of this direction certain to be at most `logDelta` at an epsilon? */
const staysBelow = (loss: TotalLoss, epsilon: number, logDelta: number) => {
  const saddle = saddleOfEpsilon(loss, epsilon)
  return saddle !== null && logDeltaBound(saddle, epsilon) <= logDelta
}

/**
 * Estimate of the least epsilon >= 0 with delta(epsilon) <= delta, over all neighbours, in nats.
 *
 * Null where it would take more than some twenty milliseconds, as the integrand falls off slowly: for a few releases at
 * small rates (sum of rates below 0.1, and not all of those) and for a few releases of Laplace noise, with atoms in
 * their losses. Also null for more than RELEASES_MAX releases, and for sampled noise below NOISE_EXACT_MIN.
 *
 * @example estimateEpsilon([{ event: gaussianEvent({ noiseMultiplier: 1, samplingRate: 0.01 }), count: 1000 }], 1e-5) // 1.8282
 * @throws PrivacyError `invalid_event`, `invalid_count`, `invalid_delta`, `mixed_neighbours`
 */
export const estimateEpsilon = (history: readonly EventCount[], delta: number): number | null => {
  validateDelta(delta)
  const { entries, directions, releases, refused } = question(history)
  // A release is at total variation q at most.
  if (entries.reduce((sum, { event, count }) => sum + count * event.samplingRate, 0) <= delta) return 0
  if (refused) return null
  if (releases === 1) {
    const bounds = dominatingPairs(entries[0]!.event).map((pair) => singleEpsilon(pair, delta))
    return Math.max(...bounds.map(({ epsilon, lower }) => (epsilon + lower) / 2))
  }
  const budget = { left: WORK_MAX }
  let most = 0
  for (const direction of directions) {
    if (direction === 'add' && greatestTotal(entries, direction) <= most) continue
    const loss = totalLoss(entries, direction, budget)
    if (direction === 'add' && staysBelow(loss, most, log(delta))) continue
    const epsilon = solveEpsilon(loss, delta)
    if (epsilon === null) return null
    most = Math.max(most, epsilon)
  }
  return most
}

/**
 * Estimate of delta(epsilon), over all neighbours, a probability; null as for `estimateEpsilon`.
 * @param epsilon in nats, finite, 0 or more
 * @throws PrivacyError `invalid_event`, `invalid_count`, `invalid_epsilon`, `mixed_neighbours`
 */
export const estimateDelta = (history: readonly EventCount[], epsilon: number): number | null => {
  if (!(Number.isFinite(epsilon) && epsilon >= 0)) {
    throw new PrivacyError('invalid_epsilon', 'epsilon must be finite, 0 or more')
  }
  const { entries, directions, releases, refused } = question(history)
  if (entries.length === 0) return 0
  if (refused) return null
  if (releases === 1) {
    const bounds = dominatingPairs(entries[0]!.event).map((pair) => singleDelta(pair, epsilon))
    return Math.max(...bounds.map(({ delta, lower }) => (delta + lower) / 2))
  }
  const budget = { left: WORK_MAX }
  let most = Number.NEGATIVE_INFINITY
  for (const direction of directions) {
    if (greatestTotal(entries, direction) <= epsilon) continue
    const loss = totalLoss(entries, direction, budget)
    if (direction === 'add' && staysBelow(loss, epsilon, most)) continue
    const answer = logDeltaAt(loss, epsilon)
    if (answer === null) return null
    most = Math.max(most, answer.value)
  }
  return exp(Math.min(0, most))
}
