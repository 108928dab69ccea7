import type { Run, RunEvent } from '../../shared/api/index.ts'
import { type Session, withCoordinator } from '../connection/index.ts'
import { EXIT, InputError, WaitError } from '../failure.ts'
import type { ExportGiven } from './command.ts'
import { forward } from './forward.ts'
import { writeStore } from './mlflow.ts'

/** What one place was given. */
interface Exported {
  readonly told: object
  readonly words: string
}

/** `sotto run export`. @throws InputError, RefusedError, UnreachableError, RunError, WaitError */
export const exportRun = async (id: string, given: ExportGiven): Promise<void> =>
  await withCoordinator(given, async (session) => {
    const { output, otlp, follow } = given
    if (output === undefined && otlp === undefined)
      throw new InputError('name --output FOLDER for MLflow, or --otlp URL for a collector of OpenTelemetry')
    const begun = await runNow(id, session)
    if (!follow && (begun.state === 'running' || begun.state === 'paused'))
      throw new InputError(`run ${id} is ${begun.state}: export it once it has ended, or as it goes on, with --follow`)
    const events: RunEvent[] = []
    const stream = kept(session.events(id), events)
    const done: Exported[] = []
    if (otlp !== undefined) done.push(await sendAll(begun, stream, { otlp, given }))
    else for await (const _ of stream);
    const run = await runNow(id, session)
    if (output !== undefined) done.push(writeStore(run, events, output))
    session.tell(Object.assign({}, ...done.map(({ told }) => told)), done.map(({ words }) => words).join(''))
    if (follow && run.state !== 'completed')
      throw new WaitError(EXIT.otherwise, `run ${id} ended: ${run.state}; its numbers were exported`)
  })

const runNow = async (id: string, { api, answer }: Session): Promise<Run> =>
  await answer(api.v1.runs[':id'].$get({ param: { id } }))

async function* kept(events: AsyncGenerator<RunEvent>, into: RunEvent[]): AsyncGenerator<RunEvent> {
  for await (const event of events) {
    into.push(event)
    yield event
  }
}

async function sendAll(
  run: Run,
  events: AsyncGenerator<RunEvent>,
  { otlp, given }: { otlp: string; given: ExportGiven },
): Promise<Exported> {
  // OpenTelemetry's packages are read by those alone who export to it.
  const { openCollector } = await import('./collector.ts')
  const { url, send } = openCollector(otlp)
  const names = new Set<string>()
  const points = await forward(events, {
    patient: given.follow,
    note: (words) => process.stderr.write(`${words}\n`),
    send: async (measurements) => {
      for (const name of await send(run, measurements)) names.add(name)
      if (given.follow && !given.json)
        process.stderr.write(`${measurements.length} points sent, up to round ${measurements.at(-1)?.round}\n`)
    },
  })
  const told = { otlp: { url, points, metrics: [...names] } }
  return { told, words: `${points} points of ${run.id} were sent to ${url}.\n` }
}
