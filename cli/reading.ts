import { readFileSync } from 'node:fs'
import { InputError } from './failure.ts'

/** A file that a command was given, whole. @throws InputError where it cannot be read */
export function bytesIn(file: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(file))
  } catch (error) {
    throw new InputError(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`)
  }
}

/** The same as text, in UTF-8. @throws InputError */
export const textIn = (file: string): string => Buffer.from(bytesIn(file)).toString('utf8')
