import { createRoute, z } from '@hono/zod-openapi'
import type { Dataset } from '../../shared/api/index.ts'
import type { RunFacts } from '../run/index.ts'
import { findDataset } from './datasets.ts'
import { allow, newApi, problems, security } from './route.ts'
import type { Services } from './services.ts'

/** One series of Prometheus' text format. Labels are ids, which need no quoting. */
interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const HELP: Readonly<Record<string, string>> = {
  sotto_leases_wanted: 'Leases that a worker of the dataset would get now, over all running runs.',
  sotto_dataset_runs: 'Runs of the dataset that go on and are not paused.',
  sotto_runs_running: 'Runs that have not ended, paused ones among them.',
  sotto_run_rounds: 'Rounds of the run.',
  sotto_run_rounds_closed: 'Closed rounds of the run.',
  sotto_run_reports: 'Accepted reports of the run.',
  sotto_run_report_bytes: 'Bytes of accepted reports of the run.',
  sotto_run_report_seconds: 'From lease to accepted report, of the run.',
  sotto_run_epsilon: 'Epsilon that the run has spent.',
  sotto_dataset_epsilon_budget: 'Lifetime epsilon of the dataset.',
  sotto_dataset_epsilon_charged: 'What the filter of the lifetime budget has come to.',
  sotto_dataset_epsilon_reserved: 'The same, with all that running runs have reserved.',
}

const lineOf = ({ name, labels, value }: Sample): string => {
  const named = Object.entries(labels).map(([label, text]) => `${label}="${text}"`)
  return `${name}${named.length > 0 ? `{${named.join(',')}}` : ''} ${value}`
}

/** Samples as Prometheus reads them, those of one name together. */
function expositionOf(samples: readonly Sample[]): string {
  return Object.entries(HELP)
    .flatMap(([name, help]) => {
      const names = [name, `${name}_sum`, `${name}_count`]
      const own = samples.filter((sample) => names.includes(sample.name))
      const type = own.some((sample) => sample.name === `${name}_sum`) ? 'summary' : 'gauge'
      return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...own.map(lineOf)]
    })
    .join('\n')
    .concat('\n')
}

/** What is known of a run that goes on. */
function samplesOfRun({ id, rounds, round, spent }: RunFacts): Sample[] {
  return [
    { name: 'sotto_run_rounds', labels: { run: id }, value: rounds },
    { name: 'sotto_run_rounds_closed', labels: { run: id }, value: round },
    ...spent.flatMap(({ dataset, epsilon, reports, bytes, seconds }): Sample[] => {
      const labels = { run: id, dataset }
      return [
        { name: 'sotto_run_reports', labels, value: reports },
        { name: 'sotto_run_report_bytes', labels, value: bytes },
        { name: 'sotto_run_report_seconds_sum', labels, value: seconds },
        { name: 'sotto_run_report_seconds_count', labels, value: reports },
        { name: 'sotto_run_epsilon', labels, value: epsilon },
      ]
    }),
  ]
}

/** How many of the ids there are, by id. */
function countsOf(ids: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1)
  return counts
}

function samplesOfDataset(
  { id, budget, spent, reserved }: Dataset,
  { wanted, running }: { wanted: number; running: number },
): Sample[] {
  const labels = { dataset: id }
  return [
    // Zeros too: an autoscaler has to see that nobody is wanted.
    { name: 'sotto_leases_wanted', labels, value: wanted },
    { name: 'sotto_dataset_runs', labels, value: running },
    { name: 'sotto_dataset_epsilon_budget', labels, value: budget.epsilon },
    { name: 'sotto_dataset_epsilon_charged', labels, value: spent.ofBudget },
    { name: 'sotto_dataset_epsilon_reserved', labels, value: reserved.ofBudget },
  ]
}

const PAGE = 200

async function allDatasets(services: Services): Promise<Dataset[]> {
  const datasets: Dataset[] = []
  let cursor: string | undefined
  do {
    const page = await services.directory.listDatasets({ cursor, limit: PAGE })
    datasets.push(...(await Promise.all(page.items.map((id) => findDataset(services, id)))))
    cursor = page.next ?? undefined
  } while (cursor !== undefined)
  return datasets
}

/** Nothing is counted beside the actors, so that both hosts say the same, after a restart too. */
async function allSamples(services: Services): Promise<Sample[]> {
  const ids = await services.directory.runningRuns()
  const found = await Promise.all(ids.map(async (id) => (await services.runs.get(id)).describe()))
  const runs = found.filter((run) => run !== null)
  const datasets = await allDatasets(services)
  const wanted = countsOf(runs.flatMap((run) => run.wanted))
  const going = runs.filter(({ state }) => state === 'running')
  const running = countsOf(going.flatMap(({ spec }) => spec.datasets.map(({ id }) => id)))
  return [
    { name: 'sotto_runs_running', labels: {}, value: runs.length },
    ...runs.flatMap(samplesOfRun),
    ...datasets.flatMap((dataset) =>
      samplesOfDataset(dataset, { wanted: wanted.get(dataset.id) ?? 0, running: running.get(dataset.id) ?? 0 }),
    ),
  ]
}

/**
 * Figures for a monitor and for an autoscaler of workers. A lease that is held is wanted no more: who stops workers goes by the
 * runs of their dataset, as a worker that is stopped over a lease costs that dataset another charge.
 */
export function metricRoutes(services: Services) {
  const metrics = createRoute({
    method: 'get',
    path: '/metrics',
    summary: 'Runs, leases and budgets, in the text format of Prometheus',
    security,
    middleware: allow(services, 'admin', 'operator', 'auditor'),
    responses: { 200: { description: 'Gauges.', content: { 'text/plain': { schema: z.string() } } }, ...problems },
  })
  return newApi().openapi(metrics, async (c) => {
    return c.text(expositionOf(await allSamples(services)), 200, {
      'Content-Type': 'text/plain; version=0.0.4; charset=utf-8',
    })
  })
}
