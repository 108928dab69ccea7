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
 * What is tried of each method, on a task's dev rows and one seed at epsilon 2: four steps for each. `step` is eta c: where almost
 * every unit is clipped, as by these clips, the two act as one. All other numbers are the same for all methods, or published.
 */
export const GRID: Readonly<Record<TunedMethod, { steps: readonly number[]; fixed: Omit<Setting, 'learningRate'> }>> = {
  dpzero: { steps: [3e-4, 1e-3, 3e-3, 1e-2], fixed: { clip: 1 } },
  'dp-zoso': { steps: [3e-4, 1e-3, 3e-3, 1e-2], fixed: { clip: 1 } },
  'dp-zopo': { steps: [3e-3, 1e-2, 3e-2, 1e-1], fixed: { clip: 0.3 } },
  'dp-aggzo': { steps: [1.5e-3, 5e-3, 1.5e-2, 5e-2], fixed: { clip: 0.25, directions: 16 } },
  sotto: { steps: [1e-2, 3e-2, 1e-1, 3e-1], fixed: { clip: 0.5, directions: 16, rank: 4 } },
  'dp-sgd': { steps: [1e-2, 3e-2, 1e-1, 3e-1], fixed: { clip: 1 } },
}

/** All settings of a method's grid. */
export const gridOf = (method: TunedMethod): Setting[] => {
  const { steps, fixed } = GRID[method]
  return steps.map((step) => ({ learningRate: Number((step / fixed.clip).toPrecision(4)), ...fixed }))
}

/** Chosen by `--tune`; see docs/benchmarks.md. */
const CHOSEN: Readonly<Record<string, Readonly<Partial<Record<TunedMethod, Setting>>>>> = {}

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
