import { jobOf, type Run as RunAnswer } from '../../shared/api/index.ts'
import { totalRounds } from '../../shared/zo/index.ts'
import { isHeld } from './public.ts'
import type { RoundFacts } from './round.ts'
import type { Fault, Traffic } from './store.ts'
import type { RunView, Slot } from './view.ts'

export type RunState = RunAnswer['state']
/** A run as the API tells it, but for the signed URL of its adapter. */
export type RunFacts = Omit<RunAnswer, 'adapter'> & { adapter: Omit<NonNullable<RunAnswer['adapter']>, 'url'> | null }

const REASONS = {
  log_conflict: 'log_conflict: the object store holds another segment under a key of this log',
  ledger_behind_log: 'ledger_behind_log: the object store holds more of this log than the coordinator knows',
  log_broken: 'log_broken: the log in the database of the coordinator does not verify',
  replay_mismatch: 'replay_mismatch: the log leads to another state than it says',
} as const

/** A log that may not go on has failed, whatever its last record says. */
export function stateOf({ view, fault }: { view: RunView; fault: Fault | null }): RunState {
  if (view.end) return view.end.outcome
  if (fault) return 'failed'
  return view.paused ? 'paused' : 'running'
}

/** Datasets of which a worker that asks now would get a lease. */
function wantedOf({ view, fault, reports, holds, offer, now }: RoundFacts & { fault: Fault | null }): string[] {
  if (fault || view.end) return []
  if (offer) return isHeld(offer, now) ? [] : view.spec.datasets.map(({ id }) => id)
  const isWanted = ({ dataset, lease, lost }: Slot) => !reports.has(dataset) && (lost || !holds.has(lease))
  return [...(view.open?.slots.values() ?? [])].filter(isWanted).map(({ dataset }) => dataset)
}

export function describeRun(facts: {
  round: RoundFacts
  view: RunView
  fault: Fault | null
  reason: string | null
  traffic: ReadonlyMap<string, Traffic>
}): RunFacts {
  const { view, fault, traffic } = facts
  const { losses, clipped, signals } = view
  return {
    id: view.id,
    specHash: view.specHash,
    job: jobOf(view.spec),
    spec: view.spec,
    state: stateOf(facts),
    reason: reasonOf(facts),
    history: view.history,
    created: view.created,
    round: view.open?.round ?? view.closed,
    rounds: totalRounds(view.spec.stages),
    privateLoss: meanOf(losses),
    clippedShare: meanOf(clipped),
    signalToNoise: meanOf(signals),
    spent: [...view.accounts].map(([dataset, { epsilon, charges }]) => ({
      dataset,
      epsilon,
      charges,
      ...(traffic.get(dataset) ?? { reports: 0, bytes: 0, seconds: 0 }),
    })),
    wanted: wantedOf({ ...facts.round, fault }),
    evaluation: view.evaluation,
    stateHash: view.stateHash,
    head: { size: view.head.size, hash: view.head.hash },
    adapter: fault && !view.end ? null : (view.end?.adapter ?? null),
  }
}

const meanOf = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length

function reasonOf({
  view,
  fault,
  reason,
}: {
  view: RunView
  fault: Fault | null
  reason: string | null
}): string | null {
  if (!view.end && !fault && view.paused?.frozen) return `dataset ${view.paused.frozen} is frozen by its owner`
  if (!view.end) return fault && REASONS[fault]
  const { outcome } = view.end
  if (outcome === 'budget_exhausted') return reason ?? 'a budget is exhausted'
  return outcome === 'failed' ? (reason ?? 'the run failed') : null
}
