/** JSON documents from files and flags, checked at the edge: what is wrong is said by field, never by value. */
import { text } from 'node:stream/consumers'
import type { z } from 'zod'
import { InputError } from './failure.ts'
import { textIn } from './reading.ts'

const FAULTS_SHOWN = 10

/**
 * The JSON document in a file, or on standard input where the file is `-`.
 * @throws InputError if it cannot be read or is no JSON
 */
export const readDocument = async (file: string): Promise<unknown> => {
  const content = file === '-' ? await text(process.stdin) : textIn(file)
  try {
    return JSON.parse(content.replace(/^\uFEFF/, ''))
  } catch (error) {
    const place = /\(line \d+ column \d+\)/.exec(String(error))?.[0]
    throw new InputError(`${nameOf(file)} is not JSON${place ? ` ${place}` : ''}`)
  }
}

const nameOf = (file: string) => (file === '-' ? 'standard input' : file)

type Path = readonly PropertyKey[]

/** How a document's faults are worded. */
export interface Wording {
  /** What a field is called where the user wrote it; by default its path, such as `stages[2].samplingRate`. */
  readonly nameOf?: (path: Path) => string
  /** Sentences for unknown fields that a user may well have meant, by the field's own name. */
  readonly hints?: Readonly<Record<string, string>>
}

/** @example pathName([3, 'stages', 0, 'rounds']) // '[3].stages[0].rounds' */
export const pathName = (path: Path): string =>
  path.reduce<string>((name, key) => {
    if (typeof key === 'number') return `${name}[${key}]`
    return name === '' ? String(key) : `${name}.${String(key)}`
  }, '')

/**
 * Checks one document against a schema.
 * @param at the document's own place, where it is one of several
 * @throws InputError with one line per fault
 */
export const checkDocument = <Schema extends z.ZodType>(
  schema: Schema,
  document: unknown,
  wording: Wording = {},
  at: Path = [],
): z.output<Schema> => {
  const result = schema.safeParse(document)
  if (result.success) return result.data
  const lines = result.error.issues.flatMap((issue) => faultsOf(issue, document, wording, at))
  throw new InputError(lines.slice(0, FAULTS_SHOWN).join('\nsotto: '))
}

const faultsOf = (issue: z.core.$ZodIssue, document: unknown, wording: Wording, at: Path): string[] => {
  const nameOf = (path: Path) => (wording.nameOf ?? pathName)([...at, ...path]) || 'the document'
  if (issue.code !== 'unrecognized_keys') {
    const missing = issue.path.length > 0 && valueAt(document, issue.path) === undefined
    return [`${nameOf(issue.path)} ${missing ? 'is missing' : ruleOf(issue)}`]
  }
  return issue.keys.map((key) => `${nameOf([...issue.path, key])} ${wording.hints?.[key] ?? 'is no known field'}`)
}

const valueAt = (document: unknown, path: Path): unknown =>
  path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], document)

const EXPECTED: Readonly<Record<string, string>> = {
  number: 'a finite number',
  int: 'a whole number',
  array: 'a list',
  object: 'an object',
  string: 'a text',
}

const ruleOf = (issue: z.core.$ZodIssue): string => {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${EXPECTED[issue.expected] ?? issue.expected}`
    case 'too_small':
      return `must be ${issue.inclusive ? 'at least' : 'above'} ${issue.minimum}`
    case 'too_big':
      return `must be ${issue.inclusive ? 'at most' : 'below'} ${issue.maximum}`
    case 'invalid_value':
      return `must be ${issue.values.map(String).join(' or ')}`
    default:
      return issue.message
  }
}
