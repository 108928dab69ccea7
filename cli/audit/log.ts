import { verify } from 'node:crypto'
import {
  AuditError,
  fromBase64,
  type runLog,
  type Signed,
  type Signer,
  type VerifyEd25519,
} from '../../shared/ledger/index.ts'
import { FindingError, InputError } from '../failure.ts'
import type { LogGiven } from './command.ts'

/** What stands before a raw Ed25519 key in SubjectPublicKeyInfo (RFC 8410, section 4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

export const verifyEd25519: VerifyEd25519 = async (publicKey, message, signature) => {
  const key = { key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' } as const
  return verify(null, message, key, signature)
}

/** What `Identifier` of the API allows. */
const ID = /^[a-z0-9][a-z0-9_-]{0,62}$/

/** Whose logs are audited, and how their signatures are checked. @throws InputError */
export function signedBy({ key, name }: LogGiven): Signed {
  if (/[\s+]/.test(name)) throw new InputError('--name has no spaces and no +')
  const publicKey = fromBase64(key)
  if (publicKey?.length !== 32) throw new InputError('--key is a raw Ed25519 key in base64: 44 characters')
  return { name, publicKey, verify: verifyEd25519 }
}

/** Whose log it is of one run or dataset. @throws InputError */
export function signerOf(form: Pick<typeof runLog, 'logName'>, id: string, given: LogGiven): Signer {
  const { name, publicKey } = signedBy(given)
  return { name: form.logName(name, checkedId(id)), publicKey }
}

/** @throws InputError */
export function checkedId(id: string): string {
  if (!ID.test(id)) throw new InputError(`${id} is no id of a run or a dataset`)
  return id
}

/**
 * Says what does not hold as a command says it.
 * @param of whose log it is, as those who read JSON are told
 * @throws FindingError in the place of AuditError
 */
export async function auditing<T>(of: { run: string } | { dataset: string }, audit: () => Promise<T>): Promise<T> {
  try {
    return await audit()
  } catch (error) {
    if (!(error instanceof AuditError)) throw error
    const { code, object, message } = error
    const name = 'run' in of ? of.run : of.dataset
    throw new FindingError(`the log of ${name} does not hold: ${message}`, { code, holds: false, ...of, object })
  }
}
