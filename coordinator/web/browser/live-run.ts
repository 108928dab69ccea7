import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { type Sotto, SottoError } from '../../../client/index.ts'
import type { Curves, Run, RunEvent } from '../../../shared/api/index.ts'
import { connectBy } from './session.ts'

/** A run as it goes: what the API says of it, its closed rounds in columns, and its newest events. */
export interface LiveRun {
  readonly run: Run | null
  readonly curves: Curves | null
  /** Newest first. */
  readonly events: readonly RunEvent[]
  readonly error: unknown
  readonly refresh: () => Promise<void>
}

/** Records before the newest that the tail of events begins with. */
const TAIL_RECORDS = 40
const TAIL_EVENTS = 60
/** However often rounds close, the page asks no more often. */
const REFRESH_MS = 1000
/** Until a coordinator that is away is asked again. */
const AWAY_MS = 3000

/** The columns of a page of rounds behind those that are known. */
function joined(known: Curves | null, more: Curves): Curves {
  if (!known || more.first === 0) return more
  const keep = <T>(old: readonly T[], fresh: readonly T[]): T[] => [...old.slice(0, more.first - known.first), ...fresh]
  return {
    first: known.first,
    next: more.next,
    closed: keep(known.closed, more.closed),
    reports: keep(known.reports, more.reports),
    lost: keep(known.lost, more.lost),
    privateLoss: keep(known.privateLoss, more.privateLoss),
    lossDeviation: keep(known.lossDeviation, more.lossDeviation),
    clippedShare: keep(known.clippedShare, more.clippedShare),
    signalToNoise: keep(known.signalToNoise, more.signalToNoise),
    recharged: [...known.recharged.filter(({ round }) => round < more.first), ...more.recharged],
    evaluations: byRound([...known.evaluations, ...more.evaluations]),
  }
}

const byRound = (evaluations: Curves['evaluations']) => [
  ...new Map(evaluations.map((each) => [each.round, each])).values(),
]

/** All closed rounds from one on. */
export async function curvesFrom(sotto: Sotto, id: string, known: Curves | null): Promise<Curves> {
  // The last known round again: the evaluation after it may have come since.
  let all = known
  let after: number | null = known ? Math.max(0, known.closed.length - 1) : 0
  while (after !== null) {
    const query = { after: String(after) }
    const page: Curves = await sotto.answer(sotto.api.v1.runs[':id'].curves.$get({ param: { id }, query }))
    all = joined(all, page)
    after = page.next
  }
  return all!
}

export const runOf = (sotto: Sotto, id: string): Promise<Run> =>
  sotto.answer(sotto.api.v1.runs[':id'].$get({ param: { id } }))

/** Asks for a run, and again whenever its events say that it went on. */
export function useLiveRun({ sotto, token, id }: { sotto: Sotto; token: string; id: string }): LiveRun {
  const [state, setState] = useState<Omit<LiveRun, 'refresh'>>({ run: null, curves: null, events: [], error: null })
  const curves = useRef<Curves | null>(null)
  const refresh = useCallback(async () => {
    try {
      curves.current = await curvesFrom(sotto, id, curves.current)
      const run = await runOf(sotto, id)
      setState((old) => ({ ...old, run, curves: curves.current, error: null }))
    } catch (error) {
      setState((old) => ({ ...old, error }))
    }
  }, [sotto, id])

  useEffect(() => {
    let last: number | null = null
    let waiting: ReturnType<typeof setTimeout> | null = null
    /** Ends the stream that is open, if one is. */
    let listening: AbortController | null = null
    const soon = () => {
      waiting ??= setTimeout(() => {
        waiting = null
        void refresh()
      }, REFRESH_MS)
    }
    const follow = async (signal: AbortSignal) => {
      const { head } = await runOf(sotto, id)
      last ??= Math.max(-1, head.size - TAIL_RECORDS)
      for await (const event of connectBy(token, signal).events(id, last)) {
        last = event.seq
        setState((old) => ({ ...old, events: [event, ...old.events].slice(0, TAIL_EVENTS) }))
        if (event.seq >= head.size) soon()
      }
    }
    const keepFollowing = async (signal: AbortSignal) => {
      while (!signal.aborted) {
        try {
          return await follow(signal)
        } catch (error) {
          if (signal.aborted) return
          setState((old) => ({ ...old, error }))
          // A refusal stays one; a coordinator that is away comes back.
          if (error instanceof SottoError && error.status < 500) return
          await new Promise((resolve) => setTimeout(resolve, AWAY_MS))
          soon()
        }
      }
    }
    // A tab that nobody looks at holds no connection: a browser has six for one place, over all its tabs.
    const listen = () => {
      if (document.visibilityState === 'hidden') {
        listening?.abort()
        listening = null
      } else if (!listening) {
        listening = new AbortController()
        void refresh()
        void keepFollowing(listening.signal)
      }
    }
    document.addEventListener('visibilitychange', listen)
    listen()
    return () => {
      document.removeEventListener('visibilitychange', listen)
      listening?.abort()
      if (waiting !== null) clearTimeout(waiting)
    }
  }, [sotto, token, id, refresh])
  return { ...state, refresh }
}
