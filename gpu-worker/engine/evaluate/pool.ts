import { SHARE_ENV, Worker } from 'node:worker_threads'
import { EngineError } from '../error.ts'
import { disableTelemetry } from '../ort.ts'
import type { EvaluatorSetup, LabelledRecord, Output } from './evaluator.ts'
import type { Answer, Request } from './messages.ts'

interface Waiting {
  resolve(values: Float32Array | undefined): void
  reject(error: EngineError): void
}

/** One evaluating thread. Requests may be sent before earlier ones are answered; answers come in order. */
class EvaluatingThread {
  readonly #worker: Worker
  readonly #waiting: Waiting[] = []
  #failed: EngineError | undefined

  constructor() {
    // The native library reads the environment of the process, which only a shared environment reaches.
    disableTelemetry()
    this.#worker = new Worker(new URL('./thread.ts', import.meta.url), { env: SHARE_ENV })
    this.#worker.on('message', (answer: Answer) => {
      const waiting = this.#waiting.shift()
      if (answer.ok) waiting?.resolve(answer.values)
      else waiting?.reject(new EngineError(answer.code, answer.message))
    })
    this.#worker.on('error', () => this.#fail(new EngineError('runtime_failed', 'an evaluating thread broke down')))
    this.#worker.on('exit', () => this.#fail(new EngineError('closed', 'the engine is closed')))
  }

  send(request: Request): Promise<Float32Array | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#failed) return reject(this.#failed)
      this.#waiting.push({ resolve, reject })
      this.#worker.postMessage(request)
    })
  }

  #fail(error: EngineError): void {
    this.#failed ??= error
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#failed)
  }
}

/**
 * The evaluating threads of one engine, each with its own sessions and one share of the records. Which thread evaluates a
 * record does not touch its bits: each runs the same kernels on one record at a time.
 */
export class Pool {
  readonly #threads: readonly EvaluatingThread[]

  private constructor(threads: readonly EvaluatingThread[]) {
    this.#threads = threads
  }

  static async open(threads: number, setup: EvaluatorSetup): Promise<Pool> {
    const pool = new Pool(Array.from({ length: threads }, () => new EvaluatingThread()))
    try {
      await pool.#all({ kind: 'open', setup })
      return pool
    } catch (error) {
      await pool.close()
      throw error
    }
  }

  async #all(request: Request): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.send(request)))
  }

  async setStage(stage: number, finished: readonly Float32Array[]): Promise<void> {
    await this.#all({ kind: 'stage', stage, finished })
  }

  /** Values of all records in their order. */
  async run(
    records: readonly LabelledRecord[],
    groups: readonly Float32Array[],
    output: Output,
  ): Promise<Float32Array> {
    if (records.length === 0 || groups.length === 0) return new Float32Array()
    const factors = sharedFactors(groups)
    const share = Math.ceil(records.length / this.#threads.length)
    const shares = this.#threads.flatMap((thread, index) => {
      const own = records.slice(index * share, (index + 1) * share)
      if (own.length === 0) return []
      return [thread.send({ kind: 'run', records: own, factors, groups: groups.length, output })]
    })
    const values = (await Promise.all(shares)) as Float32Array[]
    return concatenated(values)
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#threads.map((thread) => thread.send({ kind: 'close' })))
  }
}

function sharedFactors(groups: readonly Float32Array[]): Float32Array<SharedArrayBuffer> {
  const length = groups[0]!.length
  const factors = new Float32Array(new SharedArrayBuffer(4 * groups.length * length))
  groups.forEach((group, g) => {
    factors.set(group, g * length)
  })
  return factors
}

function concatenated(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
