import { exp, expm1 } from '../elementary.ts'
import type { DominatingPair } from './pair.ts'

/** Above, e^-loss leaves the doubles, and delta is known only to lie below P(L > eps). */
const LOSS_EXACT_MAX = 600

/** delta of one release at an epsilon, in closed form, with a bound on its rounding error. */
const deltaOf = (pair: DominatingPair, epsilon: number): { delta: number; error: number } => {
  const masses = new Float64Array(5)
  pair.masses(epsilon, masses)
  const [p, q] = [masses[0]!, masses[1]!]
  const weighed = q * exp(epsilon)
  const atoms = pair.atoms.filter(({ loss }) => loss > epsilon)
  const delta = atoms.reduce((sum, { loss, p: mass }) => sum - mass * expm1(epsilon - loss), p - weighed)
  const size = atoms.reduce((sum, atom) => sum + atom.p, p + weighed)
  return { delta, error: 2 * (masses[4]! + 2 ** -51 * (1 + Math.abs(epsilon))) * size }
}

/** P(L > eps), with room for rounding. */
const above = (pair: DominatingPair, epsilon: number, sign: 1 | -1): number => {
  const masses = new Float64Array(5)
  pair.masses(epsilon, masses)
  return (
    pair.atoms.reduce((sum, { loss, p }) => sum + (loss > epsilon ? p : 0), masses[0]!) * (1 + sign * 2 * masses[4]!)
  )
}

/** Bounds of delta for one release (Balle, Wang 2018, arXiv 1805.06530, theorem 8, for the Gaussian). */
export const singleDelta = (pair: DominatingPair, epsilon: number): { delta: number; lower: number } => {
  if (epsilon > LOSS_EXACT_MAX) {
    // delta(eps) >= P(L > eps + 1) (1 - 1/e).
    return { delta: above(pair, epsilon, 1), lower: above(pair, epsilon + 1, -1) * 0.63 }
  }
  const { delta, error } = deltaOf(pair, epsilon)
  return { delta: Math.min(1, Math.max(0, delta) + error), lower: Math.max(0, delta - error) }
}

/** No loss of a release of any use is larger. */
const EPSILON_MAX = 2 ** 40

/** The least epsilon >= 0, to the last bits, with `holds`, which stays true once it is. */
const leastEpsilon = (holds: (epsilon: number) => boolean): { last: number; first: number } => {
  if (holds(0)) return { last: 0, first: 0 }
  let [last, first] = [0, 2 ** -40]
  while (!holds(first)) {
    last = first
    first *= 2
    if (first > EPSILON_MAX) return { last, first: Number.POSITIVE_INFINITY }
  }
  for (;;) {
    const middle = (last + first) / 2
    if (middle <= last || middle >= first) return { last, first }
    if (holds(middle)) first = middle
    else last = middle
  }
}

/** Bounds of the epsilon of one release at a delta, as near as doubles allow. */
export const singleEpsilon = (pair: DominatingPair, delta: number): { epsilon: number; lower: number } => ({
  epsilon: leastEpsilon((epsilon) => singleDelta(pair, epsilon).delta <= delta).first,
  lower: leastEpsilon((epsilon) => singleDelta(pair, epsilon).lower <= delta).last,
})
