import { type EngineMethod, isEngineMethod, METHOD_NAMES, METHODS, type MethodName, TUNED_METHODS } from './methods.ts'
import type { Cell } from './results.ts'
import { gridOf, settingOf } from './settings.ts'
import { TASK_NAMES, type TaskName } from './tasks.ts'
import type { Directions } from './train.ts'

/** What is asked for on the command line, as text. */
export interface Asked {
  readonly tasks?: string | undefined
  readonly methods?: string | undefined
  readonly epsilons?: string | undefined
  readonly seeds: string
  readonly tune?: boolean
  readonly directions?: Directions
}

export interface Wanted {
  readonly tasks: readonly TaskName[]
  readonly cells: readonly Cell[]
}

const DEFAULT_TASKS = 'sst2,trec6,subj'
const DEFAULT_EPSILONS = '2,6'
/** Of dp-zo and dpzero, which draw the same signs here, one is enough. */
const DEFAULT_METHODS = METHOD_NAMES.filter((name) => name !== 'dp-zo').join()
/** Where hyper-parameters are chosen. */
const TUNING = { epsilon: 2, seed: 0 } as const

/** @throws RangeError naming what is not known */
function listed<Name extends string>(what: string, text: string, known: readonly Name[]): Name[] {
  const names = text.split(',')
  const odd = names.find((name) => !known.some((each) => each === name))
  if (odd !== undefined) throw new RangeError(`--${what}: no ${odd}; there are ${known.join(', ')}`)
  return names as Name[]
}

/** @throws RangeError */
function numbers(text: string): number[] {
  const found = text.split(',').map(Number)
  if (!found.every((epsilon) => epsilon > 0 && epsilon < 100)) throw new RangeError('--epsilons: numbers above 0')
  return found
}

/** @throws RangeError */
function seedsOf(text: string): number[] {
  const count = Number(text)
  if (!(Number.isInteger(count) && count >= 1 && count <= 100)) throw new RangeError('--seeds: a number from 1 to 100')
  return Array.from({ length: count }, (_, at) => at + 1)
}

const isPrivate = (method: MethodName): boolean =>
  method === 'dp-sgd' || (isEngineMethod(method) && METHODS[method as EngineMethod].noise === 'private')

/**
 * The cells of a table: task x method x epsilon x seed; what spends no epsilon once for all of them, and the zero-shot model once.
 * @throws RangeError where an argument is none
 */
export function wantedOf(asked: Asked): Wanted {
  const tasks = listed('tasks', asked.tasks ?? DEFAULT_TASKS, TASK_NAMES)
  const epsilons = numbers(asked.epsilons ?? DEFAULT_EPSILONS)
  const seeds = seedsOf(asked.seeds)
  if (asked.tune) return { tasks, cells: tuning(tasks, asked.methods) }
  const methods = listed('methods', asked.methods ?? DEFAULT_METHODS, METHOD_NAMES)
  const cells = tasks.flatMap((task) =>
    methods.flatMap((method): Cell[] => {
      if (method === 'zero-shot') return [{ task, method, epsilon: null, seed: 0, split: 'test', setting: null }]
      const setting = settingOf(task, method)
      const spends = isPrivate(method) ? epsilons : [null]
      return seeds.flatMap((seed) => spends.map((epsilon) => ({ task, method, epsilon, seed, split: 'test', setting })))
    }),
  )
  const { directions = 'signs' } = asked
  return { tasks, cells: directions === 'signs' ? cells : cells.map((cell) => ({ ...cell, directions })) }
}

/** Every setting of each method's grid, on dev rows. */
function tuning(tasks: Wanted['tasks'], methods = TUNED_METHODS.join()): Cell[] {
  return tasks.flatMap((task) =>
    listed('methods', methods, TUNED_METHODS).flatMap((method) =>
      gridOf(method).map((setting): Cell => ({ task, method, ...TUNING, split: 'dev', setting })),
    ),
  )
}
