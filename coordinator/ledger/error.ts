import type { LogFault } from './bucket-log.ts'

/** A log that may not go on: nothing more is charged by it. Terminal until its operator has seen to it. */
export class LogFaultError extends Error {
  readonly code: LogFault
  constructor(code: LogFault) {
    super(`ledger: ${code}`)
    this.name = 'LogFaultError'
    this.code = code
  }
}
