import type { Run as RunAnswer } from '../../shared/api/index.ts'
import type { RunRecord } from '../../shared/ledger/index.ts'
import type { StoredSegment } from '../ledger/index.ts'
import { RunError } from './error.ts'
import type { RunLog } from './log.ts'
import type { Checkpoint, RunStore } from './store.ts'
import { recordsFrom } from './trainer.ts'

/** What is read of a run's log: none of it changes anything, and none waits for an object store. */

export interface Updates {
  readonly head: RunAnswer['head']
  readonly segments: StoredSegment[]
  readonly checkpoint: Checkpoint | null
}

/** Stored segments from the one that holds record `after`, and the newest checkpoint. @throws RunError `not_found` */
export function updatesOf(store: RunStore, { view }: RunLog, after: number): Updates {
  if (!view) throw new RunError('not_found')
  const { size, hash } = view.head
  const segments = after < size ? store.segmentsFrom(after) : []
  return { head: { size, hash }, segments, checkpoint: store.checkpoints(1)[0] ?? null }
}

/** Of one answer: an actor elsewhere sends them as one message. */
const RECORDS_MOST = 1000

/** Records of the stored log from a seq on, some at a time, and whether more can come. */
export function recordsOf(
  store: RunStore,
  { view, fault }: RunLog,
  from: number,
): { records: RunRecord[]; ended: boolean } {
  const records: RunRecord[] = []
  if (view && from < view.head.size) {
    for (const record of recordsFrom(store, from)) {
      records.push(record)
      if (records.length === RECORDS_MOST) break
    }
  }
  const isAll = from + records.length >= (view?.head.size ?? 0)
  return { records, ended: isAll && (fault !== null || (view?.end ?? null) !== null) }
}

export interface TimedCheckpoint extends Checkpoint {
  /** Of the last record in it. */
  readonly time: number
}

/** Stored checkpoints, newest first. */
export function checkpointsOf(store: RunStore, most: number): TimedCheckpoint[] {
  return store.checkpoints(most).map((checkpoint) => {
    const { value } = recordsFrom(store, checkpoint.size - 1).next()
    return { ...checkpoint, time: value?.time ?? 0 }
  })
}
