import { checkCorruption, checkEnd, Watch } from './invariants.ts'
import { type Operation, scheduleOf } from './operations.ts'
import { type Sabotage, World } from './world.ts'

export interface Failure {
  readonly seed: number
  /** Place of the operation after which something did not hold; the length of the schedule for its end. */
  readonly at: number
  readonly message: string
  readonly schedule: readonly Operation[]
}

/** Works a schedule off, and checks everything after each operation and at its end. @returns what did not hold, or null */
export async function simulate(
  schedule: readonly Operation[],
  { seed, sabotage = null }: { seed: number; sabotage?: Sabotage | null },
): Promise<Failure | null> {
  let at = 0
  try {
    const world = await World.open(sabotage)
    const watch = new Watch()
    for (; at < schedule.length; at++) {
      const operation = schedule[at]!
      await world.perform(operation)
      await watch.check(world)
      if (operation.op === 'corrupt') await checkCorruption(world, operation)
    }
    await world.finish()
    await watch.check(world)
    await checkEnd(world, watch)
    return null
  } catch (error) {
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
    return { seed, at, message, schedule }
  }
}

/** The shortest schedule found that fails in the same way: operations are taken out, half of them first and single ones last. */
export async function shrink(failure: Failure, options: { sabotage?: Sabotage | null } = {}): Promise<Failure> {
  let least = failure
  const kind = kindOf(failure.message)
  for (let size = Math.ceil(failure.schedule.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < least.schedule.length; ) {
      const shorter = least.schedule.filter((_, index) => index < from || index >= from + size)
      const found = await simulate(shorter, { seed: failure.seed, ...options })
      if (found && kindOf(found.message) === kind) least = found
      else from += size
    }
  }
  return least
}

/** A message without its names and numbers. */
const kindOf = (message: string): string => message.replaceAll(/\b(north|south|run-\d[\w-]*)\b|\d+/g, '')

export const simulateSeed = async (seed: number, options: { sabotage?: Sabotage | null } = {}) =>
  await simulate(scheduleOf(seed), { seed, ...options })
