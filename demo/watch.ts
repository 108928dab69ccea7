import type { Run, RunEvent } from '../shared/api/index.ts'
import type { Client } from './client.ts'
import type { Display } from './display.ts'

/** Rounds over which the display means the private loss and the speed. */
const WINDOW = 16

type Closed = Extract<RunEvent, { type: 'round.closed' }>

/** Shows a run until it has ended. */
export async function watch(client: Client, id: string, display: Display): Promise<Run> {
  const { rounds, spec } = await client.run(id)
  let recent: Closed[] = []
  for await (const event of client.events(id)) {
    if (event.type === 'lease.lost')
      display.step(`a lease of ${event.dataset} was lost in round ${event.round}; the next one is charged anew`)
    if (event.type !== 'round.closed') continue
    recent = [...recent, event].slice(-WINDOW)
    display.progress({
      round: event.round + 1,
      rounds,
      roundsPerSecond: speed(recent),
      spent: event.spent,
      budget: spec.budget.epsilon,
      privateLoss: meanLoss(recent),
    })
  }
  display.done()
  return client.run(id)
}

/** Rounds a second over the last rounds, by the coordinator's clock. */
function speed(recent: readonly Closed[]): number {
  const elapsedMs = recent.at(-1)!.time - recent[0]!.time
  return elapsedMs > 0 ? (1000 * (recent.length - 1)) / elapsedMs : 0
}

function meanLoss(recent: readonly Closed[]): number | null {
  const losses = recent.flatMap(({ privateLoss }) => (privateLoss === null ? [] : [privateLoss]))
  return losses.length === 0 ? null : losses.reduce((sum, loss) => sum + loss, 0) / losses.length
}
