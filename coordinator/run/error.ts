import type { ProblemCode } from '../../shared/api/index.ts'
import { LogFaultError } from '../ledger/index.ts'
import { StoreError } from '../objects/store.ts'
import { StorageError } from '../storage/index.ts'

/** Why a run refused; each code is a problem of the API and terminal for the call that met it. */
export type RunErrorCode = Extract<
  ProblemCode,
  | 'conflict'
  | 'not_found'
  | 'forbidden'
  | 'run_ended'
  | 'lease_closed'
  | 'report_conflict'
  | 'bad_report'
  | 'bad_signature'
>

export class RunError extends Error {
  readonly code: RunErrorCode
  constructor(code: RunErrorCode) {
    super(`run: ${code}`)
    this.name = 'RunError'
    this.code = code
  }
}

/** An actor that lives elsewhere can not be reached now. Whether it did what it was asked is unknown; asking again is safe. */
export class AwayError extends Error {
  constructor() {
    super('an actor is away')
    this.name = 'AwayError'
  }
}

/** What the log of the coordinator says of a fault: its code alone. */
export function faultCode(error: unknown): string {
  if (error instanceof StoreError) return `store_${error.code}`
  if (error instanceof AwayError) return 'actor_away'
  if (error instanceof LogFaultError) return error.code
  return error instanceof StorageError ? `storage_${error.code}` : 'internal'
}
