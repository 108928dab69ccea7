import type { RunRecord } from '../../shared/ledger/index.ts'
import { hashHex } from '../../shared/ledger/index.ts'
import { type ReplayPoint, replay, replayStart, stateBytes, stateFromBytes } from '../../shared/zo/index.ts'
import { commitObject, type ObjectStore } from '../objects/store.ts'
import type { Checkpoint, RunStore } from './store.ts'
import type { RunView } from './view.ts'

export function checkpointKey(run: string, checkpoint: Pick<Checkpoint, 'rounds' | 'sha256'>): string {
  return `runs/${run}/checkpoints/${checkpoint.rounds}-${checkpoint.sha256}.bin`
}

/** The trained state of a run, rebuilt from the newest checkpoint and the closes after it whenever memory has it not. */
export class Trainer {
  readonly #store: RunStore
  readonly #objects: ObjectStore
  #point: ReplayPoint | null = null

  constructor(store: RunStore, objects: ObjectStore) {
    this.#store = store
    this.#objects = objects
  }

  /** The state after the last closed round. @throws ReplayError where the log leads to another state than it says. */
  async state(view: RunView): Promise<ReplayPoint> {
    if (this.#point?.nextRound === view.closed) return this.#point
    const from = this.#point ?? (await this.#fromCheckpoint(view)) ?? replayStart(view.resolved)
    this.#point = replay(view.resolved, this.#closesFrom(from.nextRound), from)
    return this.#point
  }

  /** Takes the state that a close was computed with, once the close is in the log. */
  moved(point: ReplayPoint): void {
    this.#point = point
  }

  /** Frees the memory of a run that ended. */
  forget(): void {
    this.#point = null
  }

  /** Stores the state as a checkpoint. */
  async keep(view: RunView): Promise<void> {
    const { state, nextRound: rounds } = await this.state(view)
    const bytes = stateBytes(state)
    const sha256 = hashHex(bytes)
    await commitObject(this.#objects, checkpointKey(view.id, { rounds, sha256 }), bytes)
    this.#store.keepCheckpoint({ rounds, size: view.head.size, sha256 })
  }

  async #fromCheckpoint(view: RunView): Promise<ReplayPoint | null> {
    for (const checkpoint of this.#store.checkpoints()) {
      const bytes = await this.#objects.fetch(checkpointKey(view.id, checkpoint))
      if (bytes && hashHex(bytes) === checkpoint.sha256) {
        return { nextRound: checkpoint.rounds, state: stateFromBytes(bytes) }
      }
    }
    return null
  }

  *#closesFrom(round: number): Generator<Extract<RunRecord, { type: 'close' }>> {
    for (const record of recordsFrom(this.#store, 0)) {
      if (record.type === 'close' && record.round >= round) yield record
    }
  }
}

/** Records of the stored log from a seq on. They were checked when the log was loaded. */
export function* recordsFrom(store: RunStore, seq: number): Generator<RunRecord> {
  const PAGE = 200
  for (let at = seq; ; ) {
    const segments = store.segmentsFrom(at, PAGE)
    for (const { text } of segments) {
      for (const line of text.trimEnd().split('\n')) {
        const record = JSON.parse(line) as RunRecord
        if (record.seq < at) continue
        yield record
        at = record.seq + 1
      }
    }
    if (segments.length < PAGE) return
  }
}
