/**
 * What stops a worker, by closed code. Messages hold names, ids and codes, never data: a worker's log leaves its site.
 * `unreachable` is waited for; every other code ends the process, for a person to look at.
 */
export type WorkerErrorCode =
  | 'unreachable'
  | 'unauthorised'
  | 'refused'
  | 'state_locked'
  | 'disk_full'
  | 'key_conflict'
  | 'unit_mismatch'
  | 'spec_mismatch'
  | 'policy_refused'
  | 'model_mismatch'
  | 'log_mismatch'
  | 'log_forked'
  | 'log_key_changed'
  | 'uncharged_lease'
  | 'lease_used'
  | 'lifetime_spent'
  | 'spend_record_broken'
  | 'counted_before'

export class WorkerError extends Error {
  readonly code: WorkerErrorCode
  constructor(code: WorkerErrorCode, message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'WorkerError'
    this.code = code
  }
}
