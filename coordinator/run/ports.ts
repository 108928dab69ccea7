import type { EventCount } from '../../shared/privacy/index.ts'
import type { Charge, ChargeAnswer, Reservation, ReserveAnswer } from '../dataset/index.ts'
import type { LogKey } from '../ledger/index.ts'
import type { ObjectStore } from '../objects/store.ts'
import type { ActorStorage } from '../storage/index.ts'

/** The dataset actors as a run sees them. */
export interface DatasetLedger {
  /** `dryRun`: what the charge would be answered, charging nothing. */
  charge(dataset: string, charge: Charge, options?: { dryRun?: boolean }): Promise<ChargeAnswer>
  /** Once for a run: again is the same. */
  reserve(dataset: string, reservation: Reservation): Promise<ReserveAnswer>
  /** Returns what a run has reserved and not charged; `charged` is what the run's own log says. Again: the same. */
  release(dataset: string, run: string, charged: readonly EventCount[]): Promise<void>
}

export interface RunPorts {
  readonly storage: ActorStorage
  readonly objects: ObjectStore
  /** What the log is signed with. */
  readonly logKey: LogKey
  readonly datasets: DatasetLedger
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Asks for `alarm()` at a time, in place of what was asked before; null for none. */
  readonly setAlarm: (at: number | null) => void
  /** Tells those who wait for a topic that there is news. */
  readonly ring: (topic: string) => void
  /** Tells the directory how the run stands, after its log said so. */
  readonly announce: (
    run: string,
    state: 'running' | 'paused' | 'completed' | 'cancelled' | 'budget_exhausted' | 'failed',
  ) => Promise<void>
  /** A fault of work that nobody waits for; the code alone. */
  readonly onFault: (run: string, code: string) => void
  /** Closed rounds between two checkpoints. */
  readonly checkpointEvery?: number
}

/** Who asks, as the token said. */
export interface WorkerCaller {
  readonly id: string
  readonly dataset: string
  readonly publicKey: string | null
}
