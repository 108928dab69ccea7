import { type RunSpec, stageEvent } from '../../../shared/api/index.ts'
import type { EventCount } from '../../../shared/privacy/index.ts'

export interface SpendQuestion {
  readonly spec: Pick<RunSpec, 'stages' | 'noise' | 'budget'>
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
