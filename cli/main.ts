import { Command } from 'commander'
import { EXIT, endingOf, toldOf } from './failure.ts'
import { jsonLine } from './output.ts'

/** What `sotto` can be asked about. A noun's code is read only when it is named, so that none slows another. */
const NOUNS: Readonly<Record<string, { summary: string; load: () => Promise<(noun: Command) => void> }>> = {
  privacy: {
    summary: 'what a schedule of noised rounds costs, and how much noise a budget needs',
    load: async () => (await import('./privacy/command.ts')).describePrivacy,
  },
  audit: {
    summary: 'whether the log of a run holds, from the bucket alone, and what was spent',
    load: async () => (await import('./audit/command.ts')).describeAudit,
  },
  dataset: {
    summary: 'what a data owner does with a dataset before anybody else sees it',
    load: async () => (await import('./dataset/command.ts')).describeDataset,
  },
  init: {
    summary: 'files to begin with, for a model and its data',
    load: async () => (await import('./init/command.ts')).describeInit,
  },
  dev: {
    summary: 'a coordinator and its workers on this machine, for trying things out',
    load: async () => (await import('./dev/command.ts')).describeDev,
  },
  login: {
    summary: 'keeps which coordinator to speak to, and as whom',
    load: async () => (await import('./login/command.ts')).describeLogin,
  },
  worker: {
    summary: 'evaluates the data beside it, and who may do so',
    load: async () => (await import('./worker/command.ts')).describeWorker,
  },
  run: {
    summary: 'plans, starts, watches and steers fine-tuning',
    load: async () => (await import('./run/command.ts')).describeRun,
  },
  adapter: {
    summary: 'what a run has trained',
    load: async () => (await import('./adapter/command.ts')).describeAdapter,
  },
  token: {
    summary: 'who may ask a coordinator, and for what',
    load: async () => (await import('./token/command.ts')).describeToken,
  },
  model: {
    summary: 'what can be trained in an ONNX model',
    load: async () => (await import('./model/command.ts')).describeModel,
  },
  completion: {
    summary: 'a script that completes command lines in a shell',
    load: async () => {
      const { describeCompletion } = await import('./completion/command.ts')
      return (noun) => describeCompletion(noun, () => build(Object.keys(NOUNS)))
    },
  },
  witness: {
    summary: 'watches that the logs of coordinators only ever grow',
    load: async () => (await import('./witness/command.ts')).describeWitness,
  },
}

const CLOSING = `
With --json, standard output is one line: {"data": ...}, or {"error": {"code", "message"}}.

Exit codes: 0 done, 1 failed, 2 the command line or a file was refused, 3 a place could not be read or a coordinator not be reached,
4 what was waited for did not come in its time, 5 a run ended otherwise than completed, 130 interrupted.`

const build = async (args: readonly string[]): Promise<Command> => {
  const program = new Command('sotto')
    .description('Private fine-tuning for language models.')
    .exitOverride()
    .showHelpAfterError('(--help shows what a command takes)')
    .addHelpText('after', CLOSING)
  for (const [name, { summary, load }] of Object.entries(NOUNS)) {
    const noun = program.command(name).description(summary)
    if (args.includes(name)) (await load())(noun)
  }
  return program
}

/**
 * Runs one command line.
 * @param args what follows `sotto`
 * @returns the exit code; everything has been printed
 */
export const main = async (args: readonly string[]): Promise<number> => {
  stopQuietlyWithTheReader()
  // Until a command is known, a line that it may refuse to read: "--json" is then asked for as well.
  let json = args.includes('--json')
  try {
    const program = await build(args)
    program.hook('preAction', (_, command) => {
      json = command.opts().json === true
    })
    await program.parseAsync(args, { from: 'user' })
    return EXIT.ok
  } catch (error) {
    const { code, text } = endingOf(error)
    const told = json ? toldOf(error) : null
    if (told !== null) process.stdout.write(jsonLine({ error: told }))
    if (text !== null) process.stderr.write(`sotto: ${text}\n`)
    return code
  }
}

/** `sotto ... | head` closes the pipe early, which is no failure. */
const stopQuietlyWithTheReader = () => {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(EXIT.ok)
  })
}
