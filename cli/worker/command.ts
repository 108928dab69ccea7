import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { all, asking, type ConnectionGiven, withCoordinator } from '../connection/index.ts'
import { InputError, RunError } from '../failure.ts'
import { columns } from '../output.ts'

/** The verbs of `sotto worker` and what each of them takes. */

const START_HELP = `
Runs a worker beside its data until it is stopped: the same as "npm run worker". All that follows is the worker's own, and
"sotto worker start --help" lists it.

Examples
  SOTTO_TOKEN=... sotto worker start --coordinator http://localhost:8787 --data mail.jsonl`

/** Adds the verbs of `sotto worker`. */
export const describeWorker = (noun: Command): void => {
  noun
    .command('start')
    .description('evaluate the data beside it, and report')
    .helpOption(false)
    .allowUnknownOption()
    .allowExcessArguments()
    .argument('[options...]', 'of the worker')
    .addHelpText('after', START_HELP)
    .action(async (options: string[]) => await start(options))
  asking(
    noun
      .command('create')
      .description('a worker of a dataset; its token is shown once')
      .argument('<dataset>', 'its id'),
    '  sotto worker create north\n  SOTTO_TOKEN=$(sotto worker create north --json | jq -r .data.token) sotto worker start ...',
  ).action(async (dataset: string, given: ConnectionGiven) => {
    await withCoordinator(given, async ({ api, answer, tell }) => {
      const worker = await answer(api.v1.workers.$post({ json: { dataset } }))
      tell(worker, `Worker ${worker.id} of dataset ${dataset}. Its token, shown this once:\n${worker.token}\n`)
    })
  })
  asking(noun.command('list').description('workers, and when they were last seen'), '  sotto worker list').action(
    async (given: ConnectionGiven) => {
      await withCoordinator(given, async ({ api, answer, tell }) => {
        const workers = await all((query) => answer(api.v1.workers.$get({ query })))
        const rows = workers.map(({ id, dataset, lastSeen, revoked, publicKey }) => [
          id,
          dataset,
          lastSeen === null ? 'never' : new Date(lastSeen).toISOString(),
          revoked ? 'revoked' : publicKey === null ? 'has no key yet' : 'enrolled',
        ])
        const words = columns([['WORKER', 'DATASET', 'LAST SEEN', 'STATE'], ...rows])
        tell(workers, workers.length === 0 ? 'No workers.\n' : words)
      })
    },
  )
  asking(
    noun.command('revoke').description('let a worker do nothing any more').argument('<worker>', 'its id'),
    '  sotto worker revoke worker-0123456789abcdef',
  ).action(async (id: string, given: ConnectionGiven) => {
    await withCoordinator(given, async ({ api, answer, tell }) => {
      await answer(api.v1.workers[':id'].$delete({ param: { id } }))
      tell({ id, revoked: true }, `Worker ${id} is revoked.\n`)
    })
  })
}

/** The worker is a process of its own: what it loads is native, and what stops it stops it as a whole. */
async function start(options: readonly string[]): Promise<void> {
  const main = fileURLToPath(new URL('../../gpu-worker/main.ts', import.meta.url))
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...options], {
    stdio: 'inherit',
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve))
  if (code === 2) throw new InputError('the worker did not take its options')
  if (code !== 0) throw new RunError(`the worker ended with ${code ?? 'a signal'}`)
}
