import { SPEC_VERSION } from '../../shared/api/index.ts'
import { EMPTY_LOG, type RunEntry, type RunRecord, runLog } from '../../shared/ledger/index.ts'
import { BucketLog, type BucketParts, type StoredSegment } from '../ledger/index.ts'
import type { Fault, RunStore } from './store.ts'
import { foldRecord, type RunView, viewOfSpec } from './view.ts'

interface LogParts extends BucketParts {
  readonly store: RunStore
}

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
  readonly #bucket: BucketLog
  readonly #loaded: LoadedLog
  #inspected = false

  private constructor(parts: LogParts, loaded: LoadedLog) {
    this.#store = parts.store
    this.#bucket = new BucketLog(parts, runLog, loaded.id)
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
    return text === undefined ? null : (runLog.read(EMPTY_LOG, text).records[0] ?? null)
  }

  /** Compares the bucket with the log, once in a process: a database that was rolled back would spend what it forgot. */
  async inspect(): Promise<void> {
    const { view } = this.#loaded
    if (this.#inspected || this.fault) return
    if (view) {
      const last = this.#store.segmentsFrom(view.head.size - 1, 1)[0]
      const fault = await this.#bucket.compare(view.head, { last, staged: this.#stagedRecords() })
      if (fault) return this.#fail(fault)
    }
    this.#inspected = true
  }

  /** Stores the staged segment, if there is one. @throws StoreError while the object store does not take it. */
  async flush(): Promise<void> {
    const { staged } = this.#loaded
    if (!staged || this.fault) return
    const fault = await this.#bucket.commit(staged)
    if (fault) return this.#fail(fault)
    this.#store.markStored(staged.first)
    this.#fold(staged)
    this.#loaded.staged = null
  }

  /** Appends entries as one segment. They are in the log when this returns; when it throws, they may come to be later. */
  async append(entries: readonly RunEntry[], now: number, reason?: string): Promise<void> {
    await this.flush()
    if (this.fault) return
    const { segment } = runLog.append(this.view?.head ?? EMPTY_LOG, entries, now)
    const staged = { first: segment.first, text: segment.text }
    this.#store.stage(staged, { id: this.id, reason })
    this.#loaded.staged = staged
    this.#loaded.reason = reason ?? this.#loaded.reason
    await this.flush()
  }

  /** Where the stored log stands, signed (C2SP checkpoint); null before its first record. */
  async note(): Promise<string | null> {
    return this.view && (await this.#bucket.note(this.view.head))
  }

  /** Puts the checkpoint into the bucket: at most once a second, and at the end in any case. @throws StoreError */
  async publish(now: number): Promise<void> {
    if (this.view && !this.fault) await this.#bucket.publish(this.view.head, { now, isEnd: this.view.end !== null })
  }

  /** Records that are decided and not known to lie in the bucket: they may, and a checkpoint may count them. */
  #stagedRecords(): number {
    return this.#loaded.staged?.text.trimEnd().split('\n').length ?? 0
  }

  /** Marks the log as one that may not go on. */
  fail(fault: Fault): void {
    this.#fail(fault)
  }

  #fail(fault: Fault): void {
    this.#store.setFault(fault)
    this.#loaded.fault = fault
  }

  #fold(segment: StoredSegment): void {
    const { records, head } = runLog.read(this.view?.head ?? EMPTY_LOG, segment.text)
    for (const record of records) {
      if (record.type === 'spec') this.#loaded.view = viewOfSpec(record)
      if (this.view) foldRecord(this.view, record)
    }
    if (this.view) this.view.head = head
  }
}
