import { SPEC_VERSION } from '../../shared/api/index.ts'
import {
  appendEntries,
  checkpointNoteKey,
  EMPTY_LOG,
  NoteError,
  openCheckpoint,
  type RunEntry,
  type RunRecord,
  readSegment,
  rootOf,
  sameBytes,
  segmentKey,
  signCheckpoint,
} from '../../shared/ledger/index.ts'
import { commitObject, type ObjectStore, StoreError } from '../objects/store.ts'
import { type LogKey, signerOf, verifyEd25519 } from './log-key.ts'
import type { Fault, RunStore, StoredSegment } from './store.ts'
import { foldRecord, type RunView, viewOfSpec } from './view.ts'

interface LogParts {
  readonly store: RunStore
  readonly objects: ObjectStore
  readonly key: LogKey
}

/** A key of the bucket takes about one write a second. */
const PUBLISH_EVERY_MS = 1000

/** The log of one run as the actor holds it: what is stored, folded into a view, and at most one staged segment. */
export interface LoadedLog {
  readonly id: string
  /** Null before the spec record is stored. */
  view: RunView | null
  staged: StoredSegment | null
  fault: Fault | null
  reason: string | null
}

/** Whether a log's first record has a spec in the format that this program reads. */
function isOfThisVersion(text: string | undefined): boolean {
  try {
    const { spec } = JSON.parse(text?.split('\n', 1)[0] ?? '') as { spec?: { version?: unknown } }
    return spec?.version === SPEC_VERSION
  } catch {
    return true
  }
}

/**
 * The commit of a run (each arrow is a crash window): stage the segment in the actor's database -> create it in the object
 * store -> mark it stored -> only then believe it. What is staged is stored at the next start by the same function.
 */
export class RunLog {
  readonly #store: RunStore
  readonly #objects: ObjectStore
  readonly #key: LogKey
  readonly #loaded: LoadedLog
  #inspected = false
  #note: { readonly size: number; readonly text: string } | null = null
  /** When a checkpoint was last put into the bucket, and of which size. */
  #published = { time: Number.NEGATIVE_INFINITY, size: -1 }

  private constructor({ store, objects, key }: LogParts, loaded: LoadedLog) {
    this.#store = store
    this.#objects = objects
    this.#key = key
    this.#loaded = loaded
  }

  /** Reads the log from the actor's database, every record checked again. A new run gets an empty one. */
  static load(parts: LogParts, newId?: string): RunLog | null {
    const row = parts.store.load()
    if (!row) {
      if (newId === undefined) return null
      return new RunLog(parts, { id: newId, view: null, staged: null, fault: null, reason: null })
    }
    const { id, fault, reason, staged, segments } = row
    const log = new RunLog(parts, { id, view: null, staged, fault, reason })
    try {
      for (const segment of segments) log.#fold(segment)
    } catch {
      // What a program of another version wrote is not broken: nothing is noted down that would outlast this one.
      if (isOfThisVersion(segments[0]?.text)) log.#fail('log_broken')
      else log.#loaded.fault = 'log_broken'
    }
    return log
  }

  get id(): string {
    return this.#loaded.id
  }

  get view(): RunView | null {
    return this.#loaded.view
  }

  get fault(): Fault | null {
    return this.#loaded.fault
  }

  get reason(): string | null {
    return this.#loaded.reason
  }

  /** The spec of a log that holds its first record, staged or stored. */
  firstRecord(): RunRecord | null {
    const { staged } = this.#loaded
    const text = staged?.first === 0 ? staged.text : this.#store.segmentsFrom(0, 1)[0]?.text
    return text === undefined ? null : (readSegment(EMPTY_LOG, text).records[0] ?? null)
  }

  /**
   * Compares the bucket with the log, once in a process: the last segment must lie there with our bytes, and none after it.
   * A bucket ahead means that this database was rolled back: going on would spend privacy that it forgot.
   */
  async inspect(): Promise<void> {
    const { view, id, staged } = this.#loaded
    if (this.#inspected || this.fault) return
    if (view) {
      const last = this.#store.segmentsFrom(view.head.size - 1, 1)[0]
      if (last) await this.#commitObject(last)
      const ahead = segmentKey(id, view.head.size)
      if (!staged && (await this.#objects.size(ahead)) !== null) return this.#fail('ledger_behind_log')
      const fault = await this.#compare(view)
      if (fault) return this.#fail(fault)
    }
    this.#inspected = true
  }

  /** Stores the staged segment, if there is one. @throws StoreError while the object store does not take it. */
  async flush(): Promise<void> {
    const { staged } = this.#loaded
    if (!staged || this.fault) return
    await this.#commitObject(staged)
    if (this.fault) return
    this.#store.markStored(staged.first)
    this.#fold(staged)
    this.#loaded.staged = null
  }

  /** Appends entries as one segment. They are in the log when this returns; when it throws, they may come to be later. */
  async append(entries: readonly RunEntry[], now: number, reason?: string): Promise<void> {
    await this.flush()
    if (this.fault) return
    const { segment } = appendEntries(this.view?.head ?? EMPTY_LOG, entries, now)
    const staged = { first: segment.first, text: segment.text }
    this.#store.stage(staged, { id: this.id, reason })
    this.#loaded.staged = staged
    this.#loaded.reason = reason ?? this.#loaded.reason
    await this.flush()
  }

  /** Where the stored log stands, signed (C2SP checkpoint); null before its first record. */
  async note(): Promise<string | null> {
    const { view } = this.#loaded
    if (!view) return null
    const { size, tree } = view.head
    if (this.#note?.size !== size) {
      const signer = signerOf(this.#key, this.id)
      const text = await signCheckpoint({ origin: signer.name, size, root: rootOf(tree) }, signer, this.#key.sign)
      this.#note = { size, text }
    }
    return this.#note.text
  }

  /** Puts the checkpoint into the bucket: at most once a second, and at the end in any case. @throws StoreError */
  async publish(now: number): Promise<void> {
    const { view } = this.#loaded
    if (!view || this.fault || this.#published.size === view.head.size) return
    if (!view.end && now - this.#published.time < PUBLISH_EVERY_MS) return
    const note = await this.note()
    await this.#objects.replace(checkpointNoteKey(this.id), new TextEncoder().encode(note!))
    this.#published = { time: now, size: view.head.size }
  }

  /**
   * What the bucket's checkpoint says against this log: one of more records means that the database was rolled back, one of
   * the same records with another root that the log forked. One that this key did not sign says nothing.
   */
  async #compare({ head }: RunView): Promise<Fault | null> {
    const bytes = await this.#objects.fetch(checkpointNoteKey(this.id))
    if (!bytes) return null
    try {
      const note = new TextDecoder().decode(bytes)
      const there = await openCheckpoint(note, signerOf(this.#key, this.id), verifyEd25519)
      if (there.size > head.size + this.#stagedRecords()) return 'ledger_behind_log'
      if (there.size === head.size && !sameBytes(there.root, rootOf(head.tree))) return 'log_conflict'
      this.#published = { time: Number.NEGATIVE_INFINITY, size: there.size }
    } catch (error) {
      if (!(error instanceof NoteError)) throw error
    }
    return null
  }

  /** Records that are decided and not known to lie in the bucket: they may, and a checkpoint may count them. */
  #stagedRecords(): number {
    return this.#loaded.staged?.text.trimEnd().split('\n').length ?? 0
  }

  /** Marks the log as one that may not go on. */
  fail(fault: Fault): void {
    this.#fail(fault)
  }

  async #commitObject(segment: StoredSegment): Promise<void> {
    const bytes = new TextEncoder().encode(segment.text)
    try {
      await commitObject(this.#objects, segmentKey(this.id, segment.first), bytes)
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'conflict') throw error
      this.#fail('log_conflict')
    }
  }

  #fail(fault: Fault): void {
    this.#store.setFault(fault)
    this.#loaded.fault = fault
  }

  #fold(segment: StoredSegment): void {
    const { records, head } = readSegment(this.view?.head ?? EMPTY_LOG, segment.text)
    for (const record of records) {
      if (record.type === 'spec') this.#loaded.view = viewOfSpec(record)
      if (this.view) foldRecord(this.view, record)
    }
    if (this.view) this.view.head = head
  }
}
