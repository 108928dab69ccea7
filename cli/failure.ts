import { CommanderError } from 'commander'
import { PrivacyError } from '../shared/privacy/error.ts'

/**
 * What a shell sees. `failed`: the question was well formed, and something else went wrong. `late`: what was waited for did not come in
 * its time. `otherwise`: it came, and was not what was wanted.
 */
export const EXIT = { ok: 0, failed: 1, refused: 2, unreachable: 3, late: 4, otherwise: 5, interrupted: 130 } as const

/** The command line or a file says something that cannot be answered: exit code 2, its message and nothing else. */
export class InputError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'InputError'
  }
}

/** The world refused: a file that cannot be written, a result that cannot be drawn. Exit code 1. */
export class RunError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'RunError'
  }
}

/** A place that could not be read: nothing is known of what lies there. Exit code 3. */
export class UnreachableError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UnreachableError'
  }
}

/** The coordinator said no, by a code of its API. Exit code 1. */
export class RefusedError extends Error {
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.name = 'RefusedError'
    this.code = code
  }
}

/** What was waited for did not come in its time: exit code 4; or it came, and was not what was wanted: 5; or nobody waits any more: 130. */
export class WaitError extends Error {
  readonly exit: typeof EXIT.late | typeof EXIT.otherwise | typeof EXIT.interrupted
  constructor(exit: WaitError['exit'], message: string) {
    super(message)
    this.name = 'WaitError'
    this.exit = exit
  }
}

/** One failure as the process ends with it; `text` is null where commander has already printed everything. */
export interface Ending {
  readonly code: number
  readonly text: string | null
}

/** How the process ends after this error. Only a defect of Sotto itself shows its stack. */
export const endingOf = (error: unknown): Ending => {
  if (error instanceof CommanderError) {
    return { code: error.exitCode === 0 ? EXIT.ok : EXIT.refused, text: null }
  }
  if (error instanceof InputError || error instanceof PrivacyError) return { code: EXIT.refused, text: error.message }
  if (error instanceof UnreachableError) return { code: EXIT.unreachable, text: error.message }
  if (error instanceof WaitError) return { code: error.exit, text: error.message }
  if (error instanceof RunError || error instanceof RefusedError) return { code: EXIT.failed, text: error.message }
  return { code: EXIT.failed, text: error instanceof Error ? (error.stack ?? error.message) : String(error) }
}
