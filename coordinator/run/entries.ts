import type { RunSpec, UnsignedLease } from '../../shared/api/index.ts'
import type { RunEntry } from '../../shared/ledger/index.ts'
import { replayStart, stateHash } from '../../shared/zo/index.ts'
import type { Refusal } from './budget.ts'
import type { Hold } from './store.ts'
import type { RunView, Slot } from './view.ts'

/** Records that go into the log as one segment, with the reason where they end the run. */
export interface Segmented {
  readonly entries: RunEntry[]
  readonly reason?: string
}

export function leaseAnswer(view: RunView, slot: Slot, hold: Hold): UnsignedLease {
  const { size, hash } = view.head
  return {
    kind: 'round',
    id: slot.lease,
    run: view.id,
    specHash: view.specHash,
    dataset: slot.dataset,
    round: view.open!.round,
    attempt: slot.attempt,
    event: slot.event,
    expires: hold.expires,
    head: { size, hash },
  }
}

const startHashes = new WeakMap<RunSpec, string>()

/** Hash of the state that the open round starts from. */
export function currentHash({ stateHash: last, spec }: RunView): string {
  const hash = last ?? startHashes.get(spec) ?? stateHash(replayStart(spec).state)
  if (last === null) startHashes.set(spec, hash)
  return hash
}

export function endEntry(
  view: RunView,
  outcome: 'completed' | 'cancelled' | 'failed',
): Extract<RunEntry, { type: 'end' }> {
  return { type: 'end', outcome, stateHash: currentHash(view), adapter: null }
}

/** What a refusal makes of a run: a pause where an owner froze a dataset, else the end. */
export function refused({ reason, frozen }: Refusal, hash: string): Segmented {
  if (frozen !== undefined) return { entries: [{ type: 'pause', frozen }] }
  return { entries: [{ type: 'end', outcome: 'budget_exhausted', stateHash: hash, adapter: null }], reason }
}

/** The end of a run whose next update would leave the finite numbers; its state stays the last good one. */
export function diverged(view: RunView): Segmented {
  const reason = `state_not_finite: the update of round ${view.closed} leads to a state that is not finite`
  return { entries: [endEntry(view, 'failed')], reason }
}

export function voidEntry(view: RunView) {
  return ({ dataset, lease }: Slot): RunEntry => {
    return { type: 'void', round: view.open!.round, dataset, lease, reason: 'lease_lost' }
  }
}
