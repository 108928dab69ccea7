import { PrivacyError } from './error.ts'
import { type EventCount, validateCount } from './event.ts'
import { type EpsilonBounds, epsilonBounds } from './pld/bounds.ts'

/** A point of the spend over a schedule's rounds: the certified interval once `round` rounds are released. */
export interface SpendPoint extends EpsilonBounds {
  readonly round: number
}

/** The releases of the first `rounds` rounds of a schedule. */
export const releasedBy = (stages: readonly EventCount[], rounds: number): EventCount[] => {
  let left = rounds
  return stages.flatMap(({ event, count }) => {
    const taken = Math.min(count, left)
    left -= taken
    return taken > 0 ? [{ event, count: taken }] : []
  })
}

/** More rounds cost no less: what bounds a later point from above bounds the earlier ones too, and so from below. */
export const rising = <Point extends EpsilonBounds>(points: readonly Point[]): Point[] => {
  const epsilons = points.map(({ epsilon }) => epsilon)
  const lowers = points.map(({ lower }) => lower)
  for (let i = points.length - 2; i >= 0; i--) epsilons[i] = Math.min(epsilons[i]!, epsilons[i + 1]!)
  for (let i = 1; i < points.length; i++) lowers[i] = Math.max(lowers[i]!, lowers[i - 1]!)
  return points.map((point, i) => ({ ...point, epsilon: epsilons[i]!, lower: lowers[i]! }))
}

/**
 * The spend after evenly spaced rounds of a schedule fixed beforehand, the last at the last round. Neither bound falls
 * from one point to the next.
 * @param points at most so many; fewer where there are fewer rounds
 * @throws PrivacyError `invalid_event`, `invalid_count`, `invalid_delta`, `invalid_stages`, `mixed_neighbours`
 */
export const spendCurve = (stages: readonly EventCount[], delta: number, points = 50): SpendPoint[] => {
  if (!Number.isSafeInteger(points) || points < 1) {
    throw new PrivacyError('invalid_stages', 'points must be a whole number above 0')
  }
  const rounds = stages.reduce((sum, { count }) => sum + validateCount(count), 0)
  const number = Math.min(rounds, points)
  const curve = Array.from({ length: number }, (_, i) => {
    const round = Math.round(((i + 1) * rounds) / number)
    return { round, ...epsilonBounds(releasedBy(stages, round), delta) }
  })
  return rising(curve)
}
