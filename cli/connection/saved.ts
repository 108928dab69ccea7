import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { InputError, RunError } from '../failure.ts'

/** Which coordinator the commands speak to, and as whom. */
const savedSchema = z.strictObject({ url: z.string(), token: z.string() })
export type Saved = z.infer<typeof savedSchema>

/** Where `sotto login` keeps it: of the user alone (XDG Base Directory). */
export const savedFile = (env: NodeJS.ProcessEnv = process.env): string =>
  join(env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'sotto', 'login.json')

/** Where `sotto dev` says which coordinator it runs, while it runs, in the folder that it was started in. */
export const DEV_LOGIN = '.sotto/dev-login.json'

/** What was saved, that of a running `sotto dev` of this folder first; or null. @throws InputError where a file says something else */
export function readSaved(env: NodeJS.ProcessEnv = process.env): Saved | null {
  return ofThisMachine(readLogin(DEV_LOGIN)) ?? readLogin(savedFile(env))
}

/** A folder that came from elsewhere may not send anybody's files elsewhere. @throws InputError */
function ofThisMachine(saved: Saved | null): Saved | null {
  if (saved && !/^http:\/\/127\.0\.0\.1:\d+$/.test(saved.url))
    throw new InputError(`${DEV_LOGIN} names a coordinator that is not of this machine: remove it`)
  return saved
}

function readLogin(file: string): Saved | null {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new InputError(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`)
  }
  try {
    return savedSchema.parse(JSON.parse(text))
  } catch {
    throw new InputError(`${file} is not what "sotto login" wrote: log in again`)
  }
}

/** @throws RunError */
export function save(saved: Saved, env: NodeJS.ProcessEnv = process.env): string {
  const file = savedFile(env)
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(`${file}.new`, `${JSON.stringify(saved)}\n`, { mode: 0o600 })
    renameSync(`${file}.new`, file)
  } catch (error) {
    throw new RunError(`${file} cannot be written: ${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}`)
  }
  return file
}

/** @returns whether there was anything */
export function forget(env: NodeJS.ProcessEnv = process.env): boolean {
  const known = readLogin(savedFile(env)) !== null
  rmSync(savedFile(env), { force: true })
  return known
}
