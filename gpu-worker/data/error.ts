/** What is wrong with a data file; every code is terminal until the file changes. */
export type DataErrorCode =
  | 'no_file'
  | 'empty_file'
  | 'malformed_json'
  | 'missing_field'
  | 'unknown_label'
  | 'missing_user'

/** Failure to read data. The message names the file and the line number, NEVER anything the line says. */
export class DataError extends Error {
  override readonly name = 'DataError'
  readonly code: DataErrorCode
  /** Line in the file, from 1; undefined where the file as a whole is at fault. */
  readonly line: number | undefined

  constructor(code: DataErrorCode, path: string, line?: number) {
    super(line === undefined ? `${path}: ${code}` : `${path}:${line}: ${code}`)
    this.code = code
    this.line = line
  }
}
