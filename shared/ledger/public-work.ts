import type { PublicReport } from '../api/lease.ts'
import { isEvaluated, type RunSpec } from '../api/spec.ts'
import { stageOf, totalRounds, wantsMask, withMask } from '../zo/schedule.ts'
import type { RunRecord } from './record.ts'

/** Work between two rounds that no private data are read for, and that the next round waits for. */
export type PublicWork =
  | { readonly kind: 'evaluation'; readonly round: number }
  | { readonly kind: 'mask'; readonly round: number; readonly stage: number }

/** Where a run stands between two rounds. */
export interface Standing {
  /** The spec with the masks that are made so far. */
  readonly resolved: RunSpec
  readonly closed: number
  /** Closed rounds at the newest evaluation. */
  readonly evaluated: number | null
}

/** What a run waits for before its next round, or its end: an evaluation first, then the mask of a stage. */
export function awaitedWork({ resolved, closed, evaluated }: Standing): PublicWork | null {
  if (isEvaluated(resolved, closed) && evaluated !== closed) return { kind: 'evaluation', round: closed }
  if (closed === totalRounds(resolved.stages)) return null
  const { index } = stageOf(resolved.stages, closed)
  return wantsMask(resolved, index) ? { kind: 'mask', round: closed, stage: index } : null
}

/** Whether a report can be the answer to some work. @param stateHash of the model as the closed rounds leave it. */
export function isAnswer(
  spec: RunSpec,
  { work, stateHash }: { work: PublicWork; stateHash: string },
  report: PublicReport,
): boolean {
  if (report.round !== work.round || report.stateHash !== stateHash) return false
  if (report.kind === 'evaluation') {
    const { correct, records } = report
    const hasLabels = spec.task.kind !== 'causal-lm'
    return work.kind === 'evaluation' && (correct !== null) === hasLabels && (correct ?? 0) <= records
  }
  if (work.kind !== 'mask' || report.stage !== work.stage) return false
  const { score, queries } = spec.stages[work.stage]!.prune!
  const wanted = score === 'forward' ? queries : undefined
  const hasSlopes = report.slopes?.first.length === wanted && report.slopes?.second.length === wanted
  return hasSlopes && isMaskOf(spec, work.stage, report)
}

function isMaskOf(spec: RunSpec, stage: number, report: Extract<PublicReport, { kind: 'mask' }>): boolean {
  try {
    withMask(spec, stage, report)
    return true
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}

/** A spec that knows the masks which some records say. Everything that is replayed is replayed by it. */
export function resolvedSpec(spec: RunSpec, records: Iterable<RunRecord>): RunSpec {
  let resolved = spec
  for (const record of records)
    if (record.type === 'mask') resolved = withMask(resolved, record.stage, record.answer.report)
  return resolved
}
