/** From a command's flags, or the file that they name, to checked questions; and from questions to answers. */
import type { z } from 'zod'
import { PrivacyError } from '../../shared/privacy/error.ts'
import { checkDocument, pathName, readDocument, type Wording } from '../document.ts'
import { InputError } from '../failure.ts'
import { startProgress } from '../progress.ts'

/** A schedule of one stage, field by field: a file may say the same and more. */
export interface ScheduleFlags {
  readonly mechanism?: string
  readonly noiseMultiplier?: number
  readonly samplingRate?: number
  readonly rounds?: number
  readonly delta?: number
  readonly neighbours?: string
  readonly targetEpsilon?: number
}

/** Where the question comes from. */
export interface Source {
  readonly file: string | undefined
  readonly flags: ScheduleFlags
  readonly hints?: Wording['hints']
}

export interface Questions<Question> {
  readonly list: readonly Question[]
  /** True where the file holds a list, and so the answer is one too. */
  readonly several: boolean
}

type Given = Partial<Record<string, unknown>>
const present = (fields: Given) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

/** The document that the flags stand for. */
export const documentOf = ({ delta, neighbours, targetEpsilon, ...stage }: ScheduleFlags): Given =>
  present({ stages: [present({ ...stage })], delta, neighbours, targetEpsilon })

/** @example flagName(['stages', 0, 'samplingRate']) // '--sampling-rate' */
export const flagName = (path: readonly PropertyKey[]): string =>
  `--${String(path.at(-1)).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

const hintsOf = (hints: Wording['hints']) => (hints === undefined ? {} : { hints })

/**
 * Reads and checks what is asked.
 * @throws InputError naming each field at fault
 */
export const readQuestions = async <Schema extends z.ZodType>(
  schema: Schema,
  { file, flags, hints }: Source,
): Promise<Questions<z.output<Schema>>> => {
  if (file === undefined) {
    const wording = { nameOf: flagName, ...hintsOf(hints) }
    return { list: [checkDocument(schema, documentOf(flags), wording)], several: false }
  }
  const [extra] = Object.keys(present({ ...flags }))
  if (extra !== undefined) throw new InputError(`${flagName([extra])} cannot go with --file: the file says it all`)
  const document = await readDocument(file)
  if (!Array.isArray(document)) return { list: [checkDocument(schema, document, hintsOf(hints))], several: false }
  return { list: document.map((entry, i) => checkDocument(schema, entry, hintsOf(hints), [i])), several: true }
}

/**
 * Answers one question after the other, with progress where somebody watches.
 * @throws InputError where the accountant refuses one of several, naming its place
 */
export const answerEach = <Question, Answer>(
  { list, several }: Questions<Question>,
  answer: (question: Question) => Answer,
): Answer[] => {
  const progress = startProgress(list.length)
  try {
    return list.map((question, i) => {
      const found = atPlace(several ? [i] : [], () => answer(question))
      progress.step()
      return found
    })
  } finally {
    progress.done()
  }
}

const atPlace = <Value>(place: readonly number[], compute: () => Value): Value => {
  try {
    return compute()
  } catch (error) {
    if (place.length === 0 || !(error instanceof PrivacyError)) throw error
    throw new InputError(`${pathName(place)}: ${error.message}`, error.code)
  }
}
