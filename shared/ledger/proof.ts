import { utf8ToBytes } from '@noble/hashes/utils.js'
import { canonicalJson } from './canonical.ts'
import { type Hash, inclusionProof, leafHash, verifyInclusion } from './merkle.ts'
import {
  type Checkpoint,
  fromBase64,
  NoteError,
  openCheckpoint,
  type Signer,
  toBase64,
  type VerifyEd25519,
} from './note.ts'
import { type RunRecord, runRecordSchema } from './record.ts'

/**
 * Offline proofs that a log has a record (https://c2sp.org/tlog-proof), the record itself as their extra data: a header line, the
 * extra, the index, the hashes from the leaf to the root, a blank line, and the signed checkpoint.
 */

const HEADER = 'c2sp.org/tlog-proof@v1'

export class ProofError extends Error {
  readonly code: 'not_a_proof' | 'wrong_record' | 'wrong_proof' | NoteError['code']
  constructor(code: ProofError['code']) {
    super(`proof refused: ${code}`)
    this.name = 'ProofError'
    this.code = code
  }
}

/** A proof of one record of a log under a signed checkpoint. @param records of the log, from the first @throws RangeError where it does not count the record */
export function proofOfRecord(
  records: readonly RunRecord[],
  seq: number,
  { note, size }: { note: string; size: number },
): string {
  const lines = records.slice(0, size).map(canonicalJson)
  const hashes = inclusionProof(lines.map(leafHash), seq)
  const extra = toBase64(utf8ToBytes(lines[seq]!))
  return [HEADER, `extra ${extra}`, `index ${seq}`, ...hashes.map(toBase64), '', note].join('\n')
}

/**
 * The record that a proof is of, once its checkpoint is signed and has it in its tree.
 * @throws ProofError
 */
export async function openProof(
  text: string,
  signer: Signer,
  verify: VerifyEd25519,
): Promise<{ record: RunRecord; checkpoint: Checkpoint }> {
  const { line, index, hashes, note } = parseProof(text)
  const checkpoint = await signedCheckpoint(note, signer, verify)
  const { size, root } = checkpoint
  if (!verifyInclusion(hashes, { leaf: leafHash(line), index, size, root })) throw new ProofError('wrong_proof')
  return { record: recordOf(line, index), checkpoint }
}

async function signedCheckpoint(note: string, signer: Signer, verify: VerifyEd25519): Promise<Checkpoint> {
  try {
    return await openCheckpoint(note, signer, verify)
  } catch (error) {
    if (!(error instanceof NoteError)) throw error
    throw new ProofError(error.code)
  }
}

function parseProof(text: string) {
  const end = text.indexOf('\n\n')
  const [header, extra, index, ...lines] = text.slice(0, end).split('\n')
  const bytes = fromBase64(/^extra (.+)$/.exec(extra ?? '')?.[1] ?? '!')
  const place = /^index (0|[1-9]\d{0,14})$/.exec(index ?? '')?.[1]
  const hashes = lines.map(fromBase64)
  if (end < 0 || header !== HEADER || !bytes || place === undefined || hashes.some((hash) => hash?.length !== 32))
    throw new ProofError('not_a_proof')
  return { line: bytes, index: Number(place), hashes: hashes as Hash[], note: text.slice(end + 2) }
}

function recordOf(line: Uint8Array, index: number): RunRecord {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line)
    const record = runRecordSchema.parse(JSON.parse(text))
    if (record.seq === index && canonicalJson(record) === text) return record
  } catch {
    // Said below.
  }
  throw new ProofError('wrong_record')
}
