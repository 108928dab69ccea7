import { useMemo, useState } from 'preact/hooks'
import type { Sotto } from '../../../../client/index.ts'
import type { Run, RunRequest } from '../../../../shared/api/index.ts'
import { usePlan } from '../accounting.ts'
import type { PlanAnswer } from '../accounting.worker.ts'
import { useAsked } from '../asking.ts'
import { Chart } from '../chart.tsx'
import { allDatasets } from '../datasets.ts'
import { bytes, count, lower, percent, short, span, upper } from '../figures.ts'
import { type Page, show, Trouble } from '../frame.tsx'
import { runOf } from '../live-run.ts'
import { Figure, Figures } from '../parts.tsx'
import { Slider } from '../slider.tsx'

/** What the sliders say. */
interface Wish {
  readonly epsilon: number
  readonly delta: number
  readonly rounds: number
  readonly directions: number
  readonly samplingRate: number
}

const WISH: Wish = { epsilon: 4, delta: 1e-5, rounds: 200, directions: 32, samplingRate: 0.06 }
/** A run of no model in particular: what a schedule costs does not hang on what it trains. */
const PLAIN = {
  model: '0'.repeat(64),
  task: {
    kind: 'prompt-classification',
    template: '{text} {mask}',
    labels: { a: 'a', b: 'b' },
    maxTokens: 64,
    buckets: [64],
  },
  space: { kind: 'lora', rank: 1, sites: [{ name: 'site', inputs: 1, outputs: 1, scale: 1 }] },
} as const satisfies Pick<RunRequest, 'model' | 'task' | 'space'>
const STAGE = { learningRate: 0.1, radius: 0.01, clip: 0.05 } as const
const UNITS = 1000

/** The request that the sliders make; of a run's settings, and those of its first stage, where one is taken for a pattern. */
function requestOf(wish: Wish, datasets: readonly string[], pattern: Run | null): RunRequest {
  const { epsilon, delta, ...stage } = wish
  const budget = { epsilon, delta }
  if (!pattern) return { ...PLAIN, stages: [{ ...STAGE, ...stage }], datasets: [...datasets], budget }
  const { model, task, space, clipping, noise, sides, aggregation, stages } = pattern.spec
  if (space.kind === 'statistic') return requestOf(wish, datasets, null)
  const { noiseMultiplier: _, grid: _grid, space: _space, prune: _prune, ...own } = stages[0]!
  return {
    model,
    task,
    space,
    clipping,
    noise,
    sides,
    aggregation,
    stages: [{ ...own, ...stage }],
    datasets: [...datasets],
    budget,
  }
}

async function givenOf(sotto: Sotto) {
  const datasets = await allDatasets(sotto)
  const { items } = await sotto.answer(sotto.api.v1.runs.$get({ query: { limit: '10' } }))
  const runs = await Promise.all(items.map(({ id }) => runOf(sotto, id)))
  return { datasets, runs: runs.filter(({ job }) => job === 'training') }
}

/** Forward passes of one record that the slowest worker was seen to make in a second; null where none was seen. */
function speedOf(run: Run | null): number | null {
  if (!run) return null
  const { stages, datasets, sides } = run.spec
  let first = 0
  // Of each unit of a dataset, in the rounds so far.
  const passes = stages.reduce((sum, { rounds, samplingRate, directions }) => {
    const done = Math.max(0, Math.min(rounds, run.round - first))
    first += rounds
    return sum + done * samplingRate * (sides === 'two' ? 2 * directions : directions + 1)
  }, 0)
  const speeds = run.spent.flatMap(({ dataset, seconds }) => {
    const { units } = datasets.find(({ id }) => id === dataset)!
    return seconds > 0 ? [(passes * units) / seconds] : []
  })
  return speeds.length === 0 ? null : Math.min(...speeds)
}

const Plan: Page = ({ sotto }) => {
  const { value: given, error } = useAsked(() => givenOf(sotto), 'given')
  const [wish, setWish] = useState<Wish>(WISH)
  const [patternId, setPattern] = useState('')
  const [chosen, setChosen] = useState<readonly string[] | null>(null)
  const [units, setUnits] = useState(UNITS)
  const [speed, setSpeed] = useState<number | null>(null)
  const pattern = given?.runs.find(({ id }) => id === patternId) ?? null
  const names = chosen ?? given?.datasets.map(({ id }) => id) ?? []
  const datasets = useMemo(() => {
    const own = (given?.datasets ?? []).filter(({ id }) => names.includes(id))
    if ((given?.datasets ?? []).length === 0) return [{ id: 'site', units, unit: 'record' as const }]
    return own.map(({ id, units: size, unit }) => ({ id, units: size, unit }))
  }, [given, names.join(), units])
  const request = useMemo(
    () =>
      requestOf(
        wish,
        datasets.map(({ id }) => id),
        pattern,
      ),
    [wish, datasets, pattern],
  )
  const isAsked = datasets.length > 0
  const { answer, isStale, fault } = usePlan(isAsked ? { request, datasets } : null)
  const passes = speed ?? speedOf(pattern) ?? 200
  return (
    <>
      <h1>Plan</h1>
      <p class="soft">
        What a run would cost, computed in this page by the accountant that the coordinator plans with. Nothing is
        spent, and nothing is asked of any data.
      </p>
      <Trouble error={error} />
      <div class="planner">
        <Wishes
          {...{ wish, given, names, units, patternId, passes }}
          on={{
            wish: (part) => setWish((old) => ({ ...old, ...part })),
            names: setChosen,
            units: setUnits,
            pattern: setPattern,
            speed: setSpeed,
          }}
        />
        <div class={isStale ? 'stale' : ''} aria-busy={isStale && isAsked}>
          <Trouble error={fault} />
          {!isAsked ? (
            <p>Choose a dataset.</p>
          ) : answer ? (
            <Outcome answer={answer} passes={passes} wish={wish} />
          ) : (
            <p class="soft">The accountant is at work …</p>
          )}
        </div>
      </div>
      {isAsked && answer?.isPlanned ? <RunFile request={request} /> : null}
    </>
  )
}

interface WishesProps {
  readonly wish: Wish
  readonly given: Awaited<ReturnType<typeof givenOf>> | null
  readonly names: readonly string[]
  readonly units: number
  readonly patternId: string
  readonly passes: number
  readonly on: {
    readonly wish: (part: Partial<Wish>) => void
    readonly names: (names: readonly string[]) => void
    readonly units: (units: number) => void
    readonly pattern: (id: string) => void
    readonly speed: (passes: number) => void
  }
}

/** What is wished for, on sliders. */
function Wishes({ wish, given, names, units, patternId, passes, on }: WishesProps) {
  return (
    <form class="card" aria-label="What is wished" onSubmit={(event) => event.preventDefault()}>
      <Slider
        name="Epsilon"
        value={wish.epsilon}
        least={0.1}
        most={16}
        isLogarithmic
        onChange={(epsilon) => on.wish({ epsilon })}
      />
      <Slider
        name="Rounds"
        value={wish.rounds}
        least={10}
        most={20_000}
        isLogarithmic
        isWhole
        onChange={(rounds) => on.wish({ rounds })}
      />
      <Slider
        name="Directions K"
        value={wish.directions}
        least={1}
        most={512}
        isLogarithmic
        isWhole
        onChange={(directions) => on.wish({ directions })}
      />
      <Slider
        name="Sampling rate q"
        value={wish.samplingRate}
        least={0.001}
        most={1}
        isLogarithmic
        onChange={(samplingRate) => on.wish({ samplingRate })}
      />
      <Slider
        name="Forward passes a second, each site"
        value={passes}
        least={1}
        most={100_000}
        isLogarithmic
        isWhole
        onChange={on.speed}
      />
      <label>
        Delta
        <select value={String(wish.delta)} onChange={(event) => on.wish({ delta: Number(event.currentTarget.value) })}>
          {['0.0001', '0.00001', '0.000001', '1e-7'].map((delta) => (
            <option key={delta} value={String(Number(delta))}>
              {String(Number(delta))}
            </option>
          ))}
        </select>
      </label>
      <label>
        Like the run
        <select value={patternId} onChange={(event) => on.pattern(event.currentTarget.value)}>
          <option value="">none in particular</option>
          {given?.runs.map(({ id }) => (
            <option key={id} value={id}>
              {id}
            </option>
          ))}
        </select>
      </label>
      {given && given.datasets.length > 0 ? (
        <fieldset>
          <legend>Datasets</legend>
          {given.datasets.map(({ id, units: size }) => (
            <label key={id} class="check">
              <input
                type="checkbox"
                checked={names.includes(id)}
                onChange={() => on.names(names.includes(id) ? names.filter((each) => each !== id) : [...names, id])}
              />
              {id} <span class="soft">{count(size)}</span>
            </label>
          ))}
        </fieldset>
      ) : (
        <Slider
          name="Units of the dataset"
          value={units}
          least={10}
          most={1_000_000}
          isLogarithmic
          isWhole
          onChange={on.units}
        />
      )}
    </form>
  )
}

function Outcome({ answer, passes, wish }: { answer: PlanAnswer; passes: number; wish: Wish }) {
  const byRound = answer.isPlanned ? answer.spend.epsilonByRound : null
  const x = useMemo(() => (byRound ?? []).map(({ round }) => round), [byRound])
  const lines = useMemo(
    () => [
      { label: 'epsilon', values: (byRound ?? []).map(({ epsilon }) => epsilon), colour: 5, format: upper },
      { label: 'budget', values: x.map(() => wish.epsilon), colour: 6, format: String },
    ],
    [byRound, x, wish.epsilon],
  )
  if (!answer.isPlanned)
    return (
      <p class="trouble" role="alert">
        {answer.code === 'budget_impossible'
          ? 'No noise fits that budget: raise epsilon, or lower rounds or sampling rate.'
          : `It can not be planned: ${answer.detail}`}
      </p>
    )
  const { spec, spend, work, noiseInClips } = answer
  const [stage] = spec.stages
  const most = Math.max(...spec.datasets.map(({ units }) => units))
  const all = spec.datasets.reduce((sum, { units }) => sum + units, 0)
  // A round waits for its largest dataset.
  const seconds = (work.forwardPasses / passes) * (most / all)
  return (
    <>
      <Figures>
        <Figure
          name="Noise multiplier sigma"
          value={<span data-figure="sigma">{stage!.noiseMultiplier}</span>}
          note="the least that the budget pays for"
        />
        <Figure
          name="Epsilon"
          value={<span data-figure="epsilon">{upper(spend.epsilon)}</span>}
          note={`at least ${lower(spend.epsilonLower)}; ${upper(spend.epsilonRdp)} by Rényi divergences`}
        />
        <Figure
          name="With spare charges"
          value={upper(spend.epsilonWithSpares)}
          note={`${spec.spareCharges} of them, for lost leases`}
        />
        <Figure
          name="Noise of a direction"
          value={short(noiseInClips, 3)}
          note="clips, standard deviation of the mean"
        />
        <Figure
          name="Forward passes"
          value={<span data-figure="passes">{count(work.forwardPasses)}</span>}
          note="of one record, all datasets together"
        />
        <Figure
          name="A round reads"
          value={count(stage!.samplingRate * all)}
          note={`units of ${count(all)}, ${percent(stage!.samplingRate)}`}
        />
        <Figure
          name="A report"
          value={bytes(work.bytesPerReport)}
          note={`at most; ${bytes(work.bytesPerReport * work.rounds * spec.datasets.length)} in all`}
        />
        <Figure name="Time" value={span(seconds)} note="of forward passes alone" />
      </Figures>
      <Chart title="Epsilon by round" along="round" x={x} lines={lines} format={(value) => short(value)} />
    </>
  )
}

/** What to put into a run file. JSON is YAML. */
function RunFile({ request }: { request: RunRequest }) {
  const text = JSON.stringify(
    { ...request, model: request.model === PLAIN.model ? 'path/to/model' : request.model },
    null,
    2,
  )
  return (
    <details class="card wide">
      <summary>As a run file</summary>
      <p class="soft">
        For <code>sotto run create -f run.yaml</code>: JSON is YAML. Task and space are those of{' '}
        {request.model === PLAIN.model
          ? 'no model in particular: put your own'
          : 'the run that it is like, its first stage for the whole'}
        .
      </p>
      <pre tabindex={0} data-figure="request">
        {text}
      </pre>
    </details>
  )
}

show('Plan', Plan)
