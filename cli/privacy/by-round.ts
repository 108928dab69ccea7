import { releasedBy, rising } from '../../shared/privacy/index.ts'
import { RunError } from '../failure.ts'
import { roundedUp } from '../output.ts'
import { startProgress } from '../progress.ts'
import type { Plot, Point } from './plot.ts'
import { headline, historyOf, type Schedule, type Spend, spendOf } from './schedule.ts'

/** What a schedule has cost once `round` of its rounds are released. */
export interface CurvePoint extends Spend {
  readonly round: number
}

export interface Curve {
  readonly points: readonly CurvePoint[]
  readonly delta: number
  readonly neighbours: Schedule['neighbours']
  /** Rounds after which a stage ends, the last one included. */
  readonly stageEnds: readonly number[]
}

/** Rounds released when each stage ends; a stage without rounds ends nowhere. */
export const stageEndsOf = (stages: Schedule['stages']): number[] => {
  let total = 0
  return stages.filter(({ rounds }) => rounds > 0).map(({ rounds }) => (total += rounds))
}

/**
 * At most `limit` rounds, spread evenly up to the last, which is among them. The ends of stages are too, where they
 * leave room for others.
 */
export const roundsShown = (stageEnds: readonly number[], limit: number): number[] => {
  const total = stageEnds.at(-1) ?? 0
  const even = (count: number) => Array.from({ length: count }, (_, i) => Math.ceil(((i + 1) * total) / count))
  const inner = stageEnds.slice(0, -1)
  const kept = inner.length < limit / 2 ? inner : []
  const all = new Set([...even(Math.min(limit - kept.length, total)), ...kept])
  return [...all].sort((a, b) => a - b)
}

/** @throws PrivacyError for what the accountant refuses */
export const curveOf = (schedule: Schedule, limit: number): Curve => {
  const { stages, delta, neighbours } = schedule
  const history = historyOf(stages, neighbours)
  const stageEnds = stageEndsOf(stages)
  const rounds = roundsShown(stageEnds, limit)
  const progress = startProgress(rounds.length)
  const points = rounds.map((round) => {
    const spent = spendOf(releasedBy(history, round), delta)
    progress.step()
    return { round, ...spent }
  })
  progress.done()
  return { points: rising(points), delta, neighbours, stageEnds }
}

/** @throws RunError where there is no round, or no epsilon is finite */
export const plotOfCurve = ({ points, stageEnds }: Curve, schedule: Schedule): Plot => {
  if (points.length === 0) throw new RunError('the schedule has no round to draw')
  const certified = points.filter(({ epsilon }) => Number.isFinite(epsilon))
  const renyi = points.filter(({ rdp }) => Number.isFinite(rdp))
  if (certified.length === 0 || renyi.length === 0) throw new RunError('there is no finite epsilon to draw')
  const [last, lastRenyi] = [certified.at(-1)!, renyi.at(-1)!]
  const upper = certified.map(({ round, epsilon }): Point => [round, epsilon])
  return {
    title: 'Privacy spent, round by round',
    subtitle: headline(schedule),
    x: { title: 'rounds released', from: 0, to: stageEnds.at(-1)!, whole: true },
    y: { title: 'epsilon', from: 0, to: Math.max(last.epsilon, lastRenyi.rdp), logarithmic: false },
    lines: [
      {
        kind: 'certified',
        name: 'certified bound',
        value: `ε ≤ ${roundedUp(last.epsilon)}`,
        points: upper,
        low: certified.map(({ lower }) => lower),
      },
      {
        kind: 'rdp',
        name: 'Renyi bound',
        value: `ε ≤ ${roundedUp(lastRenyi.rdp)}`,
        points: renyi.map(({ round, rdp }): Point => [round, rdp]),
      },
    ],
    marks: stageEnds.slice(0, -1).map((at, i) => ({ at, text: `stage ${i + 2}` })),
  }
}
