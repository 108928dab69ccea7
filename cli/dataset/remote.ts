import type { Dataset } from '../../shared/api/index.ts'
import { all, type ConnectionGiven, withCoordinator } from '../connection/index.ts'
import { columns, roundedUp } from '../output.ts'

export interface AddGiven extends ConnectionGiven {
  readonly units: number
  readonly unit: 'record' | 'user'
  readonly epsilon: number
  readonly delta: number
  readonly countNoise?: number
}

const HEADER = ['DATASET', 'UNITS', 'UNIT', 'SPENT', 'OF BUDGET', 'RESERVED', 'BUDGET', 'STATE']

const rowOf = ({ id, units, unit, spent, reserved, budget, policy, fault }: Dataset): string[] => {
  const state = fault ?? (policy.frozen ? 'frozen' : 'open')
  const of = [roundedUp(spent.epsilon), roundedUp(spent.ofBudget), roundedUp(reserved.ofBudget)]
  return [id, String(units), unit, ...of, `${budget.epsilon} at ${budget.delta}`, state]
}

const wordsOf = (datasets: readonly Dataset[]): string =>
  datasets.length === 0 ? 'No datasets.\n' : columns([HEADER, ...datasets.map(rowOf)])

/** `sotto dataset add`. @throws InputError, RefusedError, UnreachableError */
export const addDataset = async (id: string, given: AddGiven): Promise<void> =>
  await withCoordinator(given, async ({ api, answer, tell }) => {
    const { units, unit, epsilon, delta, countNoise } = given
    const count = countNoise === undefined ? {} : { count: { noiseMultiplier: countNoise } }
    const json = { id, units, unit, ...count, budget: { epsilon, delta } }
    const dataset = await answer(api.v1.datasets.$post({ json }))
    tell(dataset, wordsOf([dataset]))
  })

/** `sotto dataset list`. @throws InputError, RefusedError, UnreachableError */
export const listDatasets = async (given: ConnectionGiven): Promise<void> =>
  await withCoordinator(given, async ({ api, answer, tell }) => {
    const datasets = await all((query) => answer(api.v1.datasets.$get({ query })))
    tell(datasets, wordsOf(datasets))
  })

/** `sotto dataset show`. @throws InputError, RefusedError, UnreachableError */
export const showDataset = async (id: string, given: ConnectionGiven): Promise<void> =>
  await withCoordinator(given, async ({ api, answer, tell }) => {
    const dataset = await answer(api.v1.datasets[':id'].$get({ param: { id } }))
    tell(dataset, wordsOf([dataset]))
  })

/** `sotto dataset freeze` and `unfreeze`: the rest of what its owner allows stays. @throws InputError, RefusedError, UnreachableError */
export const freezeDataset = async (id: string, frozen: boolean, given: ConnectionGiven): Promise<void> =>
  await withCoordinator(given, async ({ api, answer, tell }) => {
    const { policy } = await answer(api.v1.datasets[':id'].$get({ param: { id } }))
    const dataset = await answer(api.v1.datasets[':id'].policy.$put({ param: { id }, json: { ...policy, frozen } }))
    tell(dataset, wordsOf([dataset]))
  })
