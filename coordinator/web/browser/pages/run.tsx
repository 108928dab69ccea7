import { useMemo, useState } from 'preact/hooks'
import type { Sotto } from '../../../../client/index.ts'
import type { Curves, Run, RunEvent } from '../../../../shared/api/index.ts'
import { totalRounds } from '../../../../shared/zo/schedule.ts'
import { brief, bytes, count, moment, percent, short, timeOfDay, upper } from '../figures.ts'
import { type Page, show, Trouble, Waiting } from '../frame.tsx'
import { runOf, useLiveRun } from '../live-run.ts'
import { Bar, Card, Figure, Figures, Rows, RunTabs, State, Table } from '../parts.tsx'
import { RoundCharts } from '../round-charts.tsx'
import { idAfter } from '../session.ts'
import { lossBand, WINDOW } from '../smoothing.ts'
import { Workers } from '../workers.tsx'

const RunPage: Page = ({ sotto, token }) => {
  const id = idAfter('runs')
  const live = useLiveRun({ sotto, token, id })
  const { run, curves, events, error } = live
  if (!run)
    return (
      <>
        <h1>{id}</h1>
        <Trouble error={error} />
        {error ? null : <Waiting what="the run" />}
      </>
    )
  return (
    <>
      <div class="heading">
        <h1>{id}</h1>
        <State state={run.state} />
        <Verbs sotto={sotto} run={run} onDone={live.refresh} />
      </div>
      <RunTabs id={id} here="run" />
      <Trouble error={error} />
      {run.reason === null ? null : <p class="trouble">{run.reason}</p>}
      <Glance run={run} curves={curves} />
      {curves ? <Strip run={run} curves={curves} /> : <Waiting what="rounds" />}
      {curves ? <RoundCharts run={run} curves={curves} /> : null}
      <Stages run={run} />
      <Workers sotto={sotto} run={run} />
      <div class="columns">
        <Events events={events} />
        <Settings run={run} sotto={sotto} />
      </div>
    </>
  )
}

/** The answer that does nothing is the one that a second press of the same key gives. */
const focus = (button: HTMLButtonElement | null) => button?.focus()

/** What may be done to a run; each is asked about once more before it is done. */
function Verbs({ sotto, run, onDone }: { sotto: Sotto; run: Run; onDone: () => Promise<void> }) {
  const [asked, setAsked] = useState<'pause' | 'resume' | 'cancel' | null>(null)
  const [error, setError] = useState<unknown>(null)
  if (run.state !== 'running' && run.state !== 'paused') return null
  const act = async () => {
    try {
      if (asked) await sotto.answer(sotto.api.v1.runs[':id'][asked].$post({ param: { id: run.id } }))
      setError(null)
    } catch (fault) {
      setError(fault)
    }
    setAsked(null)
    await onDone()
  }
  const verb = run.state === 'paused' ? 'resume' : 'pause'
  return (
    <div class="verbs">
      <Trouble error={error} />
      {asked === null ? (
        <>
          <button key="verb" type="button" class="quiet" onClick={() => setAsked(verb)}>
            {verb === 'pause' ? 'Pause' : 'Resume'}
          </button>
          <button key="cancel" type="button" class="quiet" onClick={() => setAsked('cancel')}>
            Cancel
          </button>
        </>
      ) : (
        <>
          <span>{asked === 'cancel' ? 'Cancel for good? What it spent stays spent.' : `Really ${asked}?`}</span>
          <button key="yes" type="button" onClick={() => void act()}>
            Yes, {asked}
          </button>
          <button key="no" type="button" class="quiet" ref={focus} onClick={() => setAsked(null)}>
            No
          </button>
        </>
      )}
    </div>
  )
}

function Glance({ run, curves }: { run: Run; curves: Curves | null }) {
  const { epsilon, delta } = run.spec.budget
  const spent = Math.max(0, ...run.spent.map((each) => each.epsilon))
  const band = useMemo(() => (curves ? lossBand(curves) : null), [curves])
  const half = band?.half.at(-1) ?? null
  const { evaluation } = run
  const share = evaluation?.correct == null || evaluation.records === 0 ? null : evaluation.correct / evaluation.records
  return (
    <Figures>
      <Figure name="Rounds" value={count(run.round)} note={`of ${count(run.rounds)}`} />
      <Figure
        name="Epsilon spent"
        value={<span data-figure="epsilon">{upper(spent)}</span>}
        note={`of ${epsilon}, delta ${delta}`}
      />
      <Figure
        name="Private loss"
        value={<span data-figure="loss">{short(run.privateLoss)}</span>}
        note={half === null ? `mean of ${WINDOW} rounds` : `± ${short(half, 2)} by its noise`}
      />
      <Figure name="Signal to noise" value={short(run.signalToNoise, 3)} note="power, of what is released" />
      <Figure
        name="Clipped"
        value={percent(run.clippedShare)}
        note={run.clippedShare === null ? 'not asked for' : 'of units, noised'}
      />
      <Figure
        name="On public data"
        value={share === null ? short(evaluation?.loss == null ? null : evaluation.loss / 1e6) : percent(share)}
        note={evaluation ? `after ${count(evaluation.round)} rounds` : 'not evaluated'}
      />
    </Figures>
  )
}

/** Rounds that the strip shows: the newest. */
const STRIP = 120

function Strip({ run, curves }: { run: Run; curves: Curves }) {
  const closed = curves.closed.length
  const first = Math.max(0, Math.min(closed, run.rounds) - STRIP)
  const cells = curves.closed.slice(first).map((time, i) => {
    const round = first + i
    const [reports, lost] = [curves.reports[round]!, curves.lost[round]!]
    const look = lost > 0 ? 'lost' : reports < run.spec.datasets.length ? 'partial' : 'closed'
    return {
      round,
      look,
      text: `Round ${round}: ${reports} reports${lost > 0 ? `, ${lost} leases lost` : ''}, ${timeOfDay(time)}`,
    }
  })
  const isOpen = (run.state === 'running' || run.state === 'paused') && closed < run.rounds
  const lost = cells.filter(({ look }) => look === 'lost').length
  const label = `The last ${cells.length} closed rounds, ${lost === 0 ? 'none' : lost} with a lost lease${isOpen ? `; round ${closed} is under way` : ''}.`
  return (
    <section class="card" aria-label="Rounds">
      <h2>Rounds</h2>
      <div class="strip" role="img" aria-label={label}>
        {cells.map(({ round, look, text }) => (
          <span key={round} class={look} title={text} />
        ))}
        {isOpen ? <span class="open" title={`Round ${closed} is under way`} /> : null}
      </div>
      <p class="soft">{label}</p>
    </section>
  )
}

function Stages({ run }: { run: Run }) {
  const { stages } = run.spec
  const whole = totalRounds(stages)
  let first = 0
  const spans = stages.map((stage, index) => {
    const done = Math.max(0, Math.min(stage.rounds, run.round - first))
    const at = first
    first += stage.rounds
    return { stage, index, done, at }
  })
  return (
    <Card title="Stages">
      <div class="timeline" aria-hidden="true">
        {spans.map(({ stage, index, done }) => (
          <span key={index} style={{ flexGrow: stage.rounds / whole }}>
            <span style={{ width: `${(100 * done) / stage.rounds}%` }} />
          </span>
        ))}
      </div>
      <Table
        label="Stages"
        head={[
          'Stage',
          'Rounds',
          'Done',
          'Directions K',
          'Sampling rate q',
          'Noise multiplier',
          'Clip',
          'Radius',
          'Learning rate',
        ]}
      >
        {spans.map(({ stage, index, done, at }) => (
          <tr key={index}>
            <th scope="row">{index + 1}</th>
            <td class="number">
              {count(at)} to {count(at + stage.rounds - 1)}
            </td>
            <td class="number">{percent(done / stage.rounds)}</td>
            <td class="number">{stage.directions}</td>
            <td class="number">{short(stage.samplingRate)}</td>
            <td class="number">{short(stage.noiseMultiplier, 6)}</td>
            <td class="number">{short(stage.clip)}</td>
            <td class="number">{short(stage.radius)}</td>
            <td class="number">{short(stage.learningRate)}</td>
          </tr>
        ))}
      </Table>
    </Card>
  )
}

function Events({ events }: { events: readonly RunEvent[] }) {
  return (
    <Card title="Events">
      <section class="events" aria-label="Newest events" tabindex={0}>
        <ol>
          {events.map((event) => (
            <li key={event.seq}>
              <time>{timeOfDay(event.time)}</time> {textOf(event)}
            </li>
          ))}
        </ol>
      </section>
    </Card>
  )
}

function textOf(event: RunEvent): string {
  switch (event.type) {
    case 'run.created':
      return `begun, ${event.rounds} rounds`
    case 'round.opened':
      return `round ${event.round} opened`
    case 'round.closed':
      return `round ${event.round} closed${event.privateLoss === null ? '' : `, private loss ${short(event.privateLoss, 3)}`}`
    case 'round.evaluated':
      return event.evaluation ? `evaluated after ${event.round} rounds` : `not evaluated after ${event.round} rounds`
    case 'stage.masked':
      return `stage ${event.stage + 1} has its mask`
    case 'lease.lost':
      return `round ${event.round}: the lease of ${event.dataset} was lost, and its charge stays`
    case 'run.paused':
      return 'paused'
    case 'run.resumed':
      return 'goes on'
    case 'run.ended':
      return `ended: ${event.state.replace('_', ' ')}`
  }
}

/** Its address is signed for an hour: asked for when it is wanted. */
function AdapterButton({ sotto, run, bytesOf }: { sotto: Sotto; run: Run; bytesOf: number }) {
  const [error, setError] = useState<unknown>(null)
  const download = async () => {
    try {
      const { adapter } = await runOf(sotto, run.id)
      const url = URL.parse(adapter?.url ?? '', location.origin)
      if (url && /^https?:$/.test(url.protocol)) location.assign(url)
    } catch (fault) {
      setError(fault)
    }
  }
  return (
    <p>
      <Trouble error={error} />
      <button type="button" onClick={() => void download()}>
        Adapter, {bytes(bytesOf)}
      </button>
    </p>
  )
}

function Settings({ run, sotto }: { run: Run; sotto: Sotto }) {
  const { spec } = run
  const space = spec.space.kind === 'lora' ? `LoRA, rank ${spec.space.rank}` : spec.space.kind
  const rows = [
    ['Begun', moment(run.created)],
    ['Task', spec.task.kind.replaceAll('-', ' ')],
    ['Trains', space],
    ['Method', `${spec.clipping} clipping, ${spec.noise} noise, ${spec.sides}-sided`],
    ['Aggregation', spec.aggregation.rule],
    ['Model', brief(spec.model)],
    ['Spec', brief(run.specHash)],
    ['State', run.stateHash === null ? '–' : brief(run.stateHash)],
    ['Log', `${count(run.head.size)} records`],
  ] as const
  return (
    <Card title="Settings">
      <Rows rows={rows}>
        {spec.datasets.map(({ id, units, unit }) => {
          const own = run.spent.find(({ dataset }) => dataset === id)
          return (
            <div key={id}>
              <dt>
                <a href={`/datasets/${id}`}>{id}</a>
              </dt>
              <dd>
                {count(units)} {unit}s
                <Bar
                  label={`epsilon ${upper(own?.epsilon ?? 0)} of ${spec.budget.epsilon}`}
                  whole={spec.budget.epsilon}
                  parts={[['spent', own?.epsilon ?? 0]]}
                />
              </dd>
            </div>
          )
        })}
      </Rows>
      {run.adapter ? <AdapterButton sotto={sotto} run={run} bytesOf={run.adapter.bytes} /> : null}
    </Card>
  )
}

show(idAfter('runs'), RunPage)
