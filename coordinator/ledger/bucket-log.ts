import {
  type LogForm,
  type LogHead,
  NoteError,
  openCheckpoint,
  type Placed,
  rootOf,
  type Signer,
  sameBytes,
  signCheckpoint,
} from '../../shared/ledger/index.ts'
import { commitObject, type ObjectStore, StoreError } from '../objects/store.ts'
import { type LogKey, verifyEd25519 } from './log-key.ts'

/** A key of the bucket takes about one write a second. */
export const PUBLISH_EVERY_MS = 1000

/** What an actor's log and the bucket can disagree in: both of them mean that going on would spend what was forgotten. */
export type LogFault = 'log_conflict' | 'ledger_behind_log'

/** Canonical records as they lie in one object. */
export interface StoredSegment {
  /** Seq of the first record. */
  readonly first: number
  readonly text: string
}

export interface BucketParts {
  readonly objects: ObjectStore
  readonly key: LogKey
}

/** What lies in the bucket of one log: its segments, created and never replaced, and where it stands, signed. */
export class BucketLog {
  readonly #parts: BucketParts
  readonly #form: Pick<LogForm<Placed, object>, 'segmentKey' | 'checkpointKey'>
  readonly #id: string
  readonly #signer: Signer
  #note: { readonly size: number; readonly text: string } | null = null
  /** When a checkpoint was last put into the bucket, and of which size. */
  #published = { time: Number.NEGATIVE_INFINITY, size: -1 }

  constructor(
    parts: BucketParts,
    form: Pick<LogForm<Placed, object>, 'segmentKey' | 'checkpointKey' | 'logName'>,
    id: string,
  ) {
    this.#parts = parts
    this.#form = form
    this.#id = id
    this.#signer = { name: form.logName(parts.key.name, id), publicKey: parts.key.publicKey }
  }

  /** Creates a segment, or finds its bytes there. @throws StoreError while the object store does not take it */
  async commit({ first, text }: StoredSegment): Promise<LogFault | null> {
    try {
      await commitObject(this.#parts.objects, this.#form.segmentKey(this.#id, first), new TextEncoder().encode(text))
      return null
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'conflict') throw error
      return 'log_conflict'
    }
  }

  /**
   * Compares the bucket with a log: its last segment must lie there with our bytes, none may lie behind it but the staged one, and
   * the checkpoint there may count no more records than the log and what is staged, nor the same with another root. One that
   * this key did not sign says nothing. A bucket ahead means that the database was rolled back.
   * @param known `last` of the stored segments, and how many records are staged behind it
   * @throws StoreError
   */
  async compare(head: LogHead, known: { last: StoredSegment | undefined; staged: number }): Promise<LogFault | null> {
    const conflict = known.last ? await this.commit(known.last) : null
    if (conflict) return conflict
    const ahead = this.#form.segmentKey(this.#id, head.size)
    if (known.staged === 0 && (await this.#parts.objects.size(ahead)) !== null) return 'ledger_behind_log'
    const bytes = await this.#parts.objects.fetch(this.#form.checkpointKey(this.#id))
    if (!bytes) return null
    try {
      const there = await openCheckpoint(new TextDecoder().decode(bytes), this.#signer, verifyEd25519)
      if (there.size > head.size + known.staged) return 'ledger_behind_log'
      if (there.size === head.size && !sameBytes(there.root, rootOf(head.tree))) return 'log_conflict'
      this.#published = { time: Number.NEGATIVE_INFINITY, size: there.size }
    } catch (error) {
      if (!(error instanceof NoteError)) throw error
    }
    return null
  }

  /** Where a log stands, signed (C2SP checkpoint). */
  async note({ size, tree }: LogHead): Promise<string> {
    if (this.#note?.size !== size) {
      const checkpoint = { origin: this.#signer.name, size, root: rootOf(tree) }
      this.#note = { size, text: await signCheckpoint(checkpoint, this.#signer, this.#parts.key.sign) }
    }
    return this.#note.text
  }

  /** Puts the checkpoint into the bucket: at most once a second, unless the log has come to an end. @throws StoreError */
  async publish(head: LogHead, { now, isEnd }: { now: number; isEnd: boolean }): Promise<void> {
    if (this.#published.size === head.size) return
    if (!isEnd && now - this.#published.time < PUBLISH_EVERY_MS) return
    const note = await this.note(head)
    await this.#parts.objects.replace(this.#form.checkpointKey(this.#id), new TextEncoder().encode(note))
    this.#published = { time: now, size: head.size }
  }
}
