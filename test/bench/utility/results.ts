import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import type { MethodName, Setting } from './methods.ts'
import type { Directions } from './train.ts'

/** One run: what it is, then what came out. */
export interface Cell {
  readonly task: string
  readonly method: MethodName
  /** Null where the method spends none. */
  readonly epsilon: number | null
  readonly seed: number
  /** Where accuracy is measured; only `test` is reported. */
  readonly split: 'dev' | 'test'
  readonly setting: Setting | null
  /** How directions are drawn, where it is not by signs. */
  readonly directions?: Directions
}

export interface FinishedCell extends Cell {
  readonly accuracy: number
  /** Certified upper bound of what the run spent; null where it is not private, or looks at no data. */
  readonly spent: number | null
  readonly noiseMultiplier: number | null
  readonly rounds: number
  /** Expected forward passes of a training record in the whole run. */
  readonly passes: number
  readonly seconds: number
}

/** What a cell is, whatever came out; the order of a setting's fields does not count. */
export function keyOf({ task, method, epsilon, seed, split, setting, directions = 'signs' }: Cell): string {
  const fields = setting === null ? null : Object.entries(setting).sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([task, method, epsilon, seed, split, fields, directions])
}

/** Cells of a results file: one JSON document a line. A line that a kill cut short is as if it had never been begun. */
export function readResults(path: string): FinishedCell[] {
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean)
  return lines.flatMap((line) => {
    try {
      return [JSON.parse(line) as FinishedCell]
    } catch {
      return []
    }
  })
}

/** Adds a cell; behind a torn line it begins one of its own. */
export function appendResult(path: string, cell: FinishedCell): void {
  const isTorn = existsSync(path) && !/(^|\n)$/.test(readFileSync(path, 'utf8'))
  appendFileSync(path, `${isTorn ? '\n' : ''}${JSON.stringify(cell)}\n`)
}

/** What is still to do. */
export function missing<Each extends Cell>(wanted: readonly Each[], finished: readonly Cell[]): Each[] {
  const done = new Set(finished.map(keyOf))
  return wanted.filter((cell) => !done.has(keyOf(cell)))
}
