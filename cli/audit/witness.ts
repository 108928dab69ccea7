import {
  type Audit,
  canonicalJson,
  consistencyProof,
  cosignedAt,
  leafHash,
  NoteError,
  parseWitnessKey,
  type Signer,
  toBase64,
} from '../../shared/ledger/index.ts'
import { InputError, RunError, UnreachableError } from '../failure.ts'
import { verifyEd25519 } from './log.ts'

export interface Witness {
  readonly url: URL
  readonly signer: Signer
}

/** A cosignature, and the note with it. */
export interface Cosigned {
  readonly witness: string
  /** Seconds since 1970. */
  readonly time: number
  readonly note: string
}

/** `URL=VERIFIERKEY`. @throws InputError */
export function witnessOf(text: string): Witness {
  const [, url, key] = /^(https?:\/\/[^\s=]+)=(\S+)$/.exec(text) ?? []
  const signer = parseWitnessKey(key ?? '')
  const address = URL.parse(url ?? '')
  if (!address || !signer) throw new InputError('--witness is URL=VERIFIERKEY, as "sotto witness" prints the key')
  return { url: new URL('/add-checkpoint', address), signer }
}

const TIMEOUT_MS = 15_000

/**
 * Has a witness cosign the checkpoint of an audited log: it does so only where the log continues everything it ever saw of it.
 * @throws RunError where it saw another log, UnreachableError
 */
export async function submit(audit: Audit, note: string, { url, signer }: Witness): Promise<Cosigned> {
  const leaves = audit.records.slice(0, audit.checkpoint.size).map((record) => leafHash(canonicalJson(record)))
  const ask = async (old: number) => {
    const proof = old === 0 ? [] : consistencyProof(leaves, old)
    const body = [`old ${old}`, ...proof.map(toBase64), '', note].join('\n')
    return await fetch(url, { method: 'POST', body, redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(
      () => {
        throw new UnreachableError(`the witness at ${url.origin} can not be reached`)
      },
    )
  }
  let answer = await ask(0)
  if (answer.status === 409) {
    const seen = Number((await answer.text()).trim())
    if (!(seen <= leaves.length))
      throw new RunError(
        `${signer.name} saw ${seen} records of this log, and ${leaves.length} are here: it was cut, or there are two`,
      )
    answer = await ask(seen)
  }
  if (answer.status === 409 || answer.status === 422)
    throw new RunError(`${signer.name} saw another log of this run: somebody is shown a fork`)
  if (!answer.ok) throw new UnreachableError(`the witness at ${url.origin} answered ${answer.status}`)
  return await checked(`${note}${await answer.text()}`, signer)
}

async function checked(note: string, signer: Signer): Promise<Cosigned> {
  try {
    return { witness: signer.name, time: await cosignedAt(note, signer, verifyEd25519), note }
  } catch (error) {
    if (!(error instanceof NoteError)) throw error
    throw new RunError(`${signer.name} answered with a cosignature that is not its own: ${error.code}`)
  }
}
