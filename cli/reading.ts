import { createHash } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
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

/** SHA-256 of a file of any size, in hexadecimal. */
export async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}
