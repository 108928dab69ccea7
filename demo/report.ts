import type { Run } from '../shared/api/index.ts'
import type { Score } from './score.ts'

/** What the demo found. */
export interface Result {
  readonly seconds: number
  readonly run: Run
  readonly start: Score
  readonly private: Score
  /** Absent with --no-comparison. */
  readonly nonPrivate: Score | null
  readonly bagOfWords: Score | null
  /** By dataset, composed from the log alone. */
  readonly epsilon: Record<string, number>
  readonly stateHash: string
  /** Path of the adapter file. */
  readonly adapter: string
}

/** The document of `--json`. */
export function asJson(result: Result) {
  const { run, start, nonPrivate, bagOfWords } = result
  return {
    seconds: Math.round(result.seconds * 10) / 10,
    rounds: run.round,
    accuracy: { start: start.accuracy, private: result.private.accuracy, nonPrivate: nonPrivate?.accuracy ?? null },
    auc: { start: start.auc, private: result.private.auc, nonPrivate: nonPrivate?.auc ?? null },
    baseline: bagOfWords ? { model: 'bag of words, same mechanism and epsilon', ...bagOfWords } : null,
    datasets: run.spec.datasets.map(({ id, units }) => ({
      id,
      units,
      epsilonSpent: result.epsilon[id],
      epsilonBudget: run.spec.budget.epsilon,
      delta: run.spec.budget.delta,
    })),
    bytesPerReport: bytesPerReport(run),
    stateHash: result.stateHash,
    adapter: result.adapter,
  }
}

/** Mean size of an accepted report, rounded up. */
function bytesPerReport(run: Run): number {
  const bytes = run.spent.reduce((sum, dataset) => sum + dataset.bytes, 0)
  const reports = run.spent.reduce((sum, dataset) => sum + dataset.reports, 0)
  return Math.ceil(bytes / Math.max(1, reports))
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`

/** Columns padded to their widest cell, a rule under the head. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('   '),
  )
  return [`  ${lines[0]}`, `  ${'─'.repeat(lines[0]!.length)}`, ...lines.slice(1).map((line) => `  ${line}`)].join('\n')
}

/** What the demo prints for a person. */
export function asText(result: Result): string {
  const { run, nonPrivate, bagOfWords } = result
  const { epsilon, delta } = run.spec.budget
  const scores: [string, Score | null][] = [
    ['before (label words, nothing trained)', result.start],
    [`private, ε ${epsilon} for each mailbox`, result.private],
    ['same method, NO NOISE, not private', nonPrivate],
    [`bag of words, private, ε ${epsilon}`, bagOfWords],
  ]
  const datasets = run.spent.map(({ dataset, charges, bytes }) => [
    dataset,
    String(run.spec.datasets.find(({ id }) => id === dataset)?.units ?? ''),
    result.epsilon[dataset]!.toFixed(4),
    String(epsilon),
    String(delta),
    String(charges),
    `${(bytes / 1024).toFixed(1)} KiB`,
  ])
  return [
    '',
    table([
      ['held-out mail', 'accuracy', 'AUC'],
      ...scores.flatMap(([name, value]) => (value ? [[name, percent(value.accuracy), value.auc.toFixed(4)]] : [])),
    ]),
    '',
    table([
      ['mailbox', 'messages', 'ε spent, from the log', 'ε budget', 'δ', 'charges', 'sent by its worker'],
      ...datasets,
    ]),
    '',
    `  Each report was about ${bytesPerReport(run)} bytes: ${run.spec.stages[0]!.directions} noised integers and one for the private loss.`,
    `  The log replays to the state ${result.stateHash.slice(0, 16)}…, as every worker computed it.`,
    `  Adapter: ${result.adapter}`,
    `  ${result.seconds.toFixed(0)} s in all.`,
    '',
  ].join('\n')
}
