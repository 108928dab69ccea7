import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { sameBytes } from './merkle.ts'
import {
  fromBase64,
  NoteError,
  parseNote,
  type SignEd25519,
  type Signer,
  toBase64,
  type VerifyEd25519,
} from './note.ts'

/**
 * Cosignatures of witnesses (https://c2sp.org/tlog-cosignature, version 1): that at a time, the largest tree of the log that the
 * witness had seen was the one of this checkpoint, and that it continued all those before.
 */

const COSIGNATURE = 4
const ID_BYTES = 4
const TIME_BYTES = 8

const idOf = ({ name, publicKey }: Signer): Uint8Array =>
  sha256(Uint8Array.of(...utf8ToBytes(name), 0x0a, COSIGNATURE, ...publicKey)).subarray(0, ID_BYTES)

/** Verifier key of a witness: `name+id+key`. */
export function witnessKey(witness: Signer): string {
  const key = toBase64(Uint8Array.of(COSIGNATURE, ...witness.publicKey))
  return `${witness.name}+${bytesToHex(idOf(witness))}+${key}`
}

/** Reads the verifier key of a witness. @returns null where it is none */
export function parseWitnessKey(text: string): Signer | null {
  const [, name, id, key] = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text) ?? []
  const bytes = fromBase64(key ?? '!')
  if (name === undefined || bytes?.length !== 33 || bytes[0] !== COSIGNATURE) return null
  const witness = { name, publicKey: bytes.slice(1) }
  return bytesToHex(idOf(witness)) === id ? witness : null
}

const messageOf = (text: string, seconds: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(utf8ToBytes(`cosignature/v1\ntime ${seconds}\n${text}`))

/** A line to be added to a note. @param text of the checkpoint @param seconds since 1970 */
export async function cosign(text: string, seconds: number, witness: Signer & { sign: SignEd25519 }): Promise<string> {
  const time = new DataView(new ArrayBuffer(TIME_BYTES))
  time.setBigUint64(0, BigInt(seconds))
  const signature = await witness.sign(messageOf(text, seconds))
  const bytes = Uint8Array.of(...idOf(witness), ...new Uint8Array(time.buffer), ...signature)
  return `\u2014 ${witness.name} ${toBase64(bytes)}\n`
}

/**
 * When a witness cosigned a note, in seconds since 1970.
 * @throws NoteError `not_a_note`, `unsigned` where it did not, `bad_signature`
 */
export async function cosignedAt(note: string, witness: Signer, verify: VerifyEd25519): Promise<number> {
  const { text, signatures } = parseNote(note)
  const own = signatures.find(({ name, id }) => name === witness.name && sameBytes(id, idOf(witness)))
  if (!own) throw new NoteError('unsigned')
  const bytes = own.signature
  if (bytes.length !== TIME_BYTES + 64) throw new NoteError('bad_signature')
  const seconds = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0))
  const isGood =
    Number.isSafeInteger(seconds) &&
    (await verify(witness.publicKey, messageOf(text, seconds), bytes.slice(TIME_BYTES)))
  if (!isGood) throw new NoteError('bad_signature')
  return seconds
}
