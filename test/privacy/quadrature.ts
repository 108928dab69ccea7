/**
 * What the accountant must answer for a few releases, computed another way and without its code: the definition of
 * composition, integrated. Slow (the work is a power of the number of releases), so for three releases at most.
 *
 * With L the loss of the first release under its P, delta(epsilon) of all is E_P[delta_rest(epsilon - L)], where
 * delta_rest belongs to the other releases and, for the last one, has a closed form.
 */
import { gaussLegendre, integrate, type Rule } from './legendre.ts'
import { type Direction, type Pair, pairOf, type Release } from './pair.ts'

export type { Direction, Release } from './pair.ts'

/** Nodes of each panel; twice as many change no result by more than 1e-12 of it. */
const RULE = gaussLegendre(12)
const FINER = gaussLegendre(24)

type Profile = (epsilon: number) => number

/** E_P[f(L)] of one release; `kinks` are the losses at which f is not analytic. */
const expectation = (pair: Pair, f: Profile, kinks: readonly number[], rule: Rule): number => {
  const atoms = pair.atoms.reduce((sum, { loss, mass }) => sum + mass * f(loss), 0)
  const places = kinks.map(pair.place)
  return pair.edges.slice(1).reduce((sum, to, i) => {
    const domain = { from: pair.edges[i]!, to, width: pair.width, kinks: places }
    return sum + integrate((x) => pair.density(x) * f(pair.loss(x)), domain, rule)
  }, atoms)
}

/** Losses at which the profile of a composition is not analytic: all sums of one kink of each release. */
const kinksOf = (pairs: readonly Pair[]): number[] =>
  pairs.reduce<number[]>((sums, pair) => sums.flatMap((sum) => pair.kinks.map((kink) => sum + kink)), [0])

const composed = ([first, ...rest]: readonly Pair[], rule: Rule): Profile => {
  if (first === undefined) return (epsilon) => Math.max(0, -Math.expm1(epsilon))
  if (rest.length === 0) return first.delta
  const remaining = composed(rest, rule)
  const kinks = kinksOf(rest)
  return function composedDelta(epsilon) {
    const places = kinks.map((kink) => epsilon - kink)
    return expectation(first, (loss) => remaining(epsilon - loss), places, rule)
  }
}

const directionsOf = (releases: readonly Release[]): Direction[] =>
  releases.some(({ neighbours }) => neighbours === 'replace-one') ? ['replace'] : ['remove', 'add']

/** delta(epsilon) of the releases in one direction; `finer` doubles the nodes. */
export const profile = (
  releases: readonly Release[],
  direction: Direction,
  options: { finer?: boolean } = {},
): Profile =>
  composed(
    releases.filter(({ samplingRate }) => samplingRate > 0).map((release) => pairOf(release, direction)),
    options.finer ? FINER : RULE,
  )

/** The larger delta of both directions; at most three releases, all of one relation. */
export const naiveDelta = (releases: readonly Release[], epsilon: number, options: { finer?: boolean } = {}): number =>
  Math.max(...directionsOf(releases).map((direction) => profile(releases, direction, options)(epsilon)))

/** delta(epsilon) of one release as the integral that defines it: nothing of the closed forms is used. */
export const definitionDelta = (release: Release, direction: Direction, epsilon: number): number =>
  expectation(pairOf(release, direction), (loss) => Math.max(0, -Math.expm1(epsilon - loss)), [epsilon], FINER)

/** The least epsilon >= 0 with naiveDelta(epsilon) <= delta, to 1e-13: the secant method on log delta, bracketed. */
export const naiveEpsilon = (releases: readonly Release[], delta: number): number => {
  const height = (epsilon: number) => Math.log(Math.max(naiveDelta(releases, epsilon), 1e-300) / delta)
  let low = { epsilon: 0, height: height(0) }
  if (low.height <= 0) return 0
  let high = { epsilon: 1, height: height(1) }
  while (high.height > 0) {
    low = high
    high = { epsilon: 2 * low.epsilon, height: height(2 * low.epsilon) }
  }
  for (let step = 0; high.epsilon - low.epsilon > 1e-13 * high.epsilon && step < 100; step++) {
    // The secant only where log delta is nearly straight, and halving now and then in case one end stays.
    const straight = low.height - high.height < 5 && step % 3 !== 2
    const share = straight ? low.height / (low.height - high.height) : 0.5
    const epsilon = low.epsilon + share * (high.epsilon - low.epsilon)
    const middle = { epsilon, height: height(epsilon) }
    if (middle.height > 0) low = middle
    else high = middle
    if (Math.abs(middle.height) < 1e-13) return epsilon
  }
  return high.epsilon
}
