import { type RunSpec, stageEvent } from '../../shared/api/index.ts'
import { type RunEntry, toldOf } from '../../shared/ledger/index.ts'
import {
  advance,
  coefficients,
  ReplayError,
  type ReplayPoint,
  reportLength,
  stageOf,
  stateHash,
  totalRounds,
} from '../../shared/zo/index.ts'
import { isGivenUp, isHeld, type Offer } from './public.ts'
import { reachOf, reportReach } from './reach.ts'
import type { Hold, StoredReport } from './store.ts'
import type { OpenRound, RunView, Slot } from './view.ts'

/** What a run does next of its own accord. */
export type Step =
  | { readonly kind: 'open' }
  | { readonly kind: 'close' }
  | { readonly kind: 'void'; readonly slots: readonly Slot[] }
  /** An evaluation that nobody made is left out. */
  | { readonly kind: 'pass'; readonly offer: Offer }
  | { readonly kind: 'finish' }

export interface RoundFacts {
  readonly view: RunView
  /** Reports of the open round, by dataset. */
  readonly reports: ReadonlyMap<string, StoredReport>
  /** Who holds the leases of the open round, by lease. */
  readonly holds: ReadonlyMap<string, Hold>
  /** Public work that the next round waits for. */
  readonly offer: Offer | null
  readonly now: number
}

/** One round on one screen: open, wait for reports, void what was lost, close, wait for public work; after the last, finish. */
export function nextStep({ view, reports, holds, offer, now }: RoundFacts): Step | null {
  if (view.end || (view.paused && !view.open)) return null
  if (offer) return isGivenUp(offer, now) ? { kind: 'pass', offer } : null
  if (!view.open) return view.closed < totalRounds(view.spec.stages) ? { kind: 'open' } : { kind: 'finish' }
  if (isClosable(view, view.open, { reports: reports.size, now })) return { kind: 'close' }
  const slots = lostSlots(view.open, { reports, holds, now })
  return slots.length > 0 ? { kind: 'void', slots } : null
}

/** All datasets reported, or the deadline passed with a quorum. */
function isClosable(view: RunView, open: OpenRound, at: { reports: number; now: number }): boolean {
  if (at.reports === view.spec.datasets.length) return true
  return at.reports >= view.spec.quorum && at.now >= deadlineOf(view, open)
}

function deadlineOf(view: RunView, open: OpenRound): number {
  return open.opened + view.spec.deadlineSeconds * 1000
}

/** Leases that were handed out and not reported in their time. */
function lostSlots(open: OpenRound, facts: Omit<RoundFacts, 'view' | 'offer'>): Slot[] {
  return [...open.slots.values()].filter(({ dataset, lease, lost }) => {
    const hold = facts.holds.get(lease)
    return !lost && !facts.reports.has(dataset) && hold !== undefined && hold.expires <= facts.now
  })
}

/** When the clock alone changes what `nextStep` says; null where only a report or a poll can. */
export function nextAlarm({ view, reports, holds, offer, now }: RoundFacts): number | null {
  if (offer) return isHeld(offer, now) ? offer.hold!.expires : null
  const { open } = view
  if (!open || view.end) return null
  const waiting = [...open.slots.values()].filter((slot) => !slot.lost && !reports.has(slot.dataset))
  const times = waiting.flatMap((slot) => holds.get(slot.lease)?.expires ?? [])
  if (reports.size >= view.spec.quorum) times.push(deadlineOf(view, open))
  const future = times.filter((time) => time > now)
  return future.length > 0 ? Math.min(...future) : null
}

/** A lease's name says which it is, so that a crash between charge and log repeats the same charge and never a second. */
export function leaseId(run: string, at: { round: number; dataset: number; attempt: number }): string {
  return `${run}-r${at.round}-d${at.dataset}-a${at.attempt}`
}

/** Whether a lease with this name can have been: of this run and dataset, and not after the round that is open. */
export function isFormerLease(view: RunView, lease: string, dataset: string): boolean {
  const match = /-r(\d{1,7})-d(\d{1,4})-a(\d{1,6})$/.exec(lease)
  if (!match) return false
  const [round, index, attempt] = match.slice(1).map(Number) as [number, number, number]
  if (leaseId(view.id, { round, dataset: index, attempt }) !== lease) return false
  if (view.spec.datasets[index]?.id !== dataset) return false
  if (round < view.closed) return true
  return view.end !== null || (round === view.open?.round && attempt <= (view.open.slots.get(dataset)?.attempt ?? -1))
}

export type ChargeEntry = Extract<RunEntry, { type: 'charge' }>

function chargeEntry(view: RunView, at: { round: number; dataset: string; attempt: number }): ChargeEntry {
  const { round, dataset, attempt } = at
  const index = view.spec.datasets.findIndex((d) => d.id === dataset)
  const lease = leaseId(view.id, { round, dataset: index, attempt })
  const { stage } = stageOf(view.spec.stages, round)
  return { type: 'charge', round, dataset, lease, attempt, event: stageEvent(view.spec, stage) }
}

/** The charge for one more lease of the open round, after the one of a slot was lost. */
export function nextCharge(view: RunView, { round }: OpenRound, { dataset, attempt }: Slot): ChargeEntry {
  return chargeEntry(view, { round, dataset, attempt: attempt + 1 })
}

/** The open record of a round with the first charge of every dataset. */
export function openEntries(view: RunView, round: number): { open: RunEntry; charges: ChargeEntry[] } {
  const { index } = stageOf(view.spec.stages, round)
  return {
    open: { type: 'open', round, stage: index },
    charges: view.spec.datasets.map(({ id }) => chargeEntry(view, { round, dataset: id, attempt: 0 })),
  }
}

/** Whether integers fit the report of a round: as many as it has, and none that no data of the dataset could lead to. */
export function fitsRound(spec: RunSpec, report: Pick<StoredReport, 'round' | 'dataset' | 'integers'>): boolean {
  const { round, dataset, integers } = report
  const { stage } = stageOf(spec.stages, round)
  const units = reachOf(spec.datasets.find(({ id }) => id === dataset)!)
  const reach = reportReach(stage, { units, method: spec })
  const inReach = integers.every((n) => Number.isSafeInteger(n) && Math.abs(n) <= reach)
  return integers.length === reportLength(stage) && inReach
}

/**
 * Aggregates a round: the update it makes, and the records that say so; null where the update leads to no finite state.
 * Reports are taken in order of dataset.
 */
export function closeRound(
  spec: RunSpec,
  point: ReplayPoint,
  reports: readonly StoredReport[],
): { entries: RunEntry[]; after: ReplayPoint; stateHash: string } | null {
  const round = point.nextRound
  const { index, stage, last } = stageOf(spec.stages, round)
  const units = new Map(spec.datasets.map((d) => [d.id, d.units]))
  const sorted = [...reports].sort((a, b) => (a.dataset < b.dataset ? -1 : 1))
  const released = sorted.map(({ integers, dataset }) => ({ integers, units: units.get(dataset)! }))
  const ghat = coefficients(released, stage, spec.aggregation)
  const after = finiteAfter(() => advance(spec, point, { round, coefficients: ghat }))
  if (!after) return null
  const hash = stateHash(after.state)
  const close: RunEntry = {
    type: 'close',
    round,
    reports: sorted.map(({ dataset, lease, worker, publicKey, integers, signature }) => ({
      dataset,
      lease,
      worker,
      publicKey,
      integers,
      signature,
    })),
    coefficients: ghat,
    ...toldOf(spec, stage, released),
    stateHash: hash,
  }
  const entries = last ? [close, { type: 'stage', stage: index, stateHash: hash } as const] : [close]
  return { entries, after, stateHash: hash }
}

function finiteAfter(step: () => ReplayPoint): ReplayPoint | null {
  try {
    return step()
  } catch (error) {
    if (error instanceof ReplayError && error.code === 'state_not_finite') return null
    throw error
  }
}
