import { type DatasetEntry, datasetLog, EMPTY_LOG, hashHex, type LogHead } from '../../shared/ledger/index.ts'
import { BucketLog, type BucketParts, type LogFault, LogFaultError, type StoredSegment } from '../ledger/index.ts'
import { serialQueue } from '../storage/index.ts'
import type { DatasetQueries } from './queries.ts'

interface LogParts extends BucketParts {
  readonly queries: DatasetQueries
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** A fault of work that nobody waits for. */
  readonly onFault: (error: unknown) => void
  /** Resolves when what the database has outlives power loss. */
  readonly synced: (() => Promise<void>) | undefined
}

/** Charges that a reservation covers wait so long for others, that they be one object. */
const COVERED_EVERY_MS = 10_000
/** Most records of one object. */
const SEGMENT_RECORDS = 10_000

/** What the bucket is known to hold. */
interface Known {
  readonly bucket: BucketLog
  head: LogHead
}

/**
 * The log of one dataset. A record is written in the transaction that it tells of (`append`); what is written goes into the bucket
 * in segments, decided in the database before they are created there. What nobody may be told before it lies in the bucket
 * waits for `commit`; a charge that draws on a reservation which lies there is covered by it, and follows a little later.
 */
export class DatasetLog {
  readonly #parts: LogParts
  readonly #serial = serialQueue()
  #known: Known | null = null
  #flushed = Number.NEGATIVE_INFINITY

  constructor(parts: LogParts) {
    this.#parts = parts
  }

  /** Adds entries. For use inside the transaction that changes what they tell of. */
  append(entries: readonly DatasetEntry[]): void {
    const { queries, now } = this.#parts
    const last = queries.lastRecord()
    const time = last ? (JSON.parse(last.line) as { time: number }).time : 0
    const head = last ? { ...EMPTY_LOG, size: last.seq + 1, hash: hashHex(last.line), time } : EMPTY_LOG
    const { segment } = datasetLog.append(head, entries, Math.floor(now()))
    for (const [index, line] of segment.text.trimEnd().split('\n').entries()) queries.addRecord(head.size + index, line)
  }

  /**
   * That the bucket is not ahead of this log, looked at once in a process: a database that was rolled back would spend what it
   * forgot. @throws LogFaultError, StoreError
   */
  async inspect(): Promise<void> {
    if (!this.#known) await this.#serial(() => this.#load())
    this.#requireSound()
  }

  /**
   * Everything written so far lies in the bucket when this returns, and is signed there if that is wanted or was not within the
   * last second. @throws LogFaultError, StoreError
   */
  async commit({ isSigned = false }: { isSigned?: boolean } = {}): Promise<void> {
    await this.#serial(() => this.#flush(isSigned))
    this.#requireSound()
  }

  /** Lets what is written go into the bucket, every ten seconds or so, with nobody waiting. */
  commitSoon(): void {
    if (this.#parts.now() - this.#flushed < COVERED_EVERY_MS) return
    this.#flushed = this.#parts.now()
    void this.#serial(() => this.#flush(false)).catch(this.#parts.onFault)
  }

  /** Resolves when everything begun so far is done. */
  async idle(): Promise<void> {
    await this.#serial(async () => undefined)
  }

  /** Marks the log as one that may not go on. */
  fail(fault: LogFault): LogFaultError {
    this.#parts.queries.setFault(fault)
    return new LogFaultError(fault)
  }

  #requireSound(): void {
    const fault = this.#parts.queries.fault()
    if (fault) throw new LogFaultError(fault)
  }

  /** What is stored, read from the database, and compared with the bucket; null where nothing may be done. */
  async #load(): Promise<Known | null> {
    const { queries } = this.#parts
    const id = queries.registration()?.id
    if (id === undefined || queries.fault()) return null
    if (this.#known) return this.#known
    const known: Known = { bucket: new BucketLog(this.#parts, datasetLog, id), head: EMPTY_LOG }
    const segments = queries.segments()
    let last: StoredSegment | undefined
    for (const { first, records } of segments.filter(({ stored }) => stored === 1)) {
      last = this.#segment(first, records)
      known.head = datasetLog.read(known.head, last.text).head
    }
    const staged = segments.find(({ stored }) => stored === 0)?.records ?? 0
    const fault = await known.bucket.compare(known.head, { last, staged })
    if (fault) {
      this.fail(fault)
      return null
    }
    this.#known = known
    return known
  }

  #segment(first: number, records: number): StoredSegment {
    const lines = this.#parts.queries.lines(first, records)
    return { first, text: `${lines.join('\n')}\n` }
  }

  async #flush(isSigned: boolean): Promise<void> {
    const known = await this.#load()
    if (!known) return
    this.#flushed = this.#parts.now()
    try {
      for (let staged = this.#stage(known.head.size); staged; staged = this.#stage(known.head.size)) {
        await this.#parts.synced?.()
        const fault = await known.bucket.commit(staged)
        if (fault) {
          this.fail(fault)
          return
        }
        this.#parts.queries.markStored(staged.first)
        known.head = datasetLog.read(known.head, staged.text).head
      }
      await known.bucket.publish(known.head, { now: this.#parts.now(), isEnd: isSigned })
    } catch (error) {
      // Whether it was done is unknown: what is, is read again.
      this.#known = null
      throw error
    }
  }

  /** The segment that is decided and not stored, or else all that is written and in none; null where that is nothing. */
  #stage(from: number): StoredSegment | null {
    const records = this.#parts.queries.stage(from, SEGMENT_RECORDS)
    return records === 0 ? null : this.#segment(from, records)
  }
}
