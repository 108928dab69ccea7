import { randomBytes, randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { DataError } from '../data/index.ts'

/** Units that were made up, and which of them are in the data: what `score` needs and nobody else may have before. */
export interface Canaries {
  readonly version: 1
  /** Lines of JSONL, each a unit by itself. */
  readonly lines: readonly string[]
  /** Of the same length: whether the line was put into the copy. */
  readonly planted: readonly boolean[]
}

const WORDS = 12
const LETTERS = 'abcdefghijklmnopqrstuvwxyz'

/** A word that stands in no data. */
const word = (): string => Array.from({ length: 4 + randomInt(6) }, () => LETTERS[randomInt(LETTERS.length)]!).join('')
const phrase = (words: number): string => Array.from({ length: words }, word).join(' ')

/** What a canary looks like in a file whose lines look like this one; null where it is of no known form. */
function makerFor(line: Record<string, unknown>, labels: readonly string[]): (() => Record<string, unknown>) | null {
  if (typeof line.text === 'string' && typeof line.label === 'string')
    return () => ({ text: phrase(WORDS), label: labels[randomInt(labels.length)]! })
  if (typeof line.prompt === 'string' && typeof line.completion === 'string')
    return () => ({ prompt: phrase(WORDS), completion: ` ${phrase(3)}` })
  if (Array.isArray(line.messages))
    return () => ({
      messages: [
        { role: 'user', content: phrase(WORDS) },
        { role: 'assistant', content: phrase(3) },
      ],
    })
  return null
}

/**
 * A file of canaries: lines of random words, each put in by the toss of a coin of the operating system's generator. A user of its own
 * each, so that it is a unit whatever the unit is. What else is in the data changes nothing of what is promised, and would hide them:
 * it is left out, unless `withData` says otherwise; then they lie at random places among it.
 * @throws DataError `no_file`, `empty_file`, `malformed_json`, `missing_field`
 */
export function plantCanaries(
  file: string,
  count: number,
  { withData = false } = {},
): { copy: string; canaries: Canaries } {
  const lines = linesOf(file)
  const parsed = lines.map((line, index) => parsedLine(line, file, index + 1))
  const labels = [...new Set(parsed.flatMap(({ label }) => (typeof label === 'string' ? [label] : [])))]
  if (!parsed[0]) throw new DataError('empty_file', file)
  const make = makerFor(parsed[0], labels)
  if (!make) throw new DataError('missing_field', file, { line: 1 })
  const made = Array.from({ length: count }, () => {
    return JSON.stringify({ ...make(), user: `canary-${randomBytes(8).toString('hex')}` })
  })
  const coins = randomBytes(count)
  const planted = made.map((_, index) => coins[index]! % 2 === 1)
  const copy = withData ? [...lines] : []
  for (const [index, line] of made.entries()) if (planted[index]) copy.splice(randomInt(copy.length + 1), 0, line)
  return { copy: copy.map((line) => `${line}\n`).join(''), canaries: { version: 1, lines: made, planted } }
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line.trim() !== '')
  } catch {
    throw new DataError('no_file', file)
  }
}

function parsedLine(text: string, file: string, line: number): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // The text of the error would be that of the data.
  }
  throw new DataError('malformed_json', file, { line })
}
