import { exp, log } from '../elementary.ts'
import { countingMoments, type Moments, momentsAt, type TotalLoss } from './loss.ts'

const TWO_PI = 6.283185307179586

/** Nats of the integrand that may cancel for the sake of a shorter period. */
const CANCEL_MAX = 3

/** Where the contour crosses the real axis, the epsilon it is for, and the relative error of delta that may remain. */
export interface Crossing {
  readonly tilt: number
  readonly epsilon: number
  readonly moments: Moments
  readonly tolerance: number
}

/**
 * The midpoint rule's sum is that of (-1)^k e^(c k Period) delta(eps + k Period) over all integers k. If `folded`, the
 * terms with k < 0 count, and delta is 1 - e^(eps + k Period) there.
 */
export interface Period {
  readonly length: number
  readonly folded: boolean
}

/** log of how far an alias must lie below e^(K(c) - c eps); delta itself is c (c+1) sqrt(2 pi K'') times below that. */
const aliasGap = ({ tilt, moments, tolerance }: Crossing) => {
  const width = Math.sqrt(TWO_PI * (moments.variance + 1 / tilt / tilt + 1 / (tilt + 1) / (tilt + 1)))
  return CANCEL_MAX + 3 - log(tolerance) + Math.max(0, log(tilt * (tilt + 1) * width))
}

/** Factors between neighbouring distances of the search; the least period is missed by a few percent. */
const SPREAD = [0.02, 0.05, 0.1, 0.17, 0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 3, 5, 8]

/** Least over distances d of (K(c + sign d) - K(c) + gap)/d - sign eps: Chernoff's bound on an alias. */
const leastPeriod = (
  valueAt: (order: number) => number,
  { tilt, epsilon, moments, gap }: Crossing & { gap: number },
  side: { sign: 1 | -1; distances: readonly number[] },
) => {
  let least = Number.POSITIVE_INFINITY
  for (const distance of side.distances) {
    const there = valueAt(tilt + side.sign * distance)
    least = Math.min(least, (there - moments.value + gap) / distance - side.sign * epsilon)
  }
  return least
}

/** Period from Chernoff bounds on both sides, or null where there is none. */
const periodOf = (loss: TotalLoss, crossing: Crossing): Period | null => {
  const { tilt, moments } = crossing
  const gap = aliasGap(crossing)
  const valueAt = countingMoments(loss, tilt, exp(-gap))
  if (valueAt === null) return null
  const natural = Math.sqrt((2 * gap) / moments.variance)
  const distances = SPREAD.map((factor) => factor * natural)
  const within = [...SPREAD.filter((factor) => factor < 1).map((factor) => factor * tilt), tilt]
  const at = { ...crossing, gap }
  const right = leastPeriod(valueAt, at, { sign: 1, distances })
  const left = leastPeriod(valueAt, at, { sign: -1, distances: within })
  const beyond = distances.map((distance) => tilt + 1 + distance)
  const folded = tilt < 3 ? leastPeriod(valueAt, at, { sign: -1, distances: beyond }) : Number.POSITIVE_INFINITY
  const length = Math.max(right, Math.min(left, folded), 4 / (tilt + 1))
  return Number.isFinite(length) ? { length, folded: length < left } : null
}

/** Tilts tried, as shares of the saddle's; with many components their search would cost more than it saves. */
const SHARES = [1, 0.85, 0.72, 0.6, 0.5]
const COMPONENTS_MANY = 8

const exponentAt = ({ tilt, epsilon, moments }: Crossing) => moments.value - tilt * epsilon - log(tilt) - log(tilt + 1)

/**
 * The crossing with the shortest period, from the saddle downwards. Where few units are sampled, rare and large losses
 * begin to weigh just at the saddle; a little to its left they are gone, and the period shrinks from theirs to that of
 * the peak near epsilon.
 */
export const bestCrossing = (loss: TotalLoss, saddle: Crossing): { crossing: Crossing; period: Period } | null => {
  let best: { crossing: Crossing; period: Period } | null = null
  const limit = exponentAt(saddle) + CANCEL_MAX
  const shares = loss.components.length > COMPONENTS_MANY ? SHARES.slice(0, 2) : SHARES
  for (const share of shares) {
    const tilt = saddle.tilt * share
    const moments = momentsAt(loss, tilt)
    if (moments === null) return best
    const crossing = { ...saddle, tilt, moments }
    if (exponentAt(crossing) > limit) return best
    const period = periodOf(loss, crossing)
    if (period !== null && (best === null || period.length < best.period.length)) best = { crossing, period }
  }
  return best
}

/**
 * The sum of the aliases with k < 0, where delta = (1 - held) - e^(eps + k Period) (1 - weighed): `held` and `weighed` are
 * E_P 1 and E_P e^-L over the part set aside.
 */
export const foldedAliases = (
  { length }: Period,
  { tilt, epsilon }: { tilt: number; epsilon: number },
  [held, weighed]: readonly [number, number],
): number => {
  const one = exp(-tilt * length)
  const two = exp(-(tilt + 1) * length)
  return ((1 - weighed) * two * exp(epsilon)) / (1 + two) - ((1 - held) * one) / (1 + one)
}
