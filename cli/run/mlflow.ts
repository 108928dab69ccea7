import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { stringify } from 'yaml'
import type { Run, RunEvent } from '../../shared/api/index.ts'
import { RunError } from '../failure.ts'
import { type Measurement, measurementsOf } from './measured.ts'

/** Of MLflow's protocol: RunStatus and LifecycleStage. */
const STATUS = { completed: 3, budget_exhausted: 4, failed: 4, cancelled: 5 } as const
const EXPERIMENT = { id: '736f74746f', name: 'sotto' }

/** A name that MLflow takes for a file. */
const safe = (name: string): string => name.replaceAll(/[^A-Za-z0-9_.-]/g, '_')

/** Values of one metric as its file has them: milliseconds, value, step. */
type Series = Map<string, string[]>

/** What MLflow has one file for. */
const nameOf = ({ name, dataset }: Measurement): string => (dataset === undefined ? name : `${name}.${safe(dataset)}`)

export function seriesOf(events: readonly RunEvent[]): Series {
  const series: Series = new Map()
  for (const measurement of events.flatMap(measurementsOf)) {
    const { time, value, round } = measurement
    const name = nameOf(measurement)
    const lines = series.get(name) ?? []
    lines.push(`${time} ${value} ${round}`)
    series.set(name, lines)
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

/** Writes a run that has ended into a file store. @throws RunError */
export function writeStore(run: Run, events: readonly RunEvent[], output: string): { told: object; words: string } {
  const { id, state } = run
  const runId = createHash('sha256').update(id).digest('hex').slice(0, 32)
  const folder = join(output, EXPERIMENT.id, runId)
  const series = seriesOf(events)
  const ended = { ended: events.at(-1)?.time ?? run.created, status: STATUS[state as keyof typeof STATUS] }
  write(output, join(folder, 'artifacts'), [
    [join(output, EXPERIMENT.id, 'meta.yaml'), experimentFile(output, run)],
    [join(folder, 'meta.yaml'), runFile(run, { runId, folder, ...ended })],
    [join(folder, 'tags', 'mlflow.runName'), id],
    [join(folder, 'tags', 'sotto.state'), state],
    [join(folder, 'tags', 'sotto.log'), `${run.head.size} ${run.head.hash}`],
    ...Object.entries(parametersOf(run)).map(([name, value]) => [join(folder, 'params', safe(name)), value] as const),
    ...[...series].map(([name, lines]) => [join(folder, 'metrics', name), `${lines.join('\n')}\n`] as const),
  ])
  return {
    told: { output, runId, experiment: EXPERIMENT.name, metrics: [...series.keys()] },
    words: `${series.size} metrics of ${id} are in ${output}: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri ${output}\n`,
  }
}

function write(output: string, artifacts: string, files: readonly (readonly [string, string])[]): void {
  try {
    mkdirSync(artifacts, { recursive: true })
    for (const [file, text] of files) {
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, text)
    }
  } catch (error) {
    throw new RunError(`${output} cannot be written: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`)
  }
}

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
