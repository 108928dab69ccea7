import {
  type EngineMethod,
  isEngineMethod,
  METHODS,
  type Method,
  type MethodName,
  type Setting,
  type TunedMethod,
} from './methods.ts'

/**
 * What is tried of each method, on a task's dev rows and one seed at epsilon 2: five steps for each. `step` is eta c: where almost
 * every unit is clipped, as by these clips, the two act as one. All other numbers are the same for all methods, or published.
 */
export const GRID: Readonly<Record<TunedMethod, { steps: readonly number[]; fixed: Omit<Setting, 'learningRate'> }>> = {
  dpzero: { steps: [3e-4, 1e-3, 3e-3, 1e-2, 3e-2], fixed: { clip: 1 } },
  'dp-zoso': { steps: [3e-4, 1e-3, 3e-3, 1e-2, 3e-2], fixed: { clip: 1 } },
  'dp-zopo': { steps: [3e-3, 1e-2, 3e-2, 1e-1, 3e-1], fixed: { clip: 0.3 } },
  'dp-aggzo': { steps: [1.5e-3, 5e-3, 1.5e-2, 5e-2, 1.5e-1], fixed: { clip: 0.25, directions: 16 } },
  sotto: { steps: [3e-3, 1e-2, 3e-2, 1e-1, 3e-1], fixed: { clip: 0.5, directions: 16, rank: 4 } },
  'dp-sgd': { steps: [1e-2, 3e-2, 1e-1, 3e-1, 1], fixed: { clip: 1 } },
}

/** All settings of a method's grid. */
export const gridOf = (method: TunedMethod): Setting[] => {
  const { steps, fixed } = GRID[method]
  return steps.map((step) => ({ learningRate: Number((step / fixed.clip).toPrecision(4)), ...fixed }))
}

type Chosen = Readonly<Record<TunedMethod, Setting>>

/** What did best on the dev rows of sst2, by `--tune --tasks sst2`. */
const SST2: Chosen = {
  dpzero: { learningRate: 0.003, clip: 1 },
  'dp-zoso': { learningRate: 0.03, clip: 1 },
  'dp-zopo': { learningRate: 0.3333, clip: 0.3 },
  'dp-aggzo': { learningRate: 0.06, clip: 0.25, directions: 16 },
  sotto: { learningRate: 0.02, clip: 0.5, directions: 16, rank: 4 },
  'dp-sgd': { learningRate: 0.1, clip: 1 },
}

/** The same of trec6. */
const TREC6: Chosen = {
  dpzero: { learningRate: 0.01, clip: 1 },
  'dp-zoso': { learningRate: 0.03, clip: 1 },
  'dp-zopo': { learningRate: 0.3333, clip: 0.3 },
  'dp-aggzo': { learningRate: 0.2, clip: 0.25, directions: 16 },
  sotto: { learningRate: 0.06, clip: 0.5, directions: 16, rank: 4 },
  'dp-sgd': { learningRate: 0.1, clip: 1 },
}

/** Nothing was tuned on subj: with two classes as well, it takes the numbers of sst2. */
const CHOSEN: Readonly<Record<string, Chosen>> = { sst2: SST2, trec6: TREC6, subj: SST2 }

/** Whose numbers a method takes. */
export const tunedOf = (method: MethodName): TunedMethod | undefined =>
  method === 'dp-sgd' ? method : isEngineMethod(method) ? METHODS[method].settings : undefined

/** @throws RangeError where none was chosen for this task */
export function settingOf(task: string, method: EngineMethod | 'dp-sgd'): Setting {
  const found = CHOSEN[task]?.[tunedOf(method)!]
  if (!found) throw new RangeError(`no setting of ${method} for ${task}: choose one with --tune`)
  const { change }: Partial<Method> = method === 'dp-sgd' ? {} : METHODS[method]
  return { ...found, ...change }
}
