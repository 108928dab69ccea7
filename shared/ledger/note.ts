import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'
import { type Hash, sameBytes } from './merkle.ts'

/**
 * Signed notes and checkpoints of transparency logs (https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint): a text
 * that ends with a newline, a blank line, and lines of signatures. Only their one canonical form is read.
 */

export class NoteError extends Error {
  readonly code: 'not_a_note' | 'not_a_checkpoint' | 'wrong_origin' | 'unsigned' | 'bad_signature'
  constructor(code: NoteError['code']) {
    super(`note refused: ${code}`)
    this.name = 'NoteError'
    this.code = code
  }
}

/** Whether a signature over a message is that of a raw Ed25519 key (RFC 8032), by whatever the host has. */
export type VerifyEd25519 = (
  publicKey: Uint8Array<ArrayBuffer>,
  message: Uint8Array<ArrayBuffer>,
  signature: Uint8Array<ArrayBuffer>,
) => Promise<boolean>
/** Signs a message with the log's Ed25519 key. */
export type SignEd25519 = (message: Uint8Array<ArrayBuffer>) => Promise<Uint8Array<ArrayBuffer>>

/** One that signs notes: a name without spaces and `+`, and a raw Ed25519 public key of 32 bytes. */
export interface Signer {
  readonly name: string
  readonly publicKey: Uint8Array<ArrayBuffer>
}

export interface NoteSignature {
  readonly name: string
  /** First four bytes of the key's id. */
  readonly id: Uint8Array
  readonly signature: Uint8Array<ArrayBuffer>
}
export interface Note {
  /** Ends with a newline. */
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

/** A log's state: its name, the number of its entries and the root of their tree. */
export interface Checkpoint {
  readonly origin: string
  readonly size: number
  readonly root: Hash
}

const ED25519 = 1
const ID_BYTES = 4
const SIGNATURE_BYTES = 64
const NOTE_BYTES_MAX = 65_536
const SIGNATURES_MAX = 64
const NAME = /^[^\s+]+$/u

export const toBase64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes))

/** Bytes of base64 with padding, in its one form. @returns null for any other text */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) return null
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
  return toBase64(bytes) === text ? bytes : null
}

/** Id of a key under a name: the first bytes of SHA-256(name || 0x0A || 0x01 || public key). */
export function keyId({ name, publicKey }: Signer): Uint8Array {
  return sha256(Uint8Array.of(...utf8ToBytes(name), 0x0a, ED25519, ...publicKey)).subarray(0, ID_BYTES)
}

/** A verifier key as other tools of transparency logs read it: `name+id+key`. */
export function verifierKey(signer: Signer): string {
  const key = toBase64(Uint8Array.of(ED25519, ...signer.publicKey))
  return `${signer.name}+${bytesToHex(keyId(signer))}+${key}`
}

const signatureLine = ({ name, id, signature }: NoteSignature): string =>
  `\u2014 ${name} ${toBase64(Uint8Array.of(...id, ...signature))}\n`

/** A note with signatures. */
export const noteText = ({ text, signatures }: Note): string => `${text}\n${signatures.map(signatureLine).join('')}`

/** Signs a text. @param text ends with a newline */
export async function signNote(text: string, signer: Signer, sign: SignEd25519): Promise<string> {
  const signature = await sign(bytesOf(text))
  return noteText({ text, signatures: [{ name: signer.name, id: keyId(signer), signature }] })
}

const bytesOf = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(utf8ToBytes(text))

/** Control characters but for the newline; they and what stands for lost bytes have no place in a note. */
const isControl = (char: string): boolean => (char < ' ' && char !== '\n') || char === '\u007f' || char === '\ufffd'

/** Reads a note, whoever signed it. @throws NoteError `not_a_note` */
export function parseNote(note: string): Note {
  const isClean = note.isWellFormed() && !Array.from(note).some(isControl)
  const end = note.lastIndexOf('\n\n')
  if (!isClean || end < 1 || !note.endsWith('\n') || utf8ToBytes(note).length > NOTE_BYTES_MAX)
    throw new NoteError('not_a_note')
  const lines = note.slice(end + 2, -1).split('\n')
  if (lines.length > SIGNATURES_MAX) throw new NoteError('not_a_note')
  return { text: note.slice(0, end + 1), signatures: lines.map(parseSignature) }
}

function parseSignature(line: string): NoteSignature {
  const [dash, name, text, ...more] = line.split(' ')
  const bytes = fromBase64(text ?? '')
  if (dash !== '\u2014' || !name || !NAME.test(name) || more.length > 0 || !bytes || bytes.length <= ID_BYTES)
    throw new NoteError('not_a_note')
  return { name, id: bytes.slice(0, ID_BYTES), signature: bytes.slice(ID_BYTES) }
}

/**
 * The text of a note, once one of its signatures is that of the signer; signatures of others are left alone.
 * @throws NoteError `not_a_note`, `unsigned` where the signer has none, `bad_signature` where it has a wrong one
 */
export async function openNote(note: string, signer: Signer, verify: VerifyEd25519): Promise<string> {
  const { text, signatures } = parseNote(note)
  const id = keyId(signer)
  const own = signatures.filter((each) => each.name === signer.name && sameBytes(each.id, id))
  if (own.length === 0) throw new NoteError('unsigned')
  for (const { signature } of own) {
    const isGood = signature.length === SIGNATURE_BYTES && (await verify(signer.publicKey, bytesOf(text), signature))
    if (!isGood) throw new NoteError('bad_signature')
  }
  return text
}

export const checkpointText = ({ origin, size, root }: Checkpoint): string => `${origin}\n${size}\n${toBase64(root)}\n`

/** Reads the text of a checkpoint without extension lines. @throws NoteError `not_a_checkpoint` */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin, size, root, rest, ...more] = text.split('\n')
  const hash = fromBase64(root ?? '')
  const isSize = /^(?:0|[1-9]\d{0,15})$/.test(size ?? '') && Number.isSafeInteger(Number(size))
  if (!origin || !isSize || hash?.length !== 32 || rest !== '' || more.length > 0)
    throw new NoteError('not_a_checkpoint')
  return { origin, size: Number(size), root: hash }
}

/** Signs where a log stands. */
export async function signCheckpoint(at: Checkpoint, signer: Signer, sign: SignEd25519): Promise<string> {
  return await signNote(checkpointText(at), signer, sign)
}

/**
 * The checkpoint of a log in a note that its key signed.
 * @throws NoteError `not_a_note`, `unsigned`, `bad_signature`, `not_a_checkpoint`, `wrong_origin`
 */
export async function openCheckpoint(note: string, signer: Signer, verify: VerifyEd25519): Promise<Checkpoint> {
  const checkpoint = parseCheckpoint(await openNote(note, signer, verify))
  // The name of the key is that of the log, so that one key signs many logs and no note of one passes for another's.
  if (checkpoint.origin !== signer.name) throw new NoteError('wrong_origin')
  return checkpoint
}
