import type { PublicReport, UnsignedLease } from '../../shared/api/index.ts'
import { awaitedWork, type PublicWork, type RunEntry } from '../../shared/ledger/index.ts'
import type { WorkerCaller } from './ports.ts'
import type { Hold, RunStore } from './store.ts'
import type { RunView } from './view.ts'

/** Public work as it is offered: to any worker of the run, and to another where one did not answer in its time. */
export interface Offer {
  readonly work: PublicWork
  readonly attempt: number
  /** Null where nobody has it. */
  readonly hold: Hold | null
}

/** An evaluation that so many workers did not answer is left out. A mask is not: there is no next round without it. */
const MOST_ATTEMPTS = 3

/** Names say what they are leases of, as those of rounds do. */
function publicLeaseId(run: string, work: PublicWork, attempt: number): string {
  return `${run}-${work.kind === 'evaluation' ? `e${work.round}` : `m${work.stage}`}-a${attempt}`
}

/** What a run offers between two rounds: the newest attempt. */
export function readOffer(store: RunStore, view: RunView): Offer | null {
  const work = view.open || view.end || view.paused ? null : awaitedWork(view)
  if (!work) return null
  let last: Offer = { work, attempt: 0, hold: null }
  for (let attempt = 0; ; attempt++) {
    const hold = store.holdOf(publicLeaseId(view.id, work, attempt))
    if (!hold) return last
    last = { work, attempt, hold }
  }
}

/** Whether the one who has it may still answer in time. */
export const isHeld = ({ hold }: Offer, now: number): boolean => hold !== null && hold.expires > now

/** Whether nobody answered often enough to go on without. */
export function isGivenUp(offer: Offer, now: number): boolean {
  const isLast = offer.work.kind === 'evaluation' && offer.attempt + 1 >= MOST_ATTEMPTS
  return isLast && offer.hold !== null && !isHeld(offer, now)
}

/** The offer in the hands of a worker, where nobody has it now. */
export function takenBy(offer: Offer, view: RunView, taken: Omit<Hold, 'lease'>): Offer & { hold: Hold } {
  const attempt = offer.hold ? offer.attempt + 1 : offer.attempt
  return { work: offer.work, attempt, hold: { lease: publicLeaseId(view.id, offer.work, attempt), ...taken } }
}

export function publicLease(
  view: RunView,
  { work, attempt, hold }: Offer & { hold: Hold },
  dataset: string,
): UnsignedLease {
  const { size, hash } = view.head
  const shared = { id: hold.lease, run: view.id, specHash: view.specHash, dataset, attempt, expires: hold.expires }
  return { ...work, ...shared, head: { size, hash } }
}

/** The lease of public work in the hands of a worker; null where it has none, or its time is over. */
export function heldBy(
  offer: Offer,
  view: RunView,
  { worker, now }: { worker: WorkerCaller; now: number },
): UnsignedLease | null {
  const { hold } = offer
  if (hold?.worker !== worker.id || !isHeld(offer, now)) return null
  return publicLease(view, { ...offer, hold }, worker.dataset)
}

/** Whether a lease is one of those that the work was ever offered under. */
export function isLeaseFor(view: RunView, { work, attempt }: Offer, lease: string): boolean {
  return Array.from({ length: attempt + 1 }, (_, n) => publicLeaseId(view.id, work, n)).includes(lease)
}

/** Whether a name is that of a lease for public work of this run. */
export function isPublicLease(view: RunView, lease: string): boolean {
  return lease.startsWith(`${view.id}-`) && /^[em]\d{1,8}-a\d{1,6}$/.test(lease.slice(view.id.length + 1))
}

/** The record of what a worker said. */
export function answerEntry(by: { worker: string; publicKey: string }, report: PublicReport): RunEntry {
  if (report.kind === 'mask') return { type: 'mask', stage: report.stage, answer: { ...by, report } }
  return { type: 'evaluation', round: report.round, answer: { ...by, report } }
}

/** The record of an evaluation that nobody made. */
export function missedEntry({ work }: Offer): RunEntry {
  return { type: 'evaluation', round: work.round, answer: null }
}
