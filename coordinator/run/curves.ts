import type { Curves, RunSpec } from '../../shared/api/index.ts'
import { lossDeviation, type RunRecord } from '../../shared/ledger/index.ts'
import { stageOf } from '../../shared/zo/index.ts'
import { signalToNoise } from './progress.ts'
import type { RunStore } from './store.ts'
import { recordsFrom } from './trainer.ts'
import type { RunView } from './view.ts'

type Close = Extract<RunRecord, { type: 'close' }>

/** Closed rounds from one on, in columns. Only their part of the log is read. */
export function curvesOf(store: RunStore, view: RunView, { after, limit }: { after: number; limit: number }): Curves {
  const last = Math.min(after + limit, view.closed)
  const columns = emptyColumns(after, last < view.closed ? last : null)
  if (after > 0 && after >= view.closed) return columns
  const until = last < view.closed ? view.opened[last]! : Number.POSITIVE_INFINITY
  const units = new Map(view.spec.datasets.map((dataset) => [dataset.id, dataset.units]))
  let lost = 0
  for (const record of recordsFrom(store, after === 0 ? 0 : view.opened[after]!)) {
    if (record.seq >= until) break
    if (record.type === 'open') lost = 0
    if (record.type === 'void') lost += 1
    if (record.type === 'charge' && record.attempt > 0)
      columns.recharged.push({ round: record.round, dataset: record.dataset })
    if (record.type === 'close') pushClose(columns, record, { spec: view.spec, units, lost })
    if (record.type === 'evaluation' && record.answer) {
      const { records, correct, loss } = record.answer.report
      columns.evaluations.push({ round: record.round, records, correct, loss })
    }
  }
  return columns
}

interface Around {
  readonly spec: RunSpec
  /** Declared units by dataset. */
  readonly units: ReadonlyMap<string, number>
  /** Leases of the round that were lost. */
  readonly lost: number
}

function pushClose(columns: Curves, close: Close, of: Around): void {
  const { spec, lost } = of
  const { stage } = stageOf(spec.stages, close.round)
  const units = close.reports.map(({ dataset }) => of.units.get(dataset)!)
  const { privateLoss = null } = close
  columns.closed.push(close.time)
  columns.reports.push(close.reports.length)
  columns.lost.push(lost)
  columns.privateLoss.push(privateLoss)
  columns.lossDeviation.push(privateLoss === null ? null : lossDeviation(spec, stage, units))
  columns.clippedShare.push(close.clippedShare ?? null)
  columns.signalToNoise.push(signalToNoise(spec, close))
}

function emptyColumns(first: number, next: number | null): Curves {
  const loss = { privateLoss: [], lossDeviation: [], clippedShare: [], signalToNoise: [] }
  return { first, next, closed: [], reports: [], lost: [], recharged: [], ...loss, evaluations: [] }
}
