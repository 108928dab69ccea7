import { SHARE_ENV, Worker } from 'node:worker_threads'
import { EngineError } from '../error.ts'
import { disableTelemetry } from '../ort.ts'
import { blocks } from './chunks.ts'
import type { Answer, Around, Request } from './messages.ts'
import type { EncodedRecord, EvaluatorSetup, Output } from './setup.ts'

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

/** Records of a request, where a request costs nothing beside its records. */
const RECORDS = 64
/** Requests that a thread has before it: the next is there when the one that runs ends. */
const LANES = 2

/** Indices of the records of each request: those of one length together. */
export function requestsOf(records: readonly EncodedRecord[], size: number): number[][] {
  const order = records.map((_, index) => index).sort((a, b) => records[a]!.bucket - records[b]!.bucket || a - b)
  return blocks(order, size)
}

/**
 * The evaluating threads of one engine, each with its own sessions. Which thread evaluates a record does not touch its bits:
 * each runs the same kernels in the same shapes.
 */
export class Pool {
  readonly #threads: readonly EvaluatingThread[]
  readonly #setup: EvaluatorSetup

  private constructor(threads: readonly EvaluatingThread[], setup: EvaluatorSetup) {
    this.#threads = threads
    this.#setup = setup
  }

  static async open(threads: number, setup: EvaluatorSetup): Promise<Pool> {
    const made = Array.from({ length: threads }, () => new EvaluatingThread())
    const pool = new Pool(made, setup)
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
    records: readonly EncodedRecord[],
    at: { readonly center: Float32Array; readonly around: Around },
    output: Output,
  ): Promise<Float32Array> {
    if (records.length === 0) return new Float32Array()
    const center = shared(at.center)
    // Whole weights are perturbed anew for every request: each thread gets one.
    const share = Math.ceil(records.length / this.#threads.length)
    const requests = requestsOf(records, this.#setup.space.kind === 'lora' ? Math.min(RECORDS, share) : share)
    const answers: Float32Array[] = new Array(requests.length)
    let next = 0
    const lane = async (thread: EvaluatingThread): Promise<void> => {
      while (next < requests.length) {
        const request = next++
        const own = requests[request]!.map((index) => records[index]!)
        answers[request] = (await thread.send({ kind: 'run', records: own, center, around: at.around, output }))!
      }
    }
    // Lane by lane, so that few requests go to as many threads as there are.
    await Promise.all(Array.from({ length: LANES }, () => this.#threads.map(lane)).flat())
    return inOrder(requests, answers)
  }

  /** Lets every thread evaluate these records. */
  async warm(
    records: readonly EncodedRecord[],
    at: { readonly center: Float32Array; readonly around: Around },
  ): Promise<void> {
    const center = shared(at.center)
    await this.#all({ kind: 'run', records, center, around: at.around, output: 'losses' })
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#threads.map((thread) => thread.send({ kind: 'close' })))
  }
}

function shared(values: Float32Array): Float32Array<SharedArrayBuffer> {
  const copy = new Float32Array(new SharedArrayBuffer(4 * values.length))
  copy.set(values)
  return copy
}

/** Rows of all answers in the order of the records; all rows have one width. */
function inOrder(requests: readonly (readonly number[])[], answers: readonly Float32Array[]): Float32Array {
  const width = answers[0]!.length / requests[0]!.length
  const all = new Float32Array(requests.reduce((sum, request) => sum + request.length, 0) * width)
  requests.forEach((request, at) => {
    for (const [row, index] of request.entries())
      all.set(answers[at]!.subarray(row * width, (row + 1) * width), index * width)
  })
  return all
}
