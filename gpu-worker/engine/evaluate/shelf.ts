import type { Bucket } from './bucket.ts'

/** The buckets that are open, at most so many: sessions hold packed weights, and a run may have many lengths. */
export class Shelf {
  readonly #most: number
  readonly #open = new Map<string, Promise<Bucket>>()

  constructor(most: number) {
    this.#most = most
  }

  /** A bucket from the shelf, or opened now; the least recently used go when there are too many. Calls must not overlap. */
  async take(key: string, open: () => Promise<Bucket>): Promise<Bucket> {
    const known = this.#open.get(key)
    this.#open.delete(key)
    // Room is made before the new one is opened: both together may be more than there is memory for.
    if (!known) while (this.#open.size >= this.#most) await this.#drop(this.#open.keys().next().value!)
    const bucket = known ?? open()
    this.#open.set(key, bucket)
    bucket.catch(() => this.#open.delete(key))
    return bucket
  }

  all(): Promise<Bucket[]> {
    return Promise.all(this.#open.values())
  }

  async clear(): Promise<void> {
    for (const key of [...this.#open.keys()]) await this.#drop(key)
  }

  async #drop(key: string): Promise<void> {
    const bucket = this.#open.get(key)
    this.#open.delete(key)
    await (await bucket)?.release()
  }
}
