import { type DeviceWish, type EncodedRecord, type Engine, isCallFault, isLineFault } from './engine/index.ts'
import type { Log } from './log.ts'

/** What the engines of a site have in common. */

/** What a site brings: its data, and where it evaluates. */
export interface SiteSettings {
  readonly data: string
  readonly unit: 'record' | 'user'
  readonly labels: readonly string[] | null
  readonly threads: number | 'auto'
  readonly device: DeviceWish
  readonly keepsHalves?: boolean
  readonly log: Log
}

/** How an engine makes a row of numbers of each record. */
export interface RowMaker {
  /** Numbers of a row. */
  readonly width: number
  /** @returns [records, width], row-major. */
  make(records: readonly EncodedRecord[]): Promise<Float32Array>
  /** Does the same with padding, which is nobody's. @throws where the engine fails on everything. */
  check(): Promise<void>
}

/** A row of a record that counts as nothing. */
export const nothing = (width: number): Float32Array => new Float32Array(width).fill(Number.NaN)

/**
 * Rows of records. Those that the model fails on are found by halves, and count as nothing. Whether it is the model that fails on
 * a record, or the engine on everything, is asked of padding: how a failure names itself is the model's to choose, and an engine
 * that ends over one record would tell of it.
 * @param leaveOut called where a record counts as nothing.
 */
export async function rowsOf(
  records: readonly EncodedRecord[],
  maker: RowMaker,
  leaveOut: () => void,
): Promise<Float32Array[]> {
  const { width } = maker
  try {
    const made = await maker.make(records)
    return records.map((_, i) => made.subarray(i * width, (i + 1) * width))
  } catch (error) {
    if (!isCallFault(error)) throw error
    await maker.check()
    leaveOut()
    if (records.length === 1) return [nothing(width)]
    const half = records.length >> 1
    return [
      ...(await rowsOf(records.slice(0, half), maker, leaveOut)),
      ...(await rowsOf(records.slice(half), maker, leaveOut)),
    ]
  }
}

export function once(action: () => void): () => void {
  let done = false
  return () => {
    if (!done) action()
    done = true
  }
}

/** What is still to do when an engine is open; where it fails, the engine is closed again. */
export async function opened<T>(engine: Engine, todo: () => Promise<T>): Promise<T> {
  try {
    return await todo()
  } catch (error) {
    await engine.close()
    throw error
  }
}

/** What a line is encoded to; null where it does not fit the task, which is the line's doing and ends nothing. */
export function fitting<T>(encode: () => T | null): T | null {
  try {
    return encode()
  } catch (error) {
    if (isLineFault(error)) return null
    throw error
  }
}
