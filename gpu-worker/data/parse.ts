import type { z } from 'zod'
import type { DataErrorCode } from './error.ts'
import { type DataLine, FORMS, type Form } from './line.ts'

export interface LineRules {
  /** What neighbouring datasets differ in: a line, or all lines of one user. */
  readonly unit: 'record' | 'user'
  /** Labels that may occur beside a text; `null` takes any. */
  readonly labels: ReadonlySet<string> | null
  /** Form that every line must have; `null` takes a line that has any. */
  readonly form: Form | null
}

export interface LineFault {
  readonly code: DataErrorCode
  readonly field?: string
}

export interface ParsedLine {
  readonly line: DataLine
  readonly user: string | undefined
}

type Issue = z.core.$ZodIssue

/** The path of an issue as one writes it: only indices and names of the form, never a name out of the data. */
const fieldOf = (path: Issue['path']): string =>
  path
    .reduce<string>((field, key) => (typeof key === 'number' ? `${field}[${key}]` : `${field}.${String(key)}`), '')
    .slice(1)

function faultOf(issue: Issue): LineFault {
  const field = fieldOf(issue.path)
  if (issue.code === 'unrecognized_keys') return { code: 'unsupported_field', field }
  return { code: issue.code === 'custom' ? 'last_not_assistant' : 'missing_field', field }
}

/** The form that a line without a whole one was most likely meant to have. */
function meantForm(value: object): Form {
  const has = (field: string): boolean => Object.hasOwn(value, field)
  if (has('messages')) return 'messages'
  if (has('chosen') || has('rejected')) return 'preference'
  return has('prompt') || has('completion') ? 'completion' : 'text'
}

/** A copy without a prototype: a field that the line inherits is none of its own. */
const ownFields = (value: object): object => Object.assign(Object.create(null), value)

/** The fields of all forms that a line has whole, or what is wrong with the form it must have. */
function readForms(value: object, form: Form | null): DataLine | LineFault {
  const results = Object.fromEntries(
    (Object.keys(FORMS) as Form[]).map((each) => [each, FORMS[each].safeParse(value)] as const),
  )
  const whole = Object.values(results).filter((result) => result.success)
  const wanted = results[form ?? meantForm(value)]!
  if (!wanted.success && (form !== null || whole.length === 0)) return faultOf(wanted.error.issues[0]!)
  return Object.assign({}, ...whole.map(({ data }) => data))
}

/** @returns the line, or what is wrong with it: a parser's own message would repeat its content. */
export function parseLine(source: string, rules: LineRules): ParsedLine | LineFault {
  let value: unknown
  try {
    value = JSON.parse(source)
  } catch {
    return { code: 'malformed_json' }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { code: 'malformed_json' }
  const own = ownFields(value) as { readonly user?: unknown }
  const line = readForms(own, rules.form)
  if ('code' in line) return line
  if (rules.labels && line.label !== undefined && !rules.labels.has(line.label)) {
    return { code: 'unknown_label', field: 'label' }
  }
  const user = typeof own.user === 'string' && own.user !== '' ? own.user : undefined
  if (rules.unit === 'user' && user === undefined) return { code: 'missing_user', field: 'user' }
  return { line, user }
}
