import { useState } from 'preact/hooks'
import type { Sotto } from '../../../../client/index.ts'
import type { Dataset, Run } from '../../../../shared/api/index.ts'
import { useAsked } from '../asking.ts'
import { ago, brief, count, upper } from '../figures.ts'
import { type Page, show, Trouble, Waiting } from '../frame.tsx'
import { runOf } from '../live-run.ts'
import { Bar, Card, Figure, Figures, Rows, State, Table } from '../parts.tsx'
import { idAfter } from '../session.ts'
import { LifetimeBar } from '../spend-bar.tsx'
import { Verify } from '../verify.tsx'

const AGAIN_MS = 5000

const DatasetPage: Page = ({ sotto, token }) => {
  const id = idAfter('datasets')
  const ask = () => sotto.answer(sotto.api.v1.datasets[':id'].$get({ param: { id } }))
  const { value, error } = useAsked<Dataset>(ask, id, { everyMs: AGAIN_MS })
  return (
    <>
      <div class="heading">
        <h1>{id}</h1>
        {value?.policy.frozen ? <span class="state paused">frozen</span> : null}
        {value?.fault ? <span class="state failed">{value.fault}</span> : null}
      </div>
      <Trouble error={error} />
      {value ? <Facts dataset={value} sotto={sotto} /> : error ? null : <Waiting what="the dataset" />}
      {value ? <Verify sotto={sotto} token={token} kind="datasets" id={id} /> : null}
    </>
  )
}

function Facts({ dataset, sotto }: { dataset: Dataset; sotto: Sotto }) {
  const { budget, spent, reserved, units, unit } = dataset
  return (
    <>
      <Figures>
        <Figure
          name="Units"
          value={count(units)}
          note={`${unit}s${dataset.count ? ', counted with noise' : ', declared'}`}
        />
        <Figure
          name="Epsilon so far"
          value={<span data-figure="epsilon">{upper(spent.epsilon)}</span>}
          note={`delta ${budget.delta}; holds whenever it is read`}
        />
        <Figure
          name="Of the lifetime budget"
          value={upper(spent.charges === 0 ? 0 : spent.ofBudget)}
          note={`of ${budget.epsilon}, by the Rényi filter`}
        />
        <Figure name="Reserved" value={count(reserved.charges)} note="charges that running runs may still make" />
        <Figure name="Charges" value={count(spent.charges)} note="of all runs" />
      </Figures>
      <Card title="Lifetime budget" wide>
        <LifetimeBar dataset={dataset} />
        <p class="soft">
          The filter decides on every charge, whichever runs come; it is held to the budget, and begins well above
          nothing. The epsilon so far is the same charges read as an odometer.
        </p>
      </Card>
      <Shares dataset={dataset} sotto={sotto} />
      <div class="columns">
        <Affordable dataset={dataset} sotto={sotto} />
        <Policy dataset={dataset} />
      </div>
    </>
  )
}

const RUNS = '50'

async function sharesOf(sotto: Sotto, dataset: string): Promise<Run[]> {
  const { items } = await sotto.answer(sotto.api.v1.runs.$get({ query: { dataset, limit: RUNS } }))
  return await Promise.all(items.map(({ id }) => runOf(sotto, id)))
}

/** Who spent what. */
function Shares({ dataset, sotto }: { dataset: Dataset; sotto: Sotto }) {
  const { value, error } = useAsked(() => sharesOf(sotto, dataset.id), dataset.id, { everyMs: AGAIN_MS })
  return (
    <Card title="Who spent what" wide>
      <Trouble error={error} />
      {value?.length === 0 ? <p>No run has read it.</p> : null}
      {value?.length === Number(RUNS) ? <p class="soft">The newest {RUNS} runs; the log below has all.</p> : null}
      {value && value.length > 0 ? (
        <Table label="Spend by run" head={['Run', 'State', 'Epsilon of its own budget', 'Charges', 'Begun']}>
          {value.map((run) => {
            const own = run.spent.find((each) => each.dataset === dataset.id)!
            return (
              <tr key={run.id}>
                <th scope="row">
                  <a href={`/runs/${run.id}/privacy`}>{run.id}</a>
                </th>
                <td>
                  <State state={run.state} />
                </td>
                <td>
                  <Bar
                    label={`epsilon ${upper(own.epsilon)}`}
                    whole={run.spec.budget.epsilon}
                    parts={[['spent', own.epsilon]]}
                  />
                  <span class="note">
                    {upper(own.epsilon)} of {run.spec.budget.epsilon}
                  </span>
                </td>
                <td class="number">{count(own.charges)}</td>
                <td>{ago(run.created)}</td>
              </tr>
            )
          })}
        </Table>
      ) : null}
    </Card>
  )
}

function Affordable({ dataset, sotto }: { dataset: Dataset; sotto: Sotto }) {
  const [noiseMultiplier, setNoise] = useState('1')
  const [samplingRate, setRate] = useState('0.05')
  const isAsked = Number(noiseMultiplier) > 0 && Number(samplingRate) >= 1e-6 && Number(samplingRate) <= 1
  const { value, error } = useAsked(
    async () =>
      isAsked
        ? await sotto.answer(
            sotto.api.v1.datasets[':id'].affordable.$get({
              param: { id: dataset.id },
              query: { noiseMultiplier, samplingRate },
            }),
          )
        : null,
    `${noiseMultiplier} ${samplingRate}`,
    { everyMs: AGAIN_MS },
  )
  return (
    <Card title="Rounds still affordable">
      <div class="fields">
        <label>
          Noise multiplier
          <input
            type="number"
            min="0.1"
            step="0.1"
            value={noiseMultiplier}
            onInput={(event) => setNoise(event.currentTarget.value)}
          />
        </label>
        <label>
          Sampling rate
          <input
            type="number"
            min="0.001"
            max="1"
            step="0.01"
            value={samplingRate}
            onInput={(event) => setRate(event.currentTarget.value)}
          />
        </label>
      </div>
      <Trouble error={error} />
      <p aria-live="polite">
        {isAsked ? (
          <>
            <strong data-figure="affordable">{value ? count(value.rounds) : '…'}</strong> rounds of a Gaussian
            mechanism, beside what is charged and reserved.
          </>
        ) : (
          'A noise multiplier above 0, and a rate up to 1.'
        )}
      </p>
    </Card>
  )
}

function Policy({ dataset: { policy } }: { dataset: Dataset }) {
  const rows = [
    ['Frozen', policy.frozen ? 'yes: nothing is charged' : 'no'],
    ['Largest epsilon of a run', policy.maxEpsilon === null ? 'any' : String(policy.maxEpsilon)],
    ['Least noise multiplier', policy.minNoiseMultiplier === null ? 'any' : String(policy.minNoiseMultiplier)],
    ['Least datasets in a round', policy.minDatasets === null ? 'any' : String(policy.minDatasets)],
    ['Models', policy.models === null ? 'any' : policy.models.map(brief).join(', ')],
  ] as const
  return (
    <Card title="What its owner allows">
      <Rows rows={rows} />
    </Card>
  )
}

show(idAfter('datasets'), DatasetPage)
