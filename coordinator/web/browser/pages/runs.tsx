import { useState } from 'preact/hooks'
import type { Sotto } from '../../../../client/index.ts'
import type { Run } from '../../../../shared/api/index.ts'
import { useAsked } from '../asking.ts'
import { ago, percent, short, upper } from '../figures.ts'
import { type Page, show, Trouble, Waiting } from '../frame.tsx'
import { runOf } from '../live-run.ts'
import { Bar, State, Table } from '../parts.tsx'

const PAGE = '20'
const AGAIN_MS = 5000
const FILTERS = ['all', 'running', 'paused', 'completed', 'cancelled', 'budget_exhausted', 'failed'] as const
type Filter = (typeof FILTERS)[number]

async function runsOf(
  sotto: Sotto,
  filter: Filter,
  cursor: string | null,
): Promise<{ runs: Run[]; next: string | null }> {
  const query = { limit: PAGE, ...(filter === 'all' ? {} : { state: filter }), ...(cursor === null ? {} : { cursor }) }
  const page = await sotto.answer(sotto.api.v1.runs.$get({ query }))
  return { runs: await Promise.all(page.items.map(({ id }) => runOf(sotto, id))), next: page.next }
}

const Runs: Page = ({ sotto }) => {
  const [filter, setFilter] = useState<Filter>('all')
  const [cursors, setCursors] = useState<readonly (string | null)[]>([null])
  const [chosen, setChosen] = useState<readonly string[]>([])
  const cursor = cursors.at(-1) ?? null
  const { value, error } = useAsked(() => runsOf(sotto, filter, cursor), `${filter} ${cursor}`, { everyMs: AGAIN_MS })
  const toggle = (id: string) =>
    setChosen((old) => (old.includes(id) ? old.filter((each) => each !== id) : [...old, id]))
  return (
    <>
      <div class="heading">
        <h1>Runs</h1>
        <label class="inline">
          State
          <select
            value={filter}
            onChange={(event) => {
              setFilter(event.currentTarget.value as Filter)
              setCursors([null])
            }}
          >
            {FILTERS.map((name) => (
              <option key={name} value={name}>
                {name.replace('_', ' ')}
              </option>
            ))}
          </select>
        </label>
        <button
          type="button"
          disabled={chosen.length < 2}
          onClick={() => location.assign(`/runs/compare?runs=${chosen.join(',')}`)}
        >
          Compare {chosen.length > 1 ? chosen.length : ''}
        </button>
      </div>
      <Trouble error={error} />
      {value === null ? (
        error ? null : (
          <Waiting what="runs" />
        )
      ) : value.runs.length === 0 ? (
        <Empty />
      ) : (
        <Table
          label="Runs"
          head={['', 'Run', 'State', 'Rounds', 'Private loss', 'On public data', 'Epsilon of the budget', 'Begun']}
        >
          {value.runs.map((run) => (
            <Row key={run.id} run={run} isChosen={chosen.includes(run.id)} onChoose={() => toggle(run.id)} />
          ))}
        </Table>
      )}
      <div class="pager">
        <button
          type="button"
          class="quiet"
          disabled={cursors.length < 2}
          onClick={() => setCursors((old) => old.slice(0, -1))}
        >
          Newer
        </button>
        <button
          type="button"
          class="quiet"
          disabled={!value?.next}
          onClick={() => setCursors((old) => [...old, value!.next])}
        >
          Older
        </button>
      </div>
    </>
  )
}

const Empty = () => (
  <div class="card narrow">
    <p>No run yet.</p>
    <p>
      <code>sotto run create -f run.yaml --wait</code> starts one; the <a href="/plan">plan page</a> says beforehand
      what it would cost.
    </p>
  </div>
)

function Row({ run, isChosen, onChoose }: { run: Run; isChosen: boolean; onChoose: () => void }) {
  const spent = Math.max(0, ...run.spent.map(({ epsilon }) => epsilon))
  const { epsilon } = run.spec.budget
  const { evaluation } = run
  const share = evaluation?.correct == null || evaluation.records === 0 ? null : evaluation.correct / evaluation.records
  return (
    <tr>
      <td>
        <input type="checkbox" aria-label={`Compare ${run.id}`} checked={isChosen} onChange={onChoose} />
      </td>
      <th scope="row">
        <a href={`/runs/${run.id}`}>{run.id}</a>
        <span class="note">
          {run.job === 'statistic' ? 'statistic' : run.spec.task.kind.replaceAll('-', ' ')}, {run.spec.datasets.length}{' '}
          dataset
          {run.spec.datasets.length === 1 ? '' : 's'}
        </span>
      </th>
      <td>
        <State state={run.state} />
      </td>
      <td>
        <Bar label={`${run.round} of ${run.rounds} rounds`} whole={run.rounds} parts={[['done', run.round]]} />
        <span class="note">
          {run.round} of {run.rounds}
        </span>
      </td>
      <td class="number">{short(run.privateLoss, 3)}</td>
      <td class="number">
        {share === null ? short(evaluation?.loss == null ? null : evaluation.loss / 1e6, 3) : percent(share)}
      </td>
      <td>
        <Bar label={`epsilon ${upper(spent)} of ${epsilon}`} whole={epsilon} parts={[['spent', spent]]} />
        <span class="note">
          {upper(spent)} of {epsilon}
        </span>
      </td>
      <td>{ago(run.created)}</td>
    </tr>
  )
}

show('Runs', Runs)
