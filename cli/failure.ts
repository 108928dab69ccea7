import { CommanderError } from 'commander'
import { PrivacyError } from '../shared/privacy/error.ts'

/**
 * What a shell sees. `failed`: the question was well formed, and something else went wrong. `late`: what was waited for did not come in
 * its time. `otherwise`: it came, and was not what was wanted.
 */
export const EXIT = { ok: 0, failed: 1, refused: 2, unreachable: 3, late: 4, otherwise: 5, interrupted: 130 } as const

/** The command line or a file says something that cannot be answered: exit code 2, its message and nothing else. */
export class InputError extends Error {
  readonly code: string
  constructor(message: string, code = 'invalid_input') {
    super(message)
    this.name = 'InputError'
    this.code = code
  }
}

/** The world refused: a file that cannot be written, a result that cannot be drawn. Exit code 1. */
export class RunError extends Error {
  readonly code: string
  constructor(message: string, code = 'failed') {
    super(message)
    this.name = 'RunError'
    this.code = code
  }
}

/** What was looked at does not hold: exit code 1, and to those who read JSON the facts, such as the object at fault. */
export class FindingError extends RunError {
  readonly facts: Readonly<Record<string, unknown>>
  constructor(message: string, { code, ...facts }: { code: string } & Record<string, unknown>) {
    super(message, code)
    this.name = 'FindingError'
    this.facts = facts
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

/** A failure as those who read JSON are told of it. */
export interface Told {
  readonly code: string
  readonly message: string
  readonly [fact: string]: unknown
}

/** @returns null where nothing failed, or the answer itself has been told before */
export const toldOf = (error: unknown): Told | null => {
  if (!(error instanceof Error)) return { code: 'internal', message: String(error) }
  const message = error.message.replaceAll('\nsotto: ', '\n')
  if (error instanceof CommanderError) return error.exitCode === 0 ? null : { code: 'invalid_input', message }
  if (error instanceof UnreachableError) return { code: 'unreachable', message }
  if (error instanceof WaitError) return error.exit === EXIT.otherwise ? null : { code: WAITED[error.exit], message }
  if (error instanceof FindingError) return { code: error.code, message, ...error.facts }
  if (error instanceof InputError || error instanceof RunError || error instanceof RefusedError)
    return { code: error.code, message }
  return { code: error instanceof PrivacyError ? error.code : 'internal', message }
}

const WAITED = { [EXIT.late]: 'late', [EXIT.interrupted]: 'interrupted' } as const

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
