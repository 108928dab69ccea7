import { envelopeOf, type RunSpec, scheduleOf, stageEvent } from '../../../shared/api/index.ts'
import { canonicalEvent, type EventCount } from '../../../shared/privacy/event.ts'
import { stageOf, totalRounds } from '../../../shared/zo/schedule.ts'

export interface SpendQuestion {
  readonly spec: Pick<RunSpec, 'stages' | 'noise' | 'budget' | 'spareCharges'>
  /** Rounds that were opened. */
  readonly opened: number
  /** Rounds in which this dataset was charged beyond the first time, once for each. */
  readonly recharged: readonly number[]
}

/**
 * What one dataset is charged by the end of so many rounds: one release each, and those of leases that were issued again. Beyond
 * the opened rounds it is a forecast: that no more leases are lost.
 */
export function eventsAt({ spec, recharged }: SpendQuestion, rounds: number): EventCount[] {
  let first = 0
  return spec.stages.flatMap((stage) => {
    const [begin, end] = [first, Math.min(rounds, first + stage.rounds)]
    first += stage.rounds
    const again = recharged.filter((round) => round >= begin && round < end).length
    const own = Math.max(0, end - begin) + again
    return own > 0 ? [{ event: stageEvent(spec, stage), count: own }] : []
  })
}

/**
 * Spare charges that a dataset has left for the mechanism of a round: each mechanism of a run has its own, and a lost lease draws on
 * those of its round.
 */
export function sparesLeft({ spec, recharged }: SpendQuestion, round: number): { left: number; of: number } {
  const last = totalRounds(spec.stages) - 1
  const keyAt = (at: number) => canonicalEvent(stageEvent(spec, stageOf(spec.stages, Math.min(at, last)).stage))
  const own = keyAt(round)
  const most = envelopeOf(spec).find(({ event }) => canonicalEvent(event) === own)!.count
  const planned = scheduleOf(spec).reduce(
    (sum, { event, count }) => (canonicalEvent(event) === own ? sum + count : sum),
    0,
  )
  const used = recharged.filter((at) => keyAt(at) === own).length
  return { left: Math.max(0, most - planned - used), of: most - planned }
}
