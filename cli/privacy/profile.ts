import { deltaBounds, epsilonBounds } from '../../shared/privacy/index.ts'
import { RunError } from '../failure.ts'
import { chance, roundedUp } from '../output.ts'
import { startProgress } from '../progress.ts'
import type { Plot, Point } from './plot.ts'
import { headline, historyOf, type Schedule } from './schedule.ts'

/** The chance left at one epsilon: certified bounds of the exact delta. */
export interface ProfilePoint {
  readonly epsilon: number
  readonly delta: number
  readonly lower: number
}

/** The privacy profile of a whole schedule: delta as a function of epsilon. */
export interface Profile {
  readonly points: readonly ProfilePoint[]
  readonly delta: number
  /** Certified upper bound of epsilon at the schedule's own delta. */
  readonly epsilon: number
  readonly neighbours: Schedule['neighbours']
}

/** The profile is followed down to this share of the schedule's own delta. */
const DELTA_SHARE = 1e-3

/**
 * @param count points, evenly spaced in epsilon from 0
 * @throws PrivacyError for what the accountant refuses; RunError where no epsilon is finite
 */
export const profileOf = ({ stages, delta, neighbours }: Schedule, count: number): Profile => {
  const history = historyOf(stages, neighbours)
  const { epsilon } = epsilonBounds(history, delta)
  const end = epsilonBounds(history, delta * DELTA_SHARE).epsilon
  if (!Number.isFinite(end)) throw new RunError('there is no finite epsilon at this delta')
  const progress = startProgress(count)
  const points = Array.from({ length: count }, (_, i) => {
    const at = count === 1 ? end : (end * i) / (count - 1)
    const bounds = deltaBounds(history, at)
    progress.step()
    return { epsilon: at, delta: bounds.delta, lower: bounds.lower }
  })
  progress.done()
  return { points, delta, epsilon, neighbours }
}

/** @throws RunError where there is nothing above 0 to draw */
export const plotOfProfile = ({ points, delta, epsilon }: Profile, schedule: Schedule): Plot => {
  const drawn = points.filter((point) => point.delta > 0)
  if (drawn.length === 0) throw new RunError('delta is 0 at every epsilon: there is nothing to draw')
  const last = drawn.at(-1)!
  const floor = Math.min(last.delta, delta)
  return {
    title: 'Privacy profile of the whole schedule',
    subtitle: headline(schedule),
    x: { title: 'epsilon', from: 0, to: points.at(-1)!.epsilon, whole: false },
    y: { title: 'delta', from: floor, to: Math.max(...drawn.map((point) => point.delta)), logarithmic: true },
    lines: [
      {
        kind: 'certified',
        name: 'certified bound',
        value: `δ ≤ ${roundedUp(last.delta)}`,
        points: drawn.map((point): Point => [point.epsilon, point.delta]),
        low: drawn.map((point) => Math.max(point.lower, floor)),
      },
    ],
    marks: [{ at: epsilon, text: `δ = ${chance(delta)}` }],
  }
}
