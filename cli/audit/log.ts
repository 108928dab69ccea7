import { verify } from 'node:crypto'
import { AuditError, fromBase64, type Signer, type VerifyEd25519 } from '../../shared/ledger/index.ts'
import { InputError, RunError } from '../failure.ts'
import type { LogGiven } from './command.ts'

/** What stands before a raw Ed25519 key in SubjectPublicKeyInfo (RFC 8410, section 4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

export const verifyEd25519: VerifyEd25519 = async (publicKey, message, signature) => {
  const key = { key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' } as const
  return verify(null, message, key, signature)
}

/** Whose log is audited. @throws InputError */
export function signerOf(run: string, { key, name }: LogGiven): Signer {
  if (!/^[a-z0-9][a-z0-9_-]{0,62}$/.test(run)) throw new InputError(`${run} is no id of a run`)
  if (/[\s+]/.test(name)) throw new InputError('--name has no spaces and no +')
  const publicKey = fromBase64(key)
  if (publicKey?.length !== 32) throw new InputError('--key is a raw Ed25519 key in base64: 44 characters')
  return { name: `${name}/${run}`, publicKey }
}

/** Says what does not hold as a command says it. @throws RunError in the place of AuditError */
export async function auditing<T>(run: string, audit: () => Promise<T>): Promise<T> {
  try {
    return await audit()
  } catch (error) {
    if (!(error instanceof AuditError)) throw error
    throw new RunError(`the log of ${run} does not hold: ${error.message}`)
  }
}
