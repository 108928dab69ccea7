import {
  type Audit,
  askWitness,
  type Cosigned,
  canonicalJson,
  leafHash,
  type PostText,
  parseWitness,
  type Witness,
  WitnessError,
} from '../../shared/ledger/index.ts'
import { FindingError, InputError, UnreachableError } from '../failure.ts'
import { verifyEd25519 } from './log.ts'

/** @throws InputError */
export function witnessOf(text: string): Witness {
  const witness = parseWitness(text)
  if (!witness) throw new InputError('--witness is URL=VERIFIERKEY, as "sotto witness" prints the key')
  return witness
}

const TIMEOUT_MS = 15_000

const post: PostText = async (url, body) => {
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const answer = await fetch(url, { method: 'POST', body, redirect: 'error', signal })
  return { status: answer.status, text: await answer.text() }
}

/** Has a witness cosign the checkpoint of an audited log. @throws FindingError where it saw another log, UnreachableError */
export async function submit(audit: Audit, note: string, witness: Witness): Promise<Cosigned> {
  const leaves = audit.records.slice(0, audit.checkpoint.size).map((record) => leafHash(canonicalJson(record)))
  try {
    return await askWitness(witness, { note, leaves }, { post, verify: verifyEd25519 })
  } catch (error) {
    if (!(error instanceof WitnessError)) throw error
    const { code, message } = error
    if (code === 'unreachable') throw new UnreachableError(message)
    throw new FindingError(message, { code, holds: false, run: audit.run })
  }
}
