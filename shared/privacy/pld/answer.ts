import { exp, expm1, log } from '../elementary.ts'
import type { ComposedLoss } from './compose.ts'

/**
 * Questions to one composed loss, in one direction. Masses are scaled by exp(-logMass) and losses taken from the centre,
 * so that no delta of interest leaves the doubles:
 * delta(eps) / e^logMass = sum_l t_l e^(-tilt l) (1 - e^(eps - l))_+, l from the centre.
 */

/** Largest value of e^(-tilt x) (1 - e^-x) over x > 0, at most 1: what one unit of tilted mass can add to delta. */
const weightMax = (tilt: number): number => exp(tilt * log(tilt / (1 + tilt))) / (1 + tilt)

/** The part of delta that upper bounds owe to what lies above the window or at infinity. */
const owed = (loss: ComposedLoss): number => {
  const top = loss.start + loss.upper.length * loss.step - loss.centre
  const missed = loss.outside.above > 0 ? loss.outside.above * exp(-loss.tilt * top) : 0
  return missed + (loss.infinite > 0 ? exp(log(loss.infinite) - loss.logMass) : 0)
}

/** What wrapped-around mass may have added to delta at losses from `from` on, for lower bounds to give back. */
const borrowing = ({ outside, tilt }: ComposedLoss) => {
  const most = (outside.below + outside.above) * weightMax(tilt)
  return function borrowed(from: number): number {
    return most > 0 ? most * exp(-tilt * from) : 0
  }
}

/** An answer with the steepness -d log delta / d eps there, the best tilt for asking again. */
export interface Answer {
  readonly value: number
  readonly slope: number
}

/** The walk ends where tilt * loss falls below this: masses would leave the doubles. */
const DEPTH_MAX = 700

/**
 * The epsilon at which the delta of one side falls to `delta`, walking down from the largest loss.
 * @returns `value`, or null where delta stays below the wanted one, and the loss at which the walk ended
 */
const epsilonAt = (
  loss: ComposedLoss,
  masses: Float64Array,
  { target, credit }: { target: number; credit: (from: number) => number },
): { value: number | null; slope: number; end: number } => {
  const { step, start, centre, tilt } = loss
  const last = Math.max(0, Math.ceil((centre - start - DEPTH_MAX / tilt) / step))
  const shrink = exp(-step)
  // Mass above, and the same times e^-(its distance to the present loss).
  let [above, weighted] = [0, 0]
  for (let i = masses.length - 1; i >= last; i--) {
    const here = start + i * step - centre
    const mass = masses[i]! * exp(-tilt * here)
    above += mass
    weighted = weighted * shrink + mass
    const wanted = target + credit(here - step)
    if (!(above - wanted >= weighted * shrink)) continue
    return {
      value: here + centre + log((above - wanted) / weighted),
      slope: (above - wanted) / target,
      end: start + i * step,
    }
  }
  return { value: null, slope: tilt, end: start + last * step }
}

/** Upper bound of the epsilon (may be negative) at which delta is reached; Infinity where the lattice can not tell. */
export const epsilonAbove = (loss: ComposedLoss, delta: number): Answer => {
  const target = exp(log(delta) - loss.logMass) * (1 - loss.relative) - owed(loss)
  if (!(target > 0)) return { value: Number.POSITIVE_INFINITY, slope: loss.tilt }
  const { value, slope, end } = epsilonAt(loss, loss.upper, { target, credit: () => 0 })
  return { value: (value ?? end) + loss.shift, slope }
}

/** Lower bound of the epsilon at which delta is reached; -Infinity where the lattice can not tell. */
export const epsilonBelow = (loss: ComposedLoss, delta: number): number => {
  const target = exp(log(delta) - loss.logMass) * (1 + loss.relative)
  const { value } = epsilonAt(loss, loss.lower, { target, credit: borrowing(loss) })
  return (value ?? Number.NEGATIVE_INFINITY) - loss.shift
}

/** delta of one side at an epsilon, over e^logMass, and its steepness; `whole` unless the walk ended before. */
const deltaAt = (loss: ComposedLoss, masses: Float64Array, epsilon: number): Answer & { whole: boolean } => {
  const { step, start, centre, tilt } = loss
  const deepest = centre - DEPTH_MAX / tilt
  let [value, falling] = [0, 0]
  for (let i = masses.length - 1; i >= 0; i--) {
    const here = start + i * step
    if (here <= epsilon) break
    if (here <= deepest) return { value, slope: tilt, whole: false }
    if (masses[i] === 0) continue
    const mass = masses[i]! * exp(-tilt * (here - centre))
    value += mass * -expm1(epsilon - here)
    falling += mass * exp(epsilon - here)
  }
  return { value, slope: value > 0 ? falling / value : tilt, whole: true }
}

/** A mass times e^logMass, neither of which needs to be a double beside the other. */
const scaled = (mass: number, { logMass }: ComposedLoss) => (mass > 0 ? exp(log(mass) + logMass) : 0)

/** Upper bound of delta at an epsilon. */
export const deltaAbove = (loss: ComposedLoss, epsilon: number): Answer => {
  const from = epsilon - loss.shift
  const { value, slope, whole } = deltaAt(loss, loss.upper, from)
  if (!whole) return { value: 1, slope }
  const missed = from < loss.start ? borrowing(loss)(from - loss.centre) : 0
  const bound = scaled((value + missed + owed(loss)) * (1 + loss.relative), loss)
  return { value: Math.min(1, bound), slope }
}

/** Lower bound of delta at an epsilon. */
export const deltaBelow = (loss: ComposedLoss, epsilon: number): number => {
  const { value } = deltaAt(loss, loss.lower, epsilon + loss.shift)
  const kept = value - borrowing(loss)(epsilon + loss.shift - loss.centre)
  return scaled(Math.max(0, kept * (1 - loss.relative)), loss)
}
