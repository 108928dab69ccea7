import type { Tensor } from 'onnxruntime-node'
import type { EncodedRecord } from './setup.ts'

/** What the prefix made of one record. */
export type Boundary = Readonly<Record<string, Tensor>>

/** Rough size of a boundary beyond its tensors: names, map entry, key. */
const ENTRY_BYTES = 512

/** The same key for the same tokens, positions and length, and for nothing else. */
export function recordKey({ ids, positions, bucket }: EncodedRecord): string {
  return `${bucket}/${positions.join()}/${Buffer.from(ids.buffer, ids.byteOffset, ids.byteLength).toString('latin1')}`
}

/**
 * Boundaries of records seen lately. Within a stage nothing in front of the first trained product changes, and Poisson
 * sampling meets each record again every 1/q rounds; the least recently used go when the bytes run out.
 * What is kept is exactly what the prefix made, so that a hit and a miss give the same bits.
 */
export class PrefixCache {
  readonly #limitBytes: number
  readonly #entries = new Map<string, { boundary: Boundary; bytes: number }>()
  #bytes = 0

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  get(key: string): Boundary | undefined {
    const entry = this.#entries.get(key)
    if (!entry) return undefined
    // A Map iterates in order of insertion: what was used last goes to the end.
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry.boundary
  }

  set(key: string, boundary: Boundary): void {
    const tensors = Object.values(boundary).reduce((sum, { data }) => sum + (data as Float32Array).byteLength, 0)
    const bytes = tensors + 2 * key.length + ENTRY_BYTES
    if (bytes > this.#limitBytes) return
    this.#entries.set(key, { boundary, bytes })
    this.#bytes += bytes
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#limitBytes) break
      this.#entries.delete(oldest)
      this.#bytes -= entry.bytes
    }
  }

  clear(): void {
    this.#entries.clear()
    this.#bytes = 0
  }

  get size(): number {
    return this.#entries.size
  }
}
