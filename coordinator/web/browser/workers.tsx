import type { Sotto } from '../../../client/index.ts'
import type { ReportMetadata, Run } from '../../../shared/api/index.ts'
import { useAsked } from './asking.ts'
import { ago, bytes, short, span } from './figures.ts'
import { Card, Table } from './parts.tsx'

/** Reports that the throughput is measured over. */
const REPORTS = '200'
const AGAIN_MS = 5000

async function workersOf(sotto: Sotto, id: string) {
  const reports = await sotto.answer(
    sotto.api.v1.runs[':id'].reports.$get({ param: { id }, query: { limit: REPORTS } }),
  )
  const seen = new Map<string, number | null>()
  const listed = await sotto.answer(sotto.api.v1.workers.$get({ query: { limit: '200' } }))
  for (const worker of listed.items) seen.set(worker.id, worker.lastSeen)
  return { reports: reports.items as ReportMetadata[], seen }
}

/** Who reported of late, when each was last seen, and how fast it works. */
export function Workers({ sotto, run }: { sotto: Sotto; run: Run }) {
  const { value } = useAsked(
    () => workersOf(sotto, run.id),
    run.id,
    run.state === 'running' ? { everyMs: AGAIN_MS } : {},
  )
  if (!value || value.reports.length === 0) return null
  const workers = [...Map.groupBy(value.reports, ({ worker }) => worker)]
  return (
    <Card title="Workers">
      <Table
        label="Workers"
        head={['Worker', 'Dataset', 'Last seen', 'Newest reports', 'Reports a minute', 'From lease to report', 'Size']}
      >
        {workers.map(([worker, own]) => (
          <WorkerRow key={worker} worker={worker} reports={own} seen={value.seen.get(worker) ?? null} />
        ))}
      </Table>
    </Card>
  )
}

function WorkerRow({
  worker,
  reports,
  seen,
}: {
  worker: string
  reports: readonly ReportMetadata[]
  seen: number | null
}) {
  const times = reports.flatMap(({ received }) => received ?? [])
  const [newest, oldest] = [Math.max(...times), Math.min(...times)]
  const spans = reports.flatMap(({ taken, received }) =>
    taken === null || received === null ? [] : (received - taken) / 1000,
  )
  const mean = (values: readonly number[]) =>
    values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length
  const minutes = (newest - oldest) / 60_000
  const seconds = mean(spans)
  const last = Math.max(seen ?? 0, times.length > 0 ? newest : 0)
  return (
    <tr>
      <th scope="row">{worker}</th>
      <td>
        <a href={`/datasets/${reports[0]!.dataset}`}>{reports[0]!.dataset}</a>
      </td>
      <td>{last === 0 ? '–' : ago(last)}</td>
      <td class="number">{reports.length}</td>
      <td class="number">{minutes > 0 ? short((times.length - 1) / minutes, 3) : '–'}</td>
      <td class="number">{seconds === null ? '–' : span(seconds)}</td>
      <td class="number">{bytes(mean(reports.map((report) => report.bytes)) ?? 0)}</td>
    </tr>
  )
}
