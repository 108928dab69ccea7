import { createReadStream } from 'node:fs'
import { access, constants, stat } from 'node:fs/promises'
import { DataError } from './error.ts'
import type { DataLine, Form } from './line.ts'
import { type ParsedLine, parseLine } from './parse.ts'

export interface UnitOptions {
  /** What neighbouring datasets differ in: a line, or all lines of one user. */
  readonly unit: 'record' | 'user'
  /** Labels that may occur beside a text; `null` takes any. */
  readonly labels: readonly string[] | null
  /** Form that every line must have; left out or `null`: a line may have any. */
  readonly form?: Form | null
}

const BYTE_ORDER_MARK = '\uFEFF'

/**
 * Lines of a file with their numbers, without byte order mark and line ends (LF or CRLF). Not node:readline, which also
 * ends a line at U+2028, and that may stand inside a JSON string.
 */
async function* linesOf(path: string): AsyncGenerator<{ number: number; source: string }> {
  let number = 0
  const lineOf = (source: string): { number: number; source: string } => {
    number += 1
    const start = number === 1 && source.startsWith(BYTE_ORDER_MARK) ? 1 : 0
    return { number, source: source.slice(start, source.endsWith('\r') ? -1 : undefined) }
  }
  let rest = ''
  for await (const chunk of createReadStream(path, { encoding: 'utf8' })) {
    const parts = (rest + chunk).split('\n')
    rest = parts.pop()!
    for (const part of parts) yield lineOf(part)
  }
  if (rest !== '') yield lineOf(rest)
}

/** @throws DataError `no_file` where the path is no file that can be read. */
async function requireFile(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined)
  const readable = await access(path, constants.R_OK).then(
    () => true,
    () => false,
  )
  if (!found?.isFile() || !readable) throw new DataError('no_file', path)
}

/** Parsed lines in order. A blank line is allowed at the end of the file only. @throws DataError */
async function* parsedLines(path: string, options: UnitOptions): AsyncGenerator<ParsedLine> {
  const { unit, labels, form = null } = options
  const rules = { unit, labels: labels && new Set(labels), form }
  let blank: number | undefined
  for await (const { number, source } of linesOf(path)) {
    if (blank !== undefined) throw new DataError('malformed_json', path, { line: blank })
    if (source.trim() === '') {
      blank = number
      continue
    }
    const parsed = parseLine(source, rules)
    if ('code' in parsed) throw new DataError(parsed.code, path, { ...parsed, line: number })
    yield parsed
  }
}

/**
 * Reads a JSONL file as units: what is sampled, clipped and protected as one. A line has the fields of a form, `{text,
 * label}`, `{prompt, completion}` or `{messages}`, and the `user` it belongs to where units are users. Streams the
 * file; units come in the order in which they first occur, the lines of a unit in file order.
 * @example const units = await readUnits('mail.jsonl', { unit: 'user', labels: ['ham', 'spam'] })
 * @throws DataError on the first line that is not as it should be.
 */
export async function readUnits(path: string, options: UnitOptions): Promise<DataLine[][]> {
  await requireFile(path)
  const units = new Map<string | number, DataLine[]>()
  for await (const { line, user } of parsedLines(path, options)) {
    const key = options.unit === 'user' ? user! : units.size
    const lines = units.get(key)
    if (lines) lines.push(line)
    else units.set(key, [line])
  }
  if (units.size === 0) throw new DataError('empty_file', path)
  return [...units.values()]
}
