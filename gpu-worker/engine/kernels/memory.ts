import { readFileSync } from 'node:fs'
import { EngineError } from '../error.ts'

/** What `assembly/zo.ts` exports. Numbers that name places are byte offsets into the memory. */
export interface KernelExports {
  stream(a: number, b: number, c: number, d: number, segment: number, round: number, k: number): void
  signs(out: number, from: number, length: number, scratch: number): void
  perturb(out: number, center: number, length: number, step: number, scratch: number): void
  perturbPair(plus: number, minus: number, center: number, length: number, step: number, scratch: number): void
  perturbKept(out: number, center: number, indices: number, length: number, step: number, scratch: number): void
  perturbLowRank(
    out: number,
    center: number,
    left: number,
    right: number,
    rows: number,
    columns: number,
    rank: number,
    step: number,
    scratch: number,
  ): void
  numbers(out: number, from: number, length: number, scratch: number): void
  sumSquares(bytes: number, length: number): number
  perturbBytes(out: number, center: number, bytes: number, length: number, step: number): void
  accumulateBytes(sums: number, bytes: number, length: number, coefficient: number): void
  add(out: number, a: number, b: number, length: number): void
  addKept(out: number, base: number, values: number, indices: number, length: number): void
  clear(sums: number, count: number): void
  updateSigns(
    out: number,
    current: number,
    block: number,
    length: number,
    coefficients: number,
    directions: number,
    rate: number,
    prox: number,
    scratch: number,
  ): void
  accumulateLowRank(
    sums: number,
    left: number,
    right: number,
    rows: number,
    columns: number,
    rank: number,
    coefficient: number,
    scratch: number,
  ): void
  step(out: number, current: number, sums: number, count: number, rate: number, scale: number, prox: number): void
  merge(
    weight: number,
    left: number,
    right: number,
    rows: number,
    outputs: number,
    rank: number,
    columns: number,
    from: number,
    scale: number,
    scratch: number,
  ): void
}

const PAGE = 65536
/** What 32-bit addresses reach. */
const MOST_PAGES = 65536
/** Where vectors begin: kernels and the runtime read whole cache lines. */
const LINE = 64
/** The first page holds what the kernels note down for a moment, and nothing of the host's. */
const RESERVED = PAGE
export const SCRATCH = 1024

let compiled: WebAssembly.Module | undefined

function module(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(readFileSync(new URL('zo.wasm', import.meta.url)))
  return compiled
}

export const rounded = (bytes: number): number => Math.ceil(bytes / LINE) * LINE

/**
 * One instance of the kernels with its memory. All of it is there from the start: memory that grows detaches the views of
 * it, and views are fed to the runtime without copying. It is never shared, as the runtime refuses shared buffers.
 */
export class KernelMemory {
  readonly run: KernelExports
  readonly #memory: WebAssembly.Memory
  #top = RESERVED

  /** @throws EngineError `out_of_memory` where the system, or a 32-bit address, does not reach so far. */
  constructor(bytes: number) {
    const pages = Math.ceil((RESERVED + bytes) / PAGE)
    if (pages > MOST_PAGES)
      throw new EngineError(
        'out_of_memory',
        `trained weights take ${Math.ceil(bytes / 2 ** 30)} GiB, of which 4 can be reached: train fewer tensors, or factors`,
      )
    try {
      this.#memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
    } catch (cause) {
      throw new EngineError(
        'out_of_memory',
        `no ${Math.ceil(bytes / 2 ** 20)} MiB for trained weights: train fewer tensors, or use fewer threads`,
        { cause },
      )
    }
    const { exports } = new WebAssembly.Instance(module(), { env: { memory: this.#memory } })
    this.run = exports as unknown as KernelExports
  }

  #place(bytes: number): number {
    const at = this.#top
    this.#top += rounded(bytes)
    if (this.#top > this.#memory.buffer.byteLength) throw new RangeError('the memory was made for less')
    return at
  }

  /** A vector of zeros in the memory, on a cache line. */
  floats(length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#memory.buffer, this.#place(4 * length), length)
  }

  doubles(length: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.#memory.buffer, this.#place(8 * length), length)
  }

  indices(values: Uint32Array): Uint32Array<ArrayBuffer> {
    const placed = new Uint32Array(this.#memory.buffer, this.#place(4 * values.length), values.length)
    placed.set(values)
    return placed
  }

  bytes(length: number): Int8Array<ArrayBuffer> {
    return new Int8Array(this.#memory.buffer, this.#place(length), length)
  }
}
