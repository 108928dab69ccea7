import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import tasks from './tasks.json' with { type: 'json' }

/** A labelled text of a classification task. */
export interface Example {
  readonly text: string
  readonly label: string
}

export interface SplitTask {
  readonly name: string
  readonly labels: readonly string[]
  /** What a run trains on: no text of it is in dev or test. */
  readonly train: readonly Example[]
  /** What hyper-parameters are chosen by. */
  readonly dev: readonly Example[]
  /** What is reported; looked at once for each cell. */
  readonly test: readonly Example[]
}

interface TaskFiles {
  readonly labels: Readonly<Record<string, string>>
  readonly train: string
  /** A file, or how many rows are set apart of the train file. */
  readonly dev: string | number
  readonly test: string | number
}

export type TaskName = keyof typeof tasks
export const TASK_NAMES = Object.keys(tasks) as TaskName[]

/** Rows of a file of text, tab, label, below one line of names. */
export function readRows(path: string): Example[] {
  const lines = readFileSync(path, 'utf8').split('\n').slice(1)
  return lines.filter(Boolean).map((line) => {
    const at = line.lastIndexOf('\t')
    return { text: line.slice(0, at), label: line.slice(at + 1) }
  })
}

const digest = ({ text }: Example): string => createHash('sha256').update(text).digest('hex')

/** Rows in an order that is everybody's: by the hash of their texts. */
const shuffled = (rows: readonly Example[]): Example[] =>
  rows
    .map((row) => ({ row, key: digest(row) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ row }) => row)

/** Most rows of a class that a run trains on: as many as DP-ZOPO's authors take (arXiv 2402.07818). */
export const SHOTS = 512

const fewOfEach = (rows: readonly Example[]): Example[] => {
  const met = new Map<string, number>()
  return rows.filter(({ label }) => {
    const before = met.get(label) ?? 0
    met.set(label, before + 1)
    return before < SHOTS
  })
}

/**
 * Splits a task: files where it has them, else rows set apart of the train file, test first and then dev, by the hash of the
 * text. Of what remains of train, no text of dev or test among it, the first `SHOTS` rows of each class by that hash.
 */
export function splitTask(data: string, name: TaskName): SplitTask {
  const task: TaskFiles = tasks[name]
  const rest = shuffled(readRows(join(data, name, task.train)))
  const part = (from: string | number): Example[] =>
    typeof from === 'number' ? rest.splice(0, from) : readRows(join(data, name, from))
  const test = part(task.test)
  const dev = part(task.dev)
  const held = new Set([...dev, ...test].map(({ text }) => text))
  const train = fewOfEach(rest.filter(({ text }) => !held.has(text)))
  return { name, labels: Object.keys(task.labels), train, dev, test }
}
