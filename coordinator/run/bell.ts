/** Wakes those who wait for news of a topic. A mark taken before looking makes sure that no ring is missed. */
export class Bell {
  readonly #marks = new Map<string, number>()
  readonly #waiting = new Map<string, Set<() => void>>()
  readonly #first: number
  #closed = false

  /** @param first mark of a topic that never rang. Another for each bell where waiters outlive the bell. */
  constructor(first = 0) {
    this.#first = first
  }

  mark(topic: string): number {
    return this.#marks.get(topic) ?? this.#first
  }

  ring(topic: string): void {
    this.#marks.set(topic, this.mark(topic) + 1)
    for (const wake of this.#waiting.get(topic) ?? []) wake()
  }

  /** Resolves at the first ring since `mark`, after `ms`, or when the signal or the bell ends the waiting. */
  async wait(topic: string, question: { mark: number; ms: number; signal?: AbortSignal | undefined }): Promise<void> {
    const { mark, ms, signal } = question
    if (this.#closed || signal?.aborted || this.mark(topic) !== mark) return
    const waiting = this.#waiting.get(topic) ?? new Set()
    this.#waiting.set(topic, waiting)
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    waiting.add(resolve)
    const stop = () => resolve()
    signal?.addEventListener('abort', stop, { once: true })
    await promise
    signal?.removeEventListener('abort', stop)
    clearTimeout(timer)
    waiting.delete(resolve)
    if (waiting.size === 0) this.#waiting.delete(topic)
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Wakes everybody for good. */
  close(): void {
    this.#closed = true
    for (const waiting of this.#waiting.values()) for (const wake of waiting) wake()
  }
}

/** Rings when a run's log grew. */
export const runTopic = (run: string): string => `run/${run}`
/** The run whose log grew where this topic rings, else null. */
export const runOfTopic = (topic: string): string | null => (topic.startsWith('run/') ? topic.slice(4) : null)
/** Rings when there may be work for a dataset. */
export const datasetTopic = (dataset: string): string => `dataset/${dataset}`
