import { SHARE_ENV, Worker } from 'node:worker_threads'
import { groupCount } from '../../../shared/zo/index.ts'
import { EngineError } from '../error.ts'
import { disableTelemetry } from '../ort.ts'
import { blocks, ranges } from './chunks.ts'
import type { Answer, Around, GroupRange, Request } from './messages.ts'
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
  #closing = false

  constructor() {
    // The native library reads the environment of the process, which only a shared environment reaches.
    disableTelemetry()
    this.#worker = new Worker(new URL('./thread.ts', import.meta.url), { env: SHARE_ENV })
    this.#worker.on('message', (answer: Answer) => {
      const waiting = this.#waiting.shift()
      if (answer.ok) waiting?.resolve(answer.values)
      else waiting?.reject(new EngineError(answer.code, answer.message))
    })
    const lost = () =>
      new EngineError('thread_lost', 'an evaluating thread broke down: the engine must be opened again')
    this.#worker.on('error', () => this.#fail(lost()))
    this.#worker.on('exit', () =>
      this.#fail(this.#closing ? new EngineError('closed', 'the engine is closed') : lost()),
    )
  }

  send(request: Request): Promise<Float32Array | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#failed) return reject(this.#failed)
      this.#closing ||= request.kind === 'close'
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
  async run(records: readonly EncodedRecord[], at: Point, output: Output): Promise<Float32Array> {
    if (records.length === 0) return new Float32Array()
    const center = shared(at.center)
    const { kind } = this.#setup.space
    return kind === 'lora' || at.around === 'center'
      ? this.#byRecords(records, { ...at, center }, output)
      : this.#byGroups(records, { center, around: at.around }, output)
  }

  /** Threads take some records after some, whoever is free. */
  async #byRecords(records: readonly EncodedRecord[], at: Shared, output: Output): Promise<Float32Array> {
    const share = Math.ceil(records.length / this.#threads.length)
    const requests = requestsOf(records, Math.min(RECORDS, share))
    const answers: Float32Array[] = new Array(requests.length)
    let next = 0
    const lane = async (thread: EvaluatingThread): Promise<void> => {
      while (next < requests.length) {
        const request = next++
        const own = requests[request]!.map((index) => records[index]!)
        try {
          answers[request] = (await thread.send({ kind: 'run', records: own, ...at, output }))!
        } catch (error) {
          // Nobody waits for the rest.
          next = requests.length
          throw error
        }
      }
    }
    // Lane by lane, so that few requests go to as many threads as there are.
    await Promise.all(Array.from({ length: LANES }, () => this.#threads.map(lane)).flat())
    return inOrder(requests, answers)
  }

  /** Each thread takes some directions for all records: whole weights are then perturbed once in all, and calls are full. */
  async #byGroups(
    records: readonly EncodedRecord[],
    at: { readonly center: SharedVector; readonly around: Exclude<Around, 'center'> },
    output: Output,
  ): Promise<Float32Array> {
    const parts = partsOf(groupCount(at.around), this.#threads.length)
    const answers = await Promise.all(
      parts.map((part, index) => this.#threads[index]!.send({ kind: 'run', records, ...at, part, output })),
    )
    return sideBySide(parts, answers as Float32Array[], records.length)
  }

  /** Lets every thread evaluate these records. */
  async warm(records: readonly EncodedRecord[], at: Point, output: Output = 'losses'): Promise<void> {
    const center = shared(at.center)
    await this.#all({ kind: 'run', records, center, around: at.around, output })
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#threads.map((thread) => thread.send({ kind: 'close' })))
  }
}

type SharedVector = Float32Array<SharedArrayBuffer>

interface Point {
  readonly center: Float32Array
  readonly around: Around
}

interface Shared extends Point {
  readonly center: SharedVector
}

/** Ranges of groups, one for each thread that gets any; the two sides of a direction stay together. */
export function partsOf(groups: number, threads: number): GroupRange[] {
  return ranges(Math.ceil(groups / 2), Math.ceil(groups / 2 / threads)).map(({ from, to }) => {
    return { from: 2 * from, to: Math.min(groups, 2 * to) }
  })
}

/** Answers [records, some groups] as [records, groups]; each value may be several numbers. */
function sideBySide(parts: readonly GroupRange[], answers: readonly Float32Array[], records: number): Float32Array {
  const rows = answers.map((answer) => answer.length / records)
  const width = rows.reduce((sum, row) => sum + row, 0)
  const all = new Float32Array(width * records)
  let start = 0
  parts.forEach((_, part) => {
    const row = rows[part]!
    for (let n = 0; n < records; n++) all.set(answers[part]!.subarray(n * row, (n + 1) * row), n * width + start)
    start += row
  })
  return all
}

function shared(values: Float32Array): SharedVector {
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
