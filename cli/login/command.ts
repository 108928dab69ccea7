import type { Command } from 'commander'
import { answering, forget, save, savedFile, sessionAt } from '../connection/index.ts'
import { InputError } from '../failure.ts'
import { dataLine, writeResult } from '../output.ts'

const HELP = `
Keeps the address of a coordinator and a token for it in a file of yours alone (XDG_CONFIG_HOME, or ~/.config/sotto/login.json), after
having tried them. The token is read from SOTTO_TOKEN or from standard input, so that it is not seen in the list of processes.

Exit codes: 0 done, 1 the token was refused, 2 the command line was refused, 3 the coordinator can not be reached.

Examples
  sotto login http://localhost:8787 < .sotto/admin-token
  sotto login --forget`

interface LoginGiven {
  readonly forget: boolean
  readonly json: boolean
}

/** `sotto login`. */
export const describeLogin = (command: Command): void => {
  command
    .argument('[url]', 'address of the coordinator')
    .option('--forget', 'forget what was kept', false)
    .option('--json', 'print JSON alone', false)
    .addHelpText('after', HELP)
    .action(async (url: string | undefined, given: LoginGiven) => {
      if (given.forget) {
        const known = forget()
        writeResult(given.json ? dataLine({ forgotten: known }) : known ? 'Forgotten.\n' : 'Nothing was kept.\n')
        return
      }
      await answering(async () => await login(url, given))
    })
}

async function login(address: string | undefined, given: LoginGiven): Promise<void> {
  if (address === undefined) throw new InputError('name the address of a coordinator')
  if (!/^https?:\/\//.test(address) || !URL.canParse(address))
    throw new InputError(`${address} is no address of a coordinator`)
  const url = address.replace(/\/$/, '')
  const token = process.env.SOTTO_TOKEN ?? (await tokenFromInput())
  if (!/^[\x21-\x7e]{8,4096}$/.test(token)) throw new InputError('that is no token')
  const session = sessionAt({ url, token }, given)
  const log = await session.answer(session.api.v1.log.$get())
  const file = save({ url, token })
  session.tell(
    { url, file, log },
    `Logged in to ${url}, whose logs are called ${log.name} and signed by ${log.publicKey}.\nKept in ${file}.\n`,
  )
}

/** @throws InputError */
async function tokenFromInput(): Promise<string> {
  if (process.stdin.isTTY) process.stderr.write('Token: ')
  const { createInterface } = await import('node:readline/promises')
  const lines = createInterface({ input: process.stdin })
  for await (const line of lines) {
    lines.close()
    return line.trim()
  }
  throw new InputError(`no token: give one on standard input, or set SOTTO_TOKEN (${savedFile()} is as it was)`)
}
