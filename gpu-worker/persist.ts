import { setTimeout as sleep } from 'node:timers/promises'
import { WorkerError } from './error.ts'
import type { Log } from './log.ts'

const RETRY_FIRST_MS = 250
const RETRY_LONGEST_MS = 10_000

/** Repeats what failed only because nobody was there, ever more slowly. @throws whatever else goes wrong, and on abort. */
export async function persistently<T>(host: { log: Log; signal: AbortSignal }, action: () => Promise<T>): Promise<T> {
  for (let waitMs = RETRY_FIRST_MS; ; waitMs = Math.min(2 * waitMs, RETRY_LONGEST_MS)) {
    try {
      return await action()
    } catch (error) {
      if (host.signal.aborted || !(error instanceof WorkerError && error.code === 'unreachable')) throw error
      host.log({ event: 'retrying', code: error.code })
      await sleep(waitMs, undefined, { signal: host.signal })
    }
  }
}
