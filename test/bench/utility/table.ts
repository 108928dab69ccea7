import type { FinishedCell } from './results.ts'

/** Mean, and the standard deviation of a sample (n - 1); 0 of one value. */
export function summary(values: readonly number[]): { mean: number; deviation: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { mean, deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 }
}

const percent = (share: number): string => (100 * share).toFixed(1)

function entry(cells: readonly FinishedCell[]): string {
  if (cells.length === 0) return ''
  const { mean, deviation } = summary(cells.map(({ accuracy }) => accuracy))
  return cells.length === 1 ? percent(mean) : `${percent(mean)} ± ${percent(deviation)}`
}

const distinct = <Value>(values: readonly Value[]): Value[] => [...new Set(values)]
const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`

/**
 * A Markdown table: a row a method, a column a task and epsilon, mean accuracy in percent ± standard deviation over the seeds.
 * What spends no epsilon stands in all columns of its task.
 */
export function markdown(cells: readonly FinishedCell[]): string {
  const epsilons = distinct(cells.flatMap(({ epsilon }) => epsilon ?? [])).sort((a, b) => a - b)
  const columns = distinct(cells.map(({ task }) => task)).flatMap((task) =>
    epsilons.map((epsilon) => ({ task, epsilon })),
  )
  const lines = distinct(cells.map(({ method }) => method)).map((method) => {
    const own = cells.filter((cell) => cell.method === method)
    const entries = columns.map(({ task, epsilon }) =>
      entry(own.filter((cell) => cell.task === task && (cell.epsilon === null || cell.epsilon === epsilon))),
    )
    return row([method, ...entries])
  })
  const names = columns.map(({ task, epsilon }) => `${task}, ε ${epsilon}`)
  return [row(['method', ...names]), row(['---', ...names.map(() => '---:')]), ...lines].join('\n')
}
