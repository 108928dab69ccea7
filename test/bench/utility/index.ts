import { type Bench, runCell } from './cell.ts'
import { dpSgdMissing } from './dp-sgd.ts'
import { type Asked, wantedOf } from './grid.ts'
import { appendResult, type Cell, type FinishedCell, keyOf, missing, readResults } from './results.ts'
import { subjectOf } from './subject.ts'
import { markdown } from './table.ts'
import { splitTask, type TaskName } from './tasks.ts'

export interface UtilityOptions extends Asked {
  /** Folder that test/models/export-sentences.py wrote to. */
  readonly model: string
  /** Folder of the tasks' rows. */
  readonly data: string
  /** Where finished cells are kept, and read from at the next start. */
  readonly out: string
  readonly encoder?: 'whole' | 'table'
  readonly threads?: number
}

/** Runs what is missing of the cells asked for, and prints their table. @throws RangeError where an argument is none. */
export async function compareUtility(options: UtilityOptions): Promise<void> {
  const { tasks, cells } = wantedOf(options)
  const benches = new Map<string, Bench>(tasks.map((name) => [name, benchOf(name, options)]))
  const todo = runnable(missing(cells, readResults(options.out)))
  console.log(`${cells.length} cells, ${todo.length} to do\n`)
  for (const [at, cell] of todo.entries()) {
    const finished = await runCell(cell, benches.get(cell.task)!)
    appendResult(options.out, finished)
    console.log(`${at + 1}/${todo.length} ${described(finished)}`)
  }
  const known = new Map(readResults(options.out).map((cell) => [keyOf(cell), cell]))
  const finished = cells.flatMap((cell) => known.get(keyOf(cell)) ?? [])
  console.log(`\n${options.tune ? tuned(finished) : markdown(finished)}`)
}

function benchOf(name: TaskName, { model, data, encoder, threads = 1 }: UtilityOptions): Bench {
  const task = splitTask(data, name)
  return { task, subject: subjectOf(model, task, encoder), threads }
}

/** DP-SGD needs PyTorch; a table without it says so. */
function runnable(cells: readonly Cell[]): Cell[] {
  const reason = cells.some(({ method }) => method === 'dp-sgd') ? dpSgdMissing() : undefined
  if (reason !== undefined) console.log(`dp-sgd: skipped, ${reason}`)
  return cells.filter(({ method }) => reason === undefined || method !== 'dp-sgd')
}

function described({ task, method, epsilon, seed, setting, accuracy, noiseMultiplier, rounds, seconds }: FinishedCell) {
  const numbers = JSON.stringify(setting)
  return `${task} ${method} ε ${epsilon} seed ${seed} ${numbers}: ${(100 * accuracy).toFixed(2)} %, σ ${noiseMultiplier}, ${rounds} rounds, ${seconds} s`
}

/** The settings of each task and method, the best first. */
function tuned(cells: readonly FinishedCell[]): string {
  const best = cells.toSorted((a, b) => b.accuracy - a.accuracy)
  const groups = Map.groupBy(best, ({ task, method }) => `${task} ${method}`)
  return [...groups]
    .flatMap(([name, own]) => [
      name,
      ...own.map(({ accuracy, setting }) => `  ${accuracy.toFixed(4)} ${JSON.stringify(setting)}`),
    ])
    .join('\n')
}
