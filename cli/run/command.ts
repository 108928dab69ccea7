import { type Command, InvalidArgumentError } from 'commander'
import { asking, type ConnectionGiven } from '../connection/index.ts'
import { writeResult } from '../output.ts'

/** The verbs of `sotto run` and what each of them takes. */

export interface FileGiven extends ConnectionGiven {
  readonly file: string
}
export interface WatchGiven extends ConnectionGiven {
  readonly timeout?: number
}
export interface CreateGiven extends FileGiven, WatchGiven {
  readonly wait: boolean
}

export interface ExportGiven extends ConnectionGiven {
  readonly output?: string
  readonly otlp?: string
  readonly follow: boolean
}

const FILE_HELP = `

A run file is the body of POST /v1/runs in YAML or JSON; "model" is the id of a model, or a folder beside the file, which is uploaded.
"sotto run schema" prints its JSON schema, by which editors complete it.`

const WAIT_HELP = `

With --wait, or as "watch" does: 4 the run had not ended when --timeout was over, 5 it ended otherwise than completed.`

const EXPORT_HELP = `

With --otlp, to a collector of OpenTelemetry by OTLP over HTTP: every number at the time of its round, with the round. Headers, such as those
that it knows you by, are OTEL_EXPORTER_OTLP_HEADERS. 1 the collector refused, 3 it could not be reached, or took nothing for ten
seconds; either way nothing is lost, and the same command sends everything again. With --follow a collector that is away is waited
for until the run has ended: 5 it ended otherwise than completed, 130 interrupted, after what had come was sent.`

const seconds = (text: string): number => {
  const value = Number(text)
  if (text.trim() === '' || !(value > 0)) throw new InvalidArgumentError('It must be a number of seconds.')
  return value
}

/** Adds the verbs of `sotto run`. */
export const describeRun = (noun: Command): void => {
  const withFile = (verb: Command) => verb.requiredOption('-f, --file <file>', 'the run file')
  asking(
    withFile(noun.command('plan').description('what a run would cost; nothing is spent')),
    '  sotto run plan -f run.yaml\n  sotto run plan -f run.yaml --json | jq .data.epsilonByRound',
    FILE_HELP,
  ).action(async (given: FileGiven) => {
    const { planRun } = await import('./remote.ts')
    await planRun(given)
  })
  asking(
    withFile(noun.command('create').description('start a run'))
      .option('--wait', 'until it has ended', false)
      .option('--timeout <seconds>', 'wait no longer', seconds),
    '  sotto run create -f run.yaml\n  sotto run create -f run.yaml --wait --timeout 3600',
    FILE_HELP + WAIT_HELP,
  ).action(async (given: CreateGiven) => {
    const { createRun } = await import('./remote.ts')
    await createRun(given)
  })
  asking(noun.command('list').description('all runs, newest last'), '  sotto run list').action(
    async (given: ConnectionGiven) => {
      const { listRuns } = await import('./remote.ts')
      await listRuns(given)
    },
  )
  asking(
    noun.command('show').description('how a run stands, and what it has spent').argument('<run>', 'its id'),
    '  sotto run show run-0123456789abcdef',
  ).action(async (id: string, given: ConnectionGiven) => {
    const { showRun } = await import('./remote.ts')
    await showRun(id, given)
  })
  asking(
    noun
      .command('watch')
      .description('what happens in a run, until it has ended')
      .argument('<run>', 'its id')
      .option('--timeout <seconds>', 'wait no longer', seconds),
    '  sotto run watch run-0123456789abcdef --timeout 600',
    WAIT_HELP,
  ).action(async (id: string, given: WatchGiven) => {
    const { watchRun } = await import('./remote.ts')
    await watchRun(id, given)
  })
  for (const [verb, what] of [
    ['pause', 'let no round open after the one that is open'],
    ['resume', 'let a paused run go on'],
    ['cancel', 'end a run; what was not charged is returned'],
  ] as const) {
    asking(
      noun.command(verb).description(what).argument('<run>', 'its id'),
      `  sotto run ${verb} run-0123456789abcdef`,
    ).action(async (id: string, given: ConnectionGiven) => {
      const { steerRun } = await import('./remote.ts')
      await steerRun(id, verb, given)
    })
  }
  asking(
    noun
      .command('export')
      .description('the numbers of a run, for MLflow or a collector of OpenTelemetry')
      .argument('<run>', 'its id')
      .option('--output <folder>', 'a file store of MLflow, such as mlruns')
      .option('--otlp <url>', 'a collector, such as http://localhost:4318')
      .option('--follow', 'go on until the run has ended', false),
    '  sotto run export run-0123456789abcdef --output mlruns\n  MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri mlruns     # or bring it into a database: mlflow migrate-filestore\n  sotto run export run-0123456789abcdef --otlp http://localhost:4318 --follow',
    EXPORT_HELP,
  ).action(async (id: string, given: ExportGiven) => {
    const { exportRun } = await import('./export.ts')
    await exportRun(id, given)
  })
  noun
    .command('schema')
    .description('the JSON schema of a run file')
    .addHelpText(
      'after',
      '\nExamples\n  sotto run schema > run.schema.json   # and "# yaml-language-server: $schema=run.schema.json" in the run file',
    )
    .action(async () => {
      const { runFileSchema } = await import('./file.ts')
      writeResult(`${JSON.stringify(runFileSchema(), null, 2)}\n`)
    })
}
