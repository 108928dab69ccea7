import { createReadStream } from 'node:fs'
import { access, constants, stat } from 'node:fs/promises'
import { DataError, type DataErrorCode } from './error.ts'

/** One line of a data file, as the engine wants it. */
export interface DataLine {
  readonly text: string
  readonly label: string
}

export interface UnitOptions {
  /** What neighbouring datasets differ in: a line, or all lines of one user. */
  readonly unit: 'record' | 'user'
  /** Labels that may occur; `null` takes any. */
  readonly labels: readonly string[] | null
}

interface ParsedLine extends DataLine {
  readonly user: string | undefined
}

/** Reads a field of a parsed line as text. */
const textOf = (line: object, field: string): string | undefined => {
  const value: unknown = Object.hasOwn(line, field) ? Reflect.get(line, field) : undefined
  return typeof value === 'string' ? value : undefined
}

/** @returns the line, or what is wrong with it: the parser's own message would repeat its content. */
function parseLine(
  source: string,
  options: UnitOptions,
  labels: ReadonlySet<string> | null,
): ParsedLine | DataErrorCode {
  let value: unknown
  try {
    value = JSON.parse(source)
  } catch {
    return 'malformed_json'
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'malformed_json'
  const [text, label, user] = [textOf(value, 'text'), textOf(value, 'label'), textOf(value, 'user')]
  if (text === undefined || label === undefined) return 'missing_field'
  if (labels && !labels.has(label)) return 'unknown_label'
  if (options.unit === 'user' && !user) return 'missing_user'
  return { text, label, user }
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
  const labels = options.labels && new Set(options.labels)
  let blank: number | undefined
  for await (const { number, source } of linesOf(path)) {
    if (blank !== undefined) throw new DataError('malformed_json', path, blank)
    if (source.trim() === '') {
      blank = number
      continue
    }
    const parsed = parseLine(source, options, labels)
    if (typeof parsed === 'string') throw new DataError(parsed, path, number)
    yield parsed
  }
}

/**
 * Reads a JSONL file of `{"text", "label", "user"?}` lines as units: what is sampled, clipped and protected as one.
 * Streams the file; units come in the order in which they first occur, the lines of a unit in file order.
 * @example const units = await readUnits('mail.jsonl', { unit: 'user', labels: ['ham', 'spam'] })
 * @throws DataError on the first line that is not as it should be.
 */
export async function readUnits(path: string, options: UnitOptions): Promise<DataLine[][]> {
  await requireFile(path)
  const units = new Map<string | number, DataLine[]>()
  for await (const { text, label, user } of parsedLines(path, options)) {
    const key = options.unit === 'user' ? user! : units.size
    const lines = units.get(key)
    if (lines) lines.push({ text, label })
    else units.set(key, [{ text, label }])
  }
  if (units.size === 0) throw new DataError('empty_file', path)
  return [...units.values()]
}
