import { writeFileSync } from 'node:fs'
import { RunError } from './failure.ts'

/**
 * Writes a result to a file, or to standard output where none is named.
 * @throws RunError if the file cannot be written
 */
export const writeResult = (content: string | Uint8Array, file?: string): void => {
  if (file === undefined) {
    process.stdout.write(content)
    return
  }
  try {
    writeFileSync(file, content)
  } catch (error) {
    throw new RunError(`${file} cannot be written: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`)
  }
}

/** One line of JSON. JSON has no infinity: it becomes null. */
export const jsonLine = (value: unknown): string => `${JSON.stringify(value)}\n`

/** What a command answers with `--json`, the same for all of them; `main` tells failures as `{"error": …}`. */
export const dataLine = (data: unknown): string => jsonLine({ data })

const rounded = (roundingMode: 'ceil' | 'floor') => {
  const digits = { maximumSignificantDigits: 6, useGrouping: false, roundingMode } as const
  const plain = new Intl.NumberFormat('en', digits)
  const scientific = new Intl.NumberFormat('en', { ...digits, notation: 'scientific' })
  return (value: number) => {
    if (value === Number.POSITIVE_INFINITY) return 'infinite'
    const readable = value === 0 || (value >= 1e-3 && value < 1e9)
    return readable ? plain.format(value) : scientific.format(value).toLowerCase()
  }
}

/** Six digits, never below the value: for upper bounds. */
export const roundedUp: (value: number) => string = rounded('ceil')
/** Six digits, never above the value: for lower bounds. */
export const roundedDown: (value: number) => string = rounded('floor')

/** A small probability as people write it: `1e-5`, `2.5e-7`, `0.01`. */
export const chance = (value: number): string => (value < 1e-2 ? value.toExponential() : String(value))

/** Rows of a list, each column as wide as its widest entry. */
export const columns = (rows: readonly (readonly string[])[]): string => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const lineOf = (row: readonly string[]) => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')
  return rows.map((row) => `${lineOf(row).trimEnd()}\n`).join('')
}

/**
 * Lines of text in columns; the first two columns are as wide as their widest entry.
 * @param rows [name, value, meaning] each
 */
export const table = (rows: readonly (readonly [string, string, string])[]): string => {
  const width = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length))
  const [names, values] = [width(0), width(1)]
  return rows.map(([name, value, meaning]) => `  ${name.padEnd(names)}  ${value.padEnd(values)}  ${meaning}\n`).join('')
}
