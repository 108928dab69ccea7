import { useMemo, useState } from 'preact/hooks'
import type { Curves, Run } from '../../../../shared/api/index.ts'
import { useSpend } from '../accounting.ts'
import type { SpendPoint } from '../accounting.worker.ts'
import { Chart } from '../chart.tsx'
import { count, lower, short, upper } from '../figures.ts'
import { type Page, show, Trouble, Waiting } from '../frame.tsx'
import { useLiveRun } from '../live-run.ts'
import { Bar, Card, Figure, Figures, RunTabs, State, Table } from '../parts.tsx'
import { idAfter } from '../session.ts'
import { sparesLeft } from '../spending.ts'

const PrivacyPage: Page = ({ sotto, token }) => {
  const id = idAfter('runs')
  const { run, curves, error } = useLiveRun({ sotto, token, id })
  return (
    <>
      <div class="heading">
        <h1>{id}</h1>
        {run ? <State state={run.state} /> : null}
      </div>
      <RunTabs id={id} here="privacy" />
      <Trouble error={error} />
      {run && curves ? <Privacy run={run} curves={curves} /> : error ? null : <Waiting what="what was spent" />}
    </>
  )
}

function Privacy({ run, curves }: { run: Run; curves: Curves }) {
  const dearest = run.spent.toSorted((a, b) => b.epsilon - a.epsilon)[0]!
  const [chosen, setChosen] = useState<string | null>(null)
  const dataset = chosen ?? dearest.dataset
  const spent = run.spent.find((each) => each.dataset === dataset)!
  const question = useMemo(() => questionOf(run, curves, dataset), [run, curves, dataset])
  const { points, isDone, fault } = useSpend(question)
  const spares = sparesLeft(question, run.round)
  const now = points.find(({ round }) => round === question.opened)
  const last = points.at(-1)
  const { epsilon: budget, delta } = run.spec.budget
  const hasEnded = run.state !== 'running' && run.state !== 'paused'
  return (
    <>
      <Guarantee run={run} />
      <Figures>
        <Figure
          name={`Spent of ${dataset}`}
          value={<span data-figure="epsilon">{upper(spent.epsilon)}</span>}
          note={now ? `at least ${lower(now.lower)}; ${upper(now.rdp)} by Rényi divergences` : 'certified upper bound'}
        />
        <Figure name="Budget of the run" value={budget} note={`delta ${delta}`} />
        <Figure
          name={hasEnded ? 'Left over' : 'At the last round'}
          value={
            hasEnded
              ? lower(Math.max(0, budget - spent.epsilon))
              : last?.round === run.rounds
                ? upper(last.epsilon)
                : '…'
          }
          note={hasEnded ? 'of the budget, and never spent' : 'if no more lease is lost'}
        />
        <Figure name="Charges" value={count(spent.charges)} note={`${count(spent.reports)} reports came of them`} />
        <Figure
          name="Spare charges"
          value={count(spares.left)}
          note={`left of ${count(spares.of)}, for leases lost at this noise`}
        />
      </Figures>
      <SpendChart points={points} opened={question.opened} budget={budget} hasEnded={hasEnded} />
      <Trouble error={fault} />
      {isDone || fault ? null : <p class="soft">The accountant is at work in this page …</p>}
      <Card title="By dataset">
        <Table
          label="Spend by dataset"
          head={['Dataset', 'Epsilon of the budget', 'Charges', 'Reports', 'Charged again', '']}
        >
          {run.spent.map((each) => (
            <tr key={each.dataset}>
              <th scope="row">
                <a href={`/datasets/${each.dataset}`}>{each.dataset}</a>
              </th>
              <td>
                <Bar
                  label={`epsilon ${upper(each.epsilon)} of ${budget}`}
                  whole={budget}
                  parts={[['spent', each.epsilon]]}
                />
                <span class="note">
                  {upper(each.epsilon)} of {budget}
                </span>
              </td>
              <td class="number">{count(each.charges)}</td>
              <td class="number">{count(each.reports)}</td>
              <td class="number">{curves.recharged.filter((charge) => charge.dataset === each.dataset).length}</td>
              <td>
                <button
                  type="button"
                  class="quiet"
                  aria-pressed={each.dataset === dataset}
                  onClick={() => setChosen(each.dataset)}
                >
                  Show
                </button>
              </td>
            </tr>
          ))}
        </Table>
      </Card>
    </>
  )
}

function questionOf(run: Run, curves: Curves, dataset: string) {
  const { stages, noise, budget, spareCharges } = run.spec
  const recharged = curves.recharged.filter((charge) => charge.dataset === dataset).map(({ round }) => round)
  // Each opened round has charged each dataset once, so that the count says how many there were.
  const charges = run.spent.find((each) => each.dataset === dataset)!.charges
  return { spec: { stages, noise, budget, spareCharges }, opened: charges - recharged.length, recharged }
}

/** The guarantee in words. */
function Guarantee({ run }: { run: Run }) {
  const { budget, datasets, noise } = run.spec
  const units = [...new Set(datasets.map(({ unit }) => unit))].join(' or ')
  return (
    <p class="statement">
      Whoever sees everything that this run releases of a dataset, the coordinator included, can tell whether any one{' '}
      {units} was in it only as well as ({budget.epsilon}, {budget.delta})-differential privacy allows:{' '}
      {noise === 'gaussian' ? 'Gaussian' : 'Laplace'} noise is added where the data lie, and the run ends before it
      would spend more. Epsilon is certified: an upper bound of the true one, computed here as the coordinator and any
      auditor compute it.
    </p>
  )
}

interface SpendChartProps {
  readonly points: readonly SpendPoint[]
  readonly opened: number
  readonly budget: number
  readonly hasEnded: boolean
}

function SpendChart({ points, opened, budget, hasEnded }: SpendChartProps) {
  const shown = useMemo(
    () => (hasEnded ? points.filter(({ round }) => round <= opened) : points),
    [points, opened, hasEnded],
  )
  const x = useMemo(() => shown.map(({ round }) => round), [shown])
  const lines = useMemo(
    () => [
      {
        label: 'spent',
        values: shown.map(({ round, epsilon }) => (round <= opened ? epsilon : null)),
        colour: 5,
        format: upper,
      },
      {
        label: 'forecast',
        values: shown.map(({ round, epsilon }) => (round >= opened ? epsilon : null)),
        colour: 5,
        format: upper,
        look: 'dashed',
      } as const,
      {
        label: 'by Rényi divergences',
        values: shown.map(({ rdp }) => rdp),
        colour: 2,
        format: upper,
        look: 'dashed',
      } as const,
      { label: 'budget', values: shown.map(() => budget), colour: 6, format: String },
    ],
    [shown, opened, budget],
  )
  return (
    <Chart
      title="Epsilon by round: certified by privacy loss distributions, beside what Rényi divergences say"
      along="round"
      x={x}
      lines={lines}
      format={(value) => short(value)}
      height={280}
    />
  )
}

show(`Privacy of ${idAfter('runs')}`, PrivacyPage)
