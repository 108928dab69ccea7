import { setTimeout as sleep } from 'node:timers/promises'

/** How long to wait, so that work that took `elapsed` ms seems to have taken a whole number of beats, one at least. */
export function waitFor(elapsed: number, beat: number): number {
  return Math.max(1, Math.ceil(elapsed / beat)) * beat - elapsed
}

/**
 * Holds what was made back until its beat. How long a report took depends on how many records were drawn and on the noise, neither of
 * which anybody may know: who sees when it is sent learns the number of beats and no more.
 * @param beat milliseconds; 0: nothing is held back
 * @throws what `signal` aborts with
 */
export async function onBeat(
  started: number,
  beat: number,
  { now, signal }: { now: () => number; signal: AbortSignal },
): Promise<void> {
  if (beat > 0) await sleep(waitFor(now() - started, beat), undefined, { signal })
}
