import { useAsked } from '../asking.ts'
import { allDatasets } from '../datasets.ts'
import { count, upper } from '../figures.ts'
import { type Page, show, Trouble, Waiting } from '../frame.tsx'
import { Table } from '../parts.tsx'
import { LifetimeBar } from '../spend-bar.tsx'

const AGAIN_MS = 10_000
const Datasets: Page = ({ sotto }) => {
  const { value, error } = useAsked(() => allDatasets(sotto), 'datasets', { everyMs: AGAIN_MS })
  return (
    <>
      <h1>Datasets</h1>
      <Trouble error={error} />
      {value === null ? (
        error ? null : (
          <Waiting what="datasets" />
        )
      ) : value.length === 0 ? (
        <p>
          None yet. <code>sotto dataset add ID --units N --epsilon E</code> registers one with its lifetime budget.
        </p>
      ) : (
        <Table label="Datasets" head={['Dataset', 'Units', 'Lifetime budget', 'Epsilon so far', 'Charges', '']}>
          {value.map((dataset) => (
            <tr key={dataset.id}>
              <th scope="row">
                <a href={`/datasets/${dataset.id}`}>{dataset.id}</a>
              </th>
              <td>
                {count(dataset.units)} {dataset.unit}s
              </td>
              <td>
                <LifetimeBar dataset={dataset} />
              </td>
              <td class="number">{upper(dataset.spent.epsilon)}</td>
              <td class="number">{count(dataset.spent.charges)}</td>
              <td>
                {dataset.fault ? (
                  <span class="state failed">{dataset.fault}</span>
                ) : dataset.policy.frozen ? (
                  <span class="state paused">frozen</span>
                ) : null}
              </td>
            </tr>
          ))}
        </Table>
      )}
    </>
  )
}

show('Datasets', Datasets)
