import type { EngineErrorCode } from '../error.ts'
import type { EvaluatorSetup, LabelledRecord, Output } from './evaluator.ts'

/** What the engine's thread asks of an evaluating thread. Each request has one answer, in order. */
export type Request =
  | { readonly kind: 'open'; readonly setup: EvaluatorSetup }
  | { readonly kind: 'stage'; readonly stage: number; readonly finished: readonly Float32Array[] }
  | {
      readonly kind: 'run'
      readonly records: readonly LabelledRecord[]
      /** Factors of all groups, one after another, in memory that every thread shares. */
      readonly factors: Float32Array<SharedArrayBuffer>
      readonly groups: number
      readonly output: Output
    }
  | { readonly kind: 'close' }

export type Answer =
  | { readonly ok: true; readonly values: Float32Array | undefined }
  | { readonly ok: false; readonly code: EngineErrorCode; readonly message: string }
