import type { Round, RoundDetail, StageProgress } from '../../shared/api/index.ts'
import type { RunRecord } from '../../shared/ledger/index.ts'
import { signalToNoise } from './progress.ts'
import type { RunStore } from './store.ts'
import { recordsFrom } from './trainer.ts'
import type { RunView } from './view.ts'

/** How far the run is in each of its stages. */
export function stagesOf({ spec, closed, end }: RunView): StageProgress[] {
  let first = 0
  return spec.stages.map((settings, stage) => {
    const own = Math.min(Math.max(0, closed - first), settings.rounds)
    const isRunning = closed >= first && closed < first + settings.rounds
    const left = end ? 'abandoned' : isRunning ? 'running' : 'waiting'
    const progress = { stage, first, closed: own, state: own === settings.rounds ? 'closed' : left, settings } as const
    first += settings.rounds
    return progress
  })
}

/** Rounds before one, newest first. Only their part of the log is read. */
export function roundsOf(store: RunStore, view: RunView, { before, limit }: { before: number; limit: number }) {
  const last = Math.min(before, view.opened.length)
  const first = Math.max(0, last - limit)
  return {
    items: readRounds(store, view, { first, last })
      .reverse()
      .map(({ leases: _, ...round }): Round => round),
    next: first > 0 ? String(first) : null,
  }
}

/** One round with its leases, or null where it was not opened yet. */
export function roundOf(store: RunStore, view: RunView, round: number): RoundDetail | null {
  if (round >= view.opened.length) return null
  return readRounds(store, view, { first: round, last: round + 1 })[0] ?? null
}

function readRounds(store: RunStore, view: RunView, { first, last }: { first: number; last: number }): RoundDetail[] {
  const rounds: RoundDetail[] = []
  if (first >= last) return rounds
  const until = view.opened[last] ?? Number.POSITIVE_INFINITY
  for (const record of recordsFrom(store, view.opened[first]!)) {
    if (record.seq >= until) break
    takeIn(rounds, record, view)
  }
  return rounds
}

function takeIn(rounds: RoundDetail[], record: RunRecord, { spec }: RunView): void {
  if (record.type === 'open') rounds.push(opened(record))
  const round = rounds.at(-1)
  if (!round) return
  switch (record.type) {
    case 'charge': {
      const { lease, dataset, attempt } = record
      round.leases.push({ lease, dataset, attempt, state: 'waiting', worker: null })
      return
    }
    case 'void': {
      const lost = round.leases.find(({ lease }) => lease === record.lease)
      if (lost) lost.state = 'lost'
      round.lost += 1
      return
    }
    case 'close': {
      const { time, reports, privateLoss = null, clippedShare = null, stateHash } = record
      for (const { lease, worker } of reports) {
        const own = round.leases.find((each) => each.lease === lease)
        if (own) Object.assign(own, { state: 'reported', worker })
      }
      const told = { privateLoss, clippedShare, signalToNoise: signalToNoise(spec, record), stateHash }
      Object.assign(round, { state: 'closed', closed: time, reports: reports.length, ...told })
      return
    }
    case 'end':
      if (round.state === 'open') round.state = 'abandoned'
  }
}

function opened({ round, stage, time }: Extract<RunRecord, { type: 'open' }>): RoundDetail {
  const unknown = { closed: null, privateLoss: null, clippedShare: null, signalToNoise: null, stateHash: null }
  return { round, stage, state: 'open', opened: time, reports: 0, lost: 0, ...unknown, leases: [] }
}
