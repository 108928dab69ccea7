/** What is wrong with a data file; every code is terminal until the file changes. */
export type DataErrorCode =
  | 'no_file'
  | 'empty_file'
  | 'malformed_json'
  | 'missing_field'
  | 'unsupported_field'
  | 'last_not_assistant'
  | 'unknown_label'
  | 'missing_user'

/** Where in a file: a line, counted from 1, and a field of the form that was read, such as `messages[2].content`. */
export interface DataPlace {
  readonly line: number
  readonly field?: string
}

/** Failure to read data. The message names the file, the line and the field, NEVER anything the line says. */
export class DataError extends Error {
  override readonly name = 'DataError'
  readonly code: DataErrorCode
  /** Line in the file, from 1; undefined where the file as a whole is at fault. */
  readonly line: number | undefined
  /** Field at fault, in the words of the form; undefined where the line as a whole is. */
  readonly field: string | undefined

  constructor(code: DataErrorCode, path: string, place?: DataPlace) {
    const field = place?.field === undefined ? '' : ` (${place.field})`
    super(place === undefined ? `${path}: ${code}` : `${path}:${place.line}: ${code}${field}`)
    this.code = code
    this.line = place?.line
    this.field = place?.field
  }
}
