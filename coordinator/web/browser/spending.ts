import { envelopeOf, type RunSpec, scheduleOf, stageEvent } from '../../../shared/api/index.ts'
import type { EventCount } from '../../../shared/privacy/index.ts'

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
  const stageAt = (at: number) => {
    let first = 0
    for (const stage of spec.stages) {
      first += stage.rounds
      if (at < first) return stage
    }
    return spec.stages.at(-1)!
  }
  const keyOf = (event: object) => JSON.stringify(event)
  const own = keyOf(stageEvent(spec, stageAt(round)))
  const most = envelopeOf(spec).find(({ event }) => keyOf(event) === own)!.count
  const planned = scheduleOf(spec).reduce((sum, { event, count }) => (keyOf(event) === own ? sum + count : sum), 0)
  const used = recharged.filter((at) => keyOf(stageEvent(spec, stageAt(at))) === own).length
  return { left: Math.max(0, most - planned - used), of: most - planned }
}
