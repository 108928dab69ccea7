import { EMPTY_LOG, LedgerError, type LogForm, type LogHead, type Placed } from './chain.ts'
import { rootOf, sameBytes } from './merkle.ts'
import { type Checkpoint, NoteError, openCheckpoint, type Signer, type VerifyEd25519 } from './note.ts'

/** Where an auditor reads: the bucket of the coordinator, or a copy of it. */
export interface AuditSource {
  /** The object, or null where there is none. */
  read(key: string): Promise<Uint8Array | null>
}

export type AuditFault =
  | 'missing'
  | 'not_text'
  | 'truncated'
  | 'forked'
  | 'unsigned_end'
  | 'bad_report_signature'
  | 'wrong_state'
  | 'wrong_adapter'
  | 'over_budget'
  | 'hidden_charge'
  | LedgerError['code']
  | NoteError['code']

/** What does not hold, and in which object. */
export class AuditError extends Error {
  readonly code: AuditFault
  readonly object: string
  constructor(code: AuditFault, object: string, detail: string) {
    super(`${object}: ${code}: ${detail}`)
    this.name = 'AuditError'
    this.code = code
    this.object = object
  }
}

/** Whose signatures logs must have: what `GET /v1/log` says, got over a way that is trusted. */
export interface Signed {
  /** What the names of the logs begin with. */
  readonly name: string
  /** Raw Ed25519. */
  readonly publicKey: Uint8Array<ArrayBuffer>
  readonly verify: VerifyEd25519
}

/** A log as it was read. */
export interface ReadLog<R> {
  /** The checkpoint as it was signed, and what it says. */
  readonly note: string
  readonly checkpoint: Checkpoint
  readonly records: readonly R[]
  readonly head: LogHead
  /** The object that a record lies in. */
  readonly at: (seq: number) => string
}

/** @throws AuditError `missing` */
export async function fetched(source: AuditSource, key: string): Promise<Uint8Array> {
  const bytes = await source.read(key)
  if (!bytes) throw new AuditError('missing', key, 'there is no such object')
  return bytes
}

function textOf(bytes: Uint8Array, key: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new AuditError('not_text', key, 'it is no UTF-8')
  }
}

async function readCheckpoint(
  source: AuditSource,
  key: string,
  { signer, verify }: { signer: Signer; verify: VerifyEd25519 },
) {
  const note = textOf(await fetched(source, key), key)
  try {
    return { note, checkpoint: await openCheckpoint(note, signer, verify) }
  } catch (error) {
    if (!(error instanceof NoteError)) throw error
    throw new AuditError(error.code, key, `it is not signed as ${signer.name} with this key`)
  }
}

/**
 * All segments, up to the checkpoint at least; the tree there must be the one that was signed.
 * @throws AuditError
 */
export async function readLog<R extends Placed, E extends object>(
  source: AuditSource,
  form: LogForm<R, E>,
  id: string,
  { name, publicKey, verify }: Signed,
): Promise<ReadLog<R>> {
  const signer = { name: form.logName(name, id), publicKey }
  const { note, checkpoint } = await readCheckpoint(source, form.checkpointKey(id), { signer, verify })
  const records: R[] = []
  const firsts: number[] = []
  let head: LogHead = EMPTY_LOG
  let isSigned = checkpoint.size === 0
  for (;;) {
    const key = form.segmentKey(id, head.size)
    const bytes = await source.read(key)
    if (!bytes) break
    const segment = ledgerChecked(
      () => form.read(head, textOf(bytes, key)),
      () => key,
    )
    firsts.push(head.size)
    records.push(...segment.records)
    head = segment.head
    if (head.size !== checkpoint.size) continue
    isSigned = sameBytes(rootOf(head.tree), checkpoint.root)
    if (!isSigned) throw new AuditError('forked', key, 'its records are not those that were signed')
  }
  if (head.size < checkpoint.size)
    throw new AuditError(
      'truncated',
      form.segmentKey(id, head.size),
      `${checkpoint.size} records were signed, ${head.size} are there`,
    )
  if (!isSigned) throw new AuditError('forked', form.checkpointKey(id), 'it counts records that no segment ends at')
  const at = (seq: number) => form.segmentKey(id, firsts.findLast((first) => first <= seq) ?? 0)
  return { note, checkpoint, records, head, at }
}

/** @throws AuditError in the place of LedgerError */
export function ledgerChecked<T>(check: () => T, at: (seq: number) => string): T {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    throw new AuditError(error.code, at(error.seq), `record ${error.seq}`)
  }
}
