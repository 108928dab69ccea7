import { describe } from 'vitest'
import { type ActorStage, actorContract } from '../../test/contract/actors.ts'
import { Theatre } from '../../test/rehearsal/theatre.ts'

/** Actors of one process over SQLite in memory, their clock in the test's hands. */
async function open(): Promise<ActorStage> {
  const theatre = new Theatre()
  await theatre.openDataset('north')
  await theatre.openDataset('south')
  await theatre.restart()
  return {
    runId: theatre.runId,
    datasets: ['north', 'south'],
    run: () => theatre.run,
    dataset: (id) => theatre.dataset(id),
    lose: () => theatre.restart(),
    fireAlarm: async () => {
      theatre.run.alarm()
      await theatre.run.idle()
    },
    pass: async (ms) => {
      theatre.now += ms
    },
    log: async () => theatre.log(),
  }
}

describe('actors on node', () => actorContract(open))
