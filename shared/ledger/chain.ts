import type { z } from 'zod'
import { canonicalJson, hashHex } from './canonical.ts'
import { type DatasetEntry, type DatasetRecord, datasetRecordSchema } from './dataset-record.ts'
import { appendLeaf, EMPTY_TREE, type Hash, leafHash, type Tree } from './merkle.ts'
import { GENESIS, type RunEntry, type RunRecord, runRecordSchema } from './record.ts'

/** Where a log stands: the number of its records and the hash of the last. */
export interface LogHead {
  readonly size: number
  readonly hash: string
  readonly time: number
  /** Merkle tree of the records' canonical bytes. */
  readonly tree: Tree
}
export const EMPTY_LOG: LogHead = { size: 0, hash: GENESIS, time: 0, tree: EMPTY_TREE }

export class LedgerError extends Error {
  readonly code:
    | 'not_canonical'
    | 'not_a_record'
    | 'broken_chain'
    | 'out_of_order'
    | 'uncharged_report'
    | 'wrong_update'
    | 'wrong_public_work'
    | 'not_reserved'
    | 'over_lifetime_budget'
  /** Of the record. */
  readonly seq: number
  constructor(code: LedgerError['code'], seq: number, cause?: unknown) {
    super(`log refused at record ${seq}: ${code}`, { cause })
    this.name = 'LedgerError'
    this.code = code
    this.seq = seq
  }
}

/** A segment: canonical records, one a line, written as one object. */
export interface Segment<R> {
  readonly first: number
  readonly records: readonly R[]
  readonly text: string
}

/** What stands in every record: its place in the log, the hash of the record before, and a time. */
export interface Placed {
  readonly seq: number
  readonly prev: string
  readonly time: number
}

/** Logs of one kind: what their records are, and where their objects lie. */
export class LogForm<R extends Placed, E extends object> {
  readonly #folder: string
  readonly #schema: z.ZodType<R>

  /** @param folder of all logs of the kind; each has one of its own in it, by its id */
  constructor(folder: string, schema: z.ZodType<R>) {
    this.#folder = folder
    this.#schema = schema
  }

  /** Places entries at the end of a log: gives them seq, prev and a time that never goes backwards. */
  append(head: LogHead, entries: readonly E[], now: number): { segment: Segment<R>; head: LogHead } {
    let { size, hash, time, tree } = head
    const lines: string[] = []
    const records = entries.map((entry) => {
      time = Math.max(now, time)
      const record = this.#schema.parse({ ...entry, seq: size, prev: hash, time })
      const line = canonicalJson(record)
      lines.push(line)
      hash = hashHex(line)
      tree = appendLeaf(tree, leafHash(line))
      size += 1
      return record
    })
    return { segment: { first: head.size, records, text: `${lines.join('\n')}\n` }, head: { size, hash, time, tree } }
  }

  /**
   * Reads a segment that continues `head`. Refuses every form but the canonical one.
   * @throws LedgerError `not_canonical`, `not_a_record`, `broken_chain` or `out_of_order`.
   */
  read(head: LogHead, text: string): { records: R[]; leaves: Hash[]; head: LogHead } {
    if (!text.endsWith('\n')) throw new LedgerError('not_canonical', head.size)
    let at = head
    const leaves: Hash[] = []
    const records = text
      .slice(0, -1)
      .split('\n')
      .map((line) => {
        const record = this.#parse(line, at.size)
        if (record.seq !== at.size || record.time < at.time) throw new LedgerError('out_of_order', at.size)
        if (record.prev !== at.hash) throw new LedgerError('broken_chain', at.size)
        const leaf = leafHash(line)
        leaves.push(leaf)
        const tree = appendLeaf(at.tree, leaf)
        at = { size: at.size + 1, hash: hashHex(line), time: record.time, tree }
        return record
      })
    return { records, leaves, head: at }
  }

  #parse(line: string, seq: number): R {
    let value: unknown
    try {
      value = JSON.parse(line)
    } catch (cause) {
      throw new LedgerError('not_canonical', seq, cause)
    }
    const parsed = this.#schema.safeParse(value)
    if (!parsed.success) throw new LedgerError('not_a_record', seq)
    if (canonicalJson(parsed.data) !== line) throw new LedgerError('not_canonical', seq)
    return parsed.data
  }

  /** Object key of a segment: eight digits of the seq of its first record. */
  segmentKey(id: string, first: number): string {
    return `${this.#folder}/${id}/log/${String(first).padStart(8, '0')}.jsonl`
  }

  /** What a log of a coordinator is called, and signed as: no checkpoint of one log passes for another's. */
  logName(coordinator: string, id: string): string {
    return this.#folder === RUNS ? `${coordinator}/${id}` : `${coordinator}/${this.#folder}/${id}`
  }

  /** Object key of a log's newest signed checkpoint: the one object that is replaced. */
  checkpointKey(id: string): string {
    return `${this.#folder}/${id}/checkpoint`
  }
}

const RUNS = 'runs'

export const runLog = new LogForm<RunRecord, RunEntry>(RUNS, runRecordSchema)

/** Every charge of every run to one dataset, and what its owner allowed. */
export const datasetLog = new LogForm<DatasetRecord, DatasetEntry>('datasets', datasetRecordSchema)
