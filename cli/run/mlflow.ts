import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { stringify } from 'yaml'
import type { Run, RunEvent } from '../../shared/api/index.ts'
import { withCoordinator } from '../connection/index.ts'
import { InputError, RunError } from '../failure.ts'
import type { ExportGiven } from './command.ts'

/** Of MLflow's protocol: RunStatus and LifecycleStage. */
const STATUS = { completed: 3, budget_exhausted: 4, failed: 4, cancelled: 5 } as const
const EXPERIMENT = { id: '736f74746f', name: 'sotto' }

/** A name that MLflow takes for a file. */
const safe = (name: string): string => name.replaceAll(/[^A-Za-z0-9_.-]/g, '_')

/** Values of one metric as its file has them: milliseconds, value, step. */
type Series = Map<string, string[]>

function add(
  series: Series,
  name: string,
  event: { time: number; round: number },
  value: number | null | undefined,
): void {
  if (value === null || value === undefined) return
  const lines = series.get(name) ?? []
  lines.push(`${event.time} ${value} ${event.round}`)
  series.set(name, lines)
}

/** Everything of a run's events that is a number by round. All of it is public: it follows from what was released. */
export function seriesOf(events: readonly RunEvent[]): Series {
  const series: Series = new Map()
  for (const event of events) {
    if (event.type === 'round.closed') {
      add(series, 'private_loss', event, event.privateLoss)
      add(series, 'clipped_share', event, event.clippedShare)
      add(series, 'signal_to_noise', event, event.signalToNoise)
      for (const [dataset, epsilon] of Object.entries(event.spent))
        add(series, `epsilon.${safe(dataset)}`, event, epsilon)
    }
    if (event.type === 'round.evaluated' && event.evaluation) {
      const { records, correct, loss } = event.evaluation
      add(series, 'public_loss', event, loss === null ? null : loss / 1e6)
      add(series, 'public_accuracy', event, correct === null || records === 0 ? null : correct / records)
    }
  }
  return series
}

function parametersOf({ spec, specHash }: Run): Record<string, string> {
  const { budget, clipping, noise, sides, stages, datasets, quorum, space, task, model, seed } = spec
  const byStage = stages.flatMap((stage, index) =>
    Object.entries(stage).flatMap(([name, value]) =>
      typeof value === 'object' ? [] : [[`stage${index}.${name}`, String(value)] as const],
    ),
  )
  return {
    ...{ epsilon: String(budget.epsilon), delta: String(budget.delta), clipping, noise, sides, quorum: String(quorum) },
    ...{ space: space.kind, task: task.kind, model, seed, specHash, datasets: datasets.map(({ id }) => id).join(',') },
    ...Object.fromEntries(byStage),
  }
}

/** `sotto run export`. @throws InputError, RefusedError, UnreachableError, RunError */
export const exportRun = async (id: string, given: ExportGiven): Promise<void> =>
  await withCoordinator(given, async ({ api, answer, events, tell }) => {
    const run = await answer(api.v1.runs[':id'].$get({ param: { id } }))
    const { state } = run
    if (state === 'running' || state === 'paused')
      throw new InputError(`run ${id} is ${state}: export it once it has ended`)
    const all: RunEvent[] = []
    for await (const event of events(id)) all.push(event)
    const runId = createHash('sha256').update(id).digest('hex').slice(0, 32)
    const folder = join(given.output, EXPERIMENT.id, runId)
    const series = seriesOf(all)
    const ended = all.at(-1)?.time ?? run.created
    const files = new Map([
      [join(given.output, EXPERIMENT.id, 'meta.yaml'), experimentFile(given.output, run)],
      [join(folder, 'meta.yaml'), runFile(run, { runId, folder, ended, status: STATUS[state] })],
      [join(folder, 'tags', 'mlflow.runName'), id],
      [join(folder, 'tags', 'sotto.state'), state],
      [join(folder, 'tags', 'sotto.log'), `${run.head.size} ${run.head.hash}`],
      ...Object.entries(parametersOf(run)).map(([name, value]) => [join(folder, 'params', safe(name)), value] as const),
      ...[...series].map(([name, lines]) => [join(folder, 'metrics', name), `${lines.join('\n')}\n`] as const),
    ])
    try {
      mkdirSync(join(folder, 'artifacts'), { recursive: true })
      for (const [file, text] of files) {
        mkdirSync(join(file, '..'), { recursive: true })
        writeFileSync(file, text)
      }
    } catch (error) {
      throw new RunError(
        `${given.output} cannot be written: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`,
      )
    }
    const told = { output: given.output, runId, experiment: EXPERIMENT.name, metrics: [...series.keys()] }
    tell(
      told,
      `${series.size} metrics of ${id} are in ${given.output}: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri ${given.output}\n`,
    )
  })

function experimentFile(output: string, { created }: Run): string {
  return stringify({
    artifact_location: pathToFileURL(join(output, EXPERIMENT.id)).href,
    creation_time: created,
    // A text of digits and an e would be read as a number.
    experiment_id: EXPERIMENT.id,
    last_update_time: created,
    lifecycle_stage: 'active',
    name: EXPERIMENT.name,
  })
}

function runFile(
  { id, created }: Run,
  { runId, folder, ended, status }: { runId: string; folder: string; ended: number; status: number },
): string {
  return stringify({
    artifact_uri: pathToFileURL(join(folder, 'artifacts')).href,
    end_time: ended,
    entry_point_name: '',
    experiment_id: EXPERIMENT.id,
    lifecycle_stage: 'active',
    run_id: runId,
    run_name: id,
    run_uuid: runId,
    source_name: '',
    source_type: 4,
    source_version: '',
    start_time: created,
    status,
    tags: [],
    user_id: 'sotto',
  })
}
