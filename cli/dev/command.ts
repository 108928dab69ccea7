import type { Command } from 'commander'
import { wholeIn } from '../whole.ts'

const HELP = `
Starts a coordinator and a worker for each dataset on this machine, from a project file (by default sotto.yaml in this folder, or else the
three mailboxes of examples/mailboxes), until Ctrl-C. While it runs, the other commands in this folder speak to it. Started again,
it goes on with what it has.

  datasets:
    - id: north              # as runs name it
      data: north.jsonl      # beside this file
      unit: record           # or user
      epsilon: 8             # lifetime budget
      delta: 1.0e-5
  make: write.ts             # optional: a script that Node runs to write data that is not there; its argument is their folder

Exit codes: 0 stopped, 1 a part of it failed, 2 the command line or a file was refused.

Examples
  sotto dev
  sotto dev -f sotto.yaml --port 9000
  sotto run create -f examples/mailboxes/run.yaml --wait      # in another shell, in the same folder`

export interface DevGiven {
  readonly file?: string
  readonly dir: string
  readonly port: number
}

/** `sotto dev`. */
export const describeDev = (command: Command): void => {
  command
    .option('-f, --file <file>', 'project file')
    .option('--dir <folder>', 'where everything is kept', '.sotto/dev')
    .option('--port <port>', 'of the coordinator; 0 for any', wholeIn(0, 65_535), 8787)
    .addHelpText('after', HELP)
    .action(async (given: DevGiven) => {
      const { dev } = await import('./dev.ts')
      await dev(given)
    })
}
