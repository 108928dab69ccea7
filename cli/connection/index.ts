import type { Command } from 'commander'
import { connect, type Sotto, SottoError } from '../../client/index.ts'
import { EXIT, InputError, RefusedError, UnreachableError, WaitError } from '../failure.ts'
import { dataLine, writeResult } from '../output.ts'
import { readSaved } from './saved.ts'

export { all } from './pages.ts'
export { DEV_LOGIN, forget, save, savedFile } from './saved.ts'

export interface ConnectionGiven {
  readonly coordinator?: string
  readonly json: boolean
}

const CONNECTION_HELP = `
Speaks to the coordinator that SOTTO_COORDINATOR and SOTTO_TOKEN name, or that "sotto dev" runs in this folder, or that "sotto login" was
told of.

With --json, standard output is one line: {"data": ...}, or {"error": {"code", "message"}}.

Exit codes: 0 done, 1 failed, or the coordinator refused, 2 the command line or a file was refused, 3 the coordinator can not be reached.`

/** A verb that asks a coordinator. */
export const asking = (verb: Command, examples: string, more = ''): Command =>
  verb
    .option('--coordinator <url>', 'in the place of the one that was logged in to')
    .option('--json', 'print JSON alone', false)
    .addHelpText('after', `${CONNECTION_HELP}${more}\n\nExamples\n${examples}`)

/** How long a command waits for a coordinator that is away or busy, in seconds. */
const PATIENCE = 10

/** The coordinator and the token that a command uses. @throws InputError where there are none */
function addressOf({ coordinator }: Pick<ConnectionGiven, 'coordinator'>): { url: string; token: string } {
  const saved = readSaved()
  const url = (coordinator ?? process.env.SOTTO_COORDINATOR ?? saved?.url)?.replace(/\/$/, '')
  if (url === undefined)
    throw new InputError('no coordinator: sotto login URL, or set SOTTO_COORDINATOR and SOTTO_TOKEN')
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) throw new InputError(`${url} is no address of a coordinator`)
  // A token is for the coordinator that it was given for, and goes to no other.
  const token = process.env.SOTTO_TOKEN ?? (saved?.url === url ? saved.token : undefined)
  if (token === undefined) throw new InputError(`no token for ${url}: sotto login ${url}, or set SOTTO_TOKEN`)
  return { url, token }
}

/** One command at work: what it asks, and where its answer goes. */
export interface Session extends Sotto {
  readonly url: string
  /** Ends everything that waits. */
  readonly signal: AbortSignal
  /** Writes the answer: as data, or in words. */
  tell(data: unknown, words: string): void
  /** Ends every request that is left. */
  close(): void
}

/** Connects by an address and a token that were given, for `sotto login` itself. */
export const sessionAt = ({ url, token }: { url: string; token: string }, { json }: { json: boolean }): Session => {
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort())
  const { signal } = stop
  const tell = (data: unknown, words: string) => writeResult(json ? dataLine(data) : words)
  return { ...connect({ url, token, signal, patience: PATIENCE }), url, signal, tell, close: () => stop.abort() }
}

/** Does what a command was asked for. @throws InputError, RefusedError, UnreachableError */
export async function withCoordinator(
  given: ConnectionGiven,
  work: (session: Session) => Promise<void>,
): Promise<void> {
  await answering(async () => {
    const session = sessionAt(addressOf(given), given)
    try {
      await work(session)
    } finally {
      session.close()
    }
  })
}

/** Tells what a coordinator refuses, and that it is away, as commands do. */
export async function answering(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    throw asCommandsTell(error)
  }
}

function asCommandsTell(error: unknown): unknown {
  if (error instanceof SottoError) {
    if (error.code === null) return new UnreachableError(`what answers there is no coordinator (${error.status})`)
    return new RefusedError(error.code, error.message)
  }
  if (error instanceof Error && error.name === 'AbortError')
    return new WaitError(EXIT.interrupted, 'interrupted; what the coordinator was asked for goes on')
  // What fetch throws where nobody answers.
  if (error instanceof TypeError && error.message === 'fetch failed')
    return new UnreachableError('the coordinator can not be reached')
  return error
}
