import { median } from '../median.ts'

/** Seconds of wall time and of the process's CPU time. */
export interface Duration {
  readonly wall: number
  readonly cpu: number
}

export async function timed(action: () => Promise<unknown>): Promise<Duration> {
  const cpu = process.cpuUsage()
  const started = performance.now()
  await action()
  const wall = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  return { wall, cpu: (user + system) / 1e6 }
}

type Actions = Readonly<Record<string, () => Promise<unknown>>>

/**
 * Runs all actions in turn, again and again, so that whatever slows the machine meets all of them alike; after one turn to
 * warm up.
 * @returns durations of each action, one for each turn.
 */
export async function inTurn<Names extends Actions>(
  actions: Names,
  turns: number,
): Promise<Record<keyof Names, Duration[]>> {
  const durations = Object.fromEntries(Object.keys(actions).map((name) => [name, [] as Duration[]]))
  for (let turn = -1; turn < turns; turn++)
    for (const [name, action] of Object.entries(actions)) {
      const duration = await timed(action)
      if (turn >= 0) durations[name]!.push(duration)
    }
  return durations as Record<keyof Names, Duration[]>
}

/** Median over the turns of one action's time over another's. */
export function ratioOf(numerator: readonly Duration[], denominator: readonly Duration[]): Duration {
  const of = (kind: keyof Duration) =>
    median(numerator.map((duration, turn) => duration[kind] / denominator[turn]![kind]))
  return { wall: of('wall'), cpu: of('cpu') }
}
