import type { Command } from 'commander'
import { gathered } from '../gathered.ts'

const HELP = `
Watches that the logs of coordinators only ever grow: it is sent checkpoints, with a proof that each continues the last one it saw,
and cosigns them (c2sp.org/tlog-witness). Whoever would show two logs of one run to two readers has to get both past it. "sotto audit run
--witness" sends it what it audited. It sees no records, and keeps a size and a hash for each log.

Its key is made at the first start and kept in the folder with what it saw: a copy of the folder that is set back would cosign a fork.

Example
  sotto witness --state /var/lib/sotto-witness --name witness.example.org --listen 0.0.0.0:8790 \\
    --log sotto.example.org=KEY`

export interface WitnessGiven {
  readonly state: string
  readonly name: string
  readonly listen: string
  readonly log: string[]
}

/** Makes `sotto witness` a command of its own, without verbs. */
export const describeWitness = (noun: Command): void => {
  noun
    .requiredOption('--state <dir>', 'its key, and what it saw')
    .requiredOption('--name <name>', 'what it signs as: an address without its scheme')
    .requiredOption('--log <name=key>', 'a coordinator whose logs it watches; may be given more than once', gathered)
    .option('--listen <host:port>', 'where it listens', '127.0.0.1:8790')
    .addHelpText('after', HELP)
    .action(async (given: WitnessGiven) => {
      const { serveWitness } = await import('./serve.ts')
      await serveWitness(given)
    })
}
