import { useMemo } from 'preact/hooks'
import type { Sotto } from '../../../../client/index.ts'
import type { Curves, Run } from '../../../../shared/api/index.ts'
import { useAsked } from '../asking.ts'
import { Chart, type Line } from '../chart.tsx'
import { count, percent, short, upper } from '../figures.ts'
import { type Page, show, Trouble, Waiting } from '../frame.tsx'
import { curvesFrom, runOf } from '../live-run.ts'
import { State, Table } from '../parts.tsx'
import { isId } from '../session.ts'
import { runningMean, WINDOW } from '../smoothing.ts'

/** As many as there are colours to tell them by. */
const MOST = 6
const AGAIN_MS = 5000

const ids = (new URLSearchParams(location.search).get('runs') ?? '').split(',').filter(isId).slice(0, MOST)

interface Compared {
  readonly run: Run
  readonly curves: Curves
}

const known = new Map<string, Compared>()

/** Of a run that has ended nothing is asked again, and of another one what has come since. */
async function comparedOf(sotto: Sotto, id: string): Promise<Compared> {
  const before = known.get(id)
  if (before && before.run.state !== 'running' && before.run.state !== 'paused') return before
  const now = { run: await runOf(sotto, id), curves: await curvesFrom(sotto, id, before?.curves ?? null) }
  known.set(id, now)
  return now
}

const allOf = (sotto: Sotto): Promise<Compared[]> => Promise.all(ids.map((id) => comparedOf(sotto, id)))

const Compare: Page = ({ sotto }) => {
  const { value, error } = useAsked(() => allOf(sotto), ids.join(), { everyMs: AGAIN_MS })
  return (
    <>
      <h1>Compare</h1>
      {ids.length === 0 ? (
        <p>
          Choose runs in the <a href="/runs">list</a>.
        </p>
      ) : null}
      <Trouble error={error} />
      {value ? <Comparison runs={value} /> : error || ids.length === 0 ? null : <Waiting what="runs" />}
    </>
  )
}

/** Lines of several runs over one row of x values: null where a run has none there. */
function over(x: readonly number[], points: ReadonlyMap<number, number | null>) {
  return x.map((at) => points.get(at) ?? null)
}

function Comparison({ runs }: { runs: readonly Compared[] }) {
  const rounds = useMemo(() => {
    const longest = Math.max(0, ...runs.map(({ curves }) => curves.closed.length))
    return Array.from({ length: longest }, (_, i) => i)
  }, [runs])
  const lines = (valuesOf: (curves: Curves) => readonly (number | null)[]): Line[] =>
    runs.map(({ run, curves }, i) => {
      const values = runningMean(valuesOf(curves))
      return { label: run.id, values: rounds.map((_, at) => values[at] ?? null), colour: i + 1 }
    })
  const loss = useMemo(() => lines(({ privateLoss }) => privateLoss), [runs])
  const signal = useMemo(() => lines(({ signalToNoise }) => signalToNoise), [runs])
  const evaluated = useMemo(() => {
    const x = [...new Set(runs.flatMap(({ curves }) => curves.evaluations.map(({ round }) => round)))].sort(
      (a, b) => a - b,
    )
    const own = runs.map(({ run, curves }, i): Line => {
      const points = curves.evaluations.map(
        ({ round, correct, records }) => [round, correct === null || records === 0 ? null : correct / records] as const,
      )
      return { label: run.id, values: over(x, new Map(points)), colour: i + 1 }
    })
    return { x, lines: own }
  }, [runs])
  return (
    <>
      <Table
        label="Runs"
        head={[
          '',
          ...runs.map(({ run }) => (
            <a key={run.id} href={`/runs/${run.id}`}>
              {run.id}
            </a>
          )),
        ]}
      >
        {ROWS.map(([name, tell]) => {
          const told = runs.map(({ run }) => tell(run))
          const differs = new Set(told).size > 1
          return (
            <tr key={name} class={differs ? 'differs' : ''}>
              <th scope="row">{name}</th>
              {told.map((text, i) => (
                <td key={runs[i]!.run.id}>{text}</td>
              ))}
            </tr>
          )
        })}
        <tr>
          <th scope="row">State</th>
          {runs.map(({ run }) => (
            <td key={run.id}>
              <State state={run.state} />
            </td>
          ))}
        </tr>
      </Table>
      <div class="charts">
        <Chart
          title={`Private loss, mean of ${WINDOW} rounds, in nats`}
          along="round"
          x={rounds}
          lines={loss}
          group="compare"
        />
        {evaluated.lines.some(({ values }) => values.some((value) => value !== null)) ? (
          <Chart
            title="Share of public records whose label the model finds"
            along="closed rounds"
            x={evaluated.x}
            lines={evaluated.lines}
            format={percent}
          />
        ) : null}
        <Chart
          title={`Signal to noise, mean of ${WINDOW} rounds`}
          along="round"
          x={rounds}
          lines={signal}
          group="compare"
        />
      </div>
    </>
  )
}

const byStage = (tell: (stage: Run['spec']['stages'][number]) => number) => (run: Run) =>
  run.spec.stages.map((stage) => short(tell(stage), 5)).join(', ')

const ROWS: readonly (readonly [string, (run: Run) => string])[] = [
  ['Rounds', (run) => `${count(run.round)} of ${count(run.rounds)}`],
  ['Epsilon spent', (run) => upper(Math.max(0, ...run.spent.map(({ epsilon }) => epsilon)))],
  ['Budget', ({ spec }) => `${spec.budget.epsilon}, delta ${spec.budget.delta}`],
  ['Private loss', (run) => short(run.privateLoss)],
  [
    'On public data',
    ({ evaluation }) => (evaluation?.correct == null ? '–' : percent(evaluation.correct / evaluation.records)),
  ],
  ['Datasets', ({ spec }) => spec.datasets.map(({ id }) => id).join(', ')],
  ['Method', ({ spec }) => `${spec.clipping}, ${spec.noise}, ${spec.sides}-sided`],
  ['Aggregation', ({ spec }) => spec.aggregation.rule],
  ['Trains', ({ spec }) => (spec.space.kind === 'lora' ? `LoRA, rank ${spec.space.rank}` : spec.space.kind)],
  ['Noise multiplier', byStage(({ noiseMultiplier }) => noiseMultiplier)],
  ['Sampling rate', byStage(({ samplingRate }) => samplingRate)],
  ['Directions', byStage(({ directions }) => directions)],
  ['Clip', byStage(({ clip }) => clip)],
  ['Radius', byStage(({ radius }) => radius)],
  ['Learning rate', byStage(({ learningRate }) => learningRate)],
]

show('Compare', Compare)
