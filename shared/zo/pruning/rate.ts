import { PruningError } from './error.ts'
import { requireKeep } from './keep.ts'

/** Keep rates that change from stage to stage (incremental pruning). */
export interface KeepSchedule {
  readonly start: number
  readonly end: number
  /** S: stages of the run; one alone keeps `start`. */
  readonly stages: number
  readonly growth: 'geometric' | 'linear'
}

const DIGITS = 6

/**
 * Keep rate of a stage, counted from 0: `start` at the first, `end` at the last. Between them it is cut to six digits: roots
 * differ in their last bits from platform to platform, and a rate is written into a spec.
 * @example keepRateAt({ start: 0.01, end: 0.04, stages: 3, growth: 'geometric' }, 1) // 0.02
 * @throws PruningError `keep_out_of_range`, `stage_out_of_range`
 */
export function keepRateAt({ start, end, stages, growth }: KeepSchedule, stage: number): number {
  requireKeep(start)
  requireKeep(end)
  if (!(Number.isInteger(stages) && Number.isInteger(stage) && stage >= 0 && stage < stages))
    throw new PruningError('stage_out_of_range', 'stages count from 0 and end before their number')
  if (stage === 0) return start
  if (stage === stages - 1) return end
  const part = stage / (stages - 1)
  const rate = growth === 'linear' ? start + (end - start) * part : start * (end / start) ** part
  return Number(rate.toPrecision(DIGITS))
}
