import type { Perturbation } from '../../../shared/zo/index.ts'
import type { EngineErrorCode } from '../error.ts'
import type { EncodedRecord, EvaluatorSetup, Output } from './setup.ts'

/** What to evaluate: the groups of a round, or the center alone. */
export type Around = Omit<Perturbation, 'center'> | 'center'

/** Some of the groups, `to` exclusive. */
export interface GroupRange {
  readonly from: number
  readonly to: number
}

/** What the engine's thread asks of an evaluating thread. Each request has one answer, in order. */
export type Request =
  | { readonly kind: 'open'; readonly setup: EvaluatorSetup }
  | { readonly kind: 'stage'; readonly stage: number; readonly finished: readonly Float32Array[] }
  | {
      readonly kind: 'run'
      readonly records: readonly EncodedRecord[]
      /** In memory that every thread shares. */
      readonly center: Float32Array<SharedArrayBuffer>
      readonly around: Around
      /** Left out: all of them. */
      readonly part?: GroupRange
      readonly output: Output
    }
  | { readonly kind: 'close' }

export type Answer =
  | { readonly ok: true; readonly values: Float32Array | undefined }
  | { readonly ok: false; readonly code: EngineErrorCode; readonly message: string }
