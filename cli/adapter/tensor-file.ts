import { closeSync, copyFileSync, openSync, readSync, writeSync } from 'node:fs'
import { z } from 'zod'
import { InputError } from '../failure.ts'

/** Element types of weights. */
const FLOATS = ['F32', 'F16', 'BF16'] as const
type FloatType = (typeof FLOATS)[number]
const BYTES: Readonly<Record<FloatType, number>> = { F32: 4, F16: 2, BF16: 2 }

/** A tensor of floats in a safetensors file, left where it lies. */
export interface StoredTensor {
  readonly name: string
  readonly type: FloatType
  readonly shape: readonly number[]
  readonly count: number
  /** Of its first byte in the file. */
  readonly offset: number
}

const entrySchema = z.object({
  dtype: z.string(),
  shape: z.array(z.int().nonnegative()),
  data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
})
/** As the format's own library allows. */
const HEADER_MOST = 100 * 2 ** 20

/** What a safetensors file of any size holds; none of its values is read. @throws InputError */
export function floatTensorsIn(file: string): StoredTensor[] {
  try {
    const length = Number(new DataView(bytesAt(file, 0, 8).buffer).getBigUint64(0, true))
    if (length > HEADER_MOST) throw new RangeError('header')
    const header: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytesAt(file, 8, length)))
    const { __metadata__: _, ...entries } = z.record(z.string(), z.unknown()).parse(header)
    return Object.entries(entries).flatMap(([name, value]): StoredTensor[] => {
      const { dtype, shape, data_offsets } = entrySchema.parse(value)
      const type = FLOATS.find((each) => each === dtype)
      const count = shape.reduce((product, size) => product * size, 1)
      if (!type) return []
      if (data_offsets[1] - data_offsets[0] !== BYTES[type] * count) throw new RangeError('offsets')
      return [{ name, type, shape, count, offset: 8 + length + data_offsets[0] }]
    })
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    throw new InputError(code === undefined ? `${file} is no safetensors file` : `${file} cannot be read: ${code}`)
  }
}

function bytesAt(file: string, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  const open = openSync(file, 'r')
  try {
    for (let read = 0; read < length; ) {
      // One read of more than 2 GiB fails on Linux.
      const got = readSync(open, bytes, read, Math.min(length - read, 2 ** 30), offset + read)
      if (got === 0) throw new RangeError('it ends early')
      read += got
    }
  } finally {
    closeSync(open)
  }
  return bytes
}

/** bfloat16 is the upper half of float32. */
const fromUpperHalf = (bits: Uint16Array): Float32Array<ArrayBuffer> => {
  const words = new Uint32Array(bits.length)
  for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16
  return new Float32Array(words.buffer)
}

/** Rounded to the nearest, ties to even. */
function toUpperHalf(values: Float32Array): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(Float32Array.from(values).buffer)
  return Uint16Array.from(words, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16)
}

/** Its values, widened to float32. */
export function valuesOf(file: string, { type, count, offset }: StoredTensor): Float32Array {
  const { buffer } = bytesAt(file, offset, BYTES[type] * count)
  if (type === 'F32') return new Float32Array(buffer)
  return type === 'F16' ? Float32Array.from(new Float16Array(buffer)) : fromUpperHalf(new Uint16Array(buffer))
}

/** Copies a file with other values in some of its tensors, each rounded to its type. */
export function copyWith(file: string, copy: string, values: ReadonlyMap<StoredTensor, Float32Array>): void {
  copyFileSync(file, copy)
  const open = openSync(copy, 'r+')
  try {
    for (const [{ type, offset }, floats] of values) {
      const stored = type === 'F32' ? floats : type === 'F16' ? Float16Array.from(floats) : toUpperHalf(floats)
      const bytes = new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength)
      for (let at = 0; at < bytes.length; ) at += writeSync(open, bytes, at, bytes.length - at, offset + at)
    }
  } finally {
    closeSync(open)
  }
}
