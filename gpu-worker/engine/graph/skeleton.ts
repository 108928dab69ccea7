import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { EngineError } from '../error.ts'

/**
 * Reads an ONNX file without its weights. The bytes of large tensors are passed over where they lie, so that a file of
 * gigabytes costs as much memory as its graph; what is left is the same message for the protobuf library to decode.
 *
 * Wire format: https://protobuf.dev/programming-guides/encoding. Field numbers: `onnx.proto`.
 */

/** Bytes of a tensor that are passed over: everything longer than this. */
const LONGEST = 1024
const WINDOW = 2 ** 14

const MODEL_GRAPH = 7
const GRAPH_INITIALIZER = 5
const TENSOR_NAME = 8
const TENSOR_RAW_DATA = 9

/** Where the bytes of a tensor lie in the file. */
export interface RawPlace {
  readonly offset: number
  readonly length: number
}

export interface Skeleton {
  /** The model message without the bytes of large tensors. */
  readonly bytes: Uint8Array
  /** Places of what was left out, by name of the tensor. */
  readonly places: ReadonlyMap<string, RawPlace>
}

/** A file read through a window that moves forward. */
class Reader {
  readonly length: number
  readonly #file: number
  #window = new Uint8Array(0)
  #start = 0

  constructor(file: number) {
    this.#file = file
    this.length = fstatSync(file).size
  }

  /** Some bytes. @throws EngineError `malformed_model` where the file ends before. */
  slice(offset: number, length: number): Uint8Array {
    if (offset + length > this.length) throw new EngineError('malformed_model', 'the model file ends early')
    if (length > WINDOW) return this.#read(offset, length)
    if (offset < this.#start || offset + length > this.#start + this.#window.length) {
      this.#window = this.#read(offset, Math.min(WINDOW, this.length - offset))
      this.#start = offset
    }
    return this.#window.subarray(offset - this.#start, offset - this.#start + length)
  }

  #read(offset: number, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length)
    let read = 0
    while (read < length) {
      const got = readSync(this.#file, bytes, read, length - read, offset + read)
      if (got === 0) throw new EngineError('malformed_model', 'the model file ends early')
      read += got
    }
    return bytes
  }

  /** A varint. @returns its value and where the next byte is. */
  varint(offset: number): { value: number; next: number } {
    let value = 0
    let factor = 1
    for (let at = offset; at < offset + 10; at++) {
      const byte = this.slice(at, 1)[0]!
      value += (byte & 127) * factor
      factor *= 128
      if (byte < 128) return { value, next: at + 1 }
    }
    throw new EngineError('malformed_model', 'the model file holds a number without end')
  }
}

/** A field of a message: where its tag begins, where its payload lies. */
interface Field {
  readonly number: number
  readonly isDelimited: boolean
  readonly start: number
  readonly payload: number
  readonly end: number
}

const FIXED: Readonly<Record<number, number>> = { 1: 8, 5: 4 }

function* fieldsOf(reader: Reader, from: number, to: number): Generator<Field> {
  let start = from
  while (start < to) {
    const tag = reader.varint(start)
    const wire = tag.value % 8
    const number = Math.floor(tag.value / 8)
    const length = wire === 2 ? reader.varint(tag.next) : undefined
    const payload = length?.next ?? tag.next
    const fixed = FIXED[wire]
    const end =
      length !== undefined
        ? payload + length.value
        : fixed !== undefined
          ? payload + fixed
          : wire === 0
            ? reader.varint(payload).next
            : Number.NaN
    if (!(end <= to)) throw new EngineError('malformed_model', 'the model file is no ONNX file')
    yield { number, isDelimited: wire === 2, start, payload, end }
    start = end
  }
}

function varintBytes(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  while (rest >= 128) {
    bytes.push((rest % 128) | 128)
    rest = Math.floor(rest / 128)
  }
  return Uint8Array.from([...bytes, rest])
}

/** Tag and length of a delimited field, then its parts. */
function delimited(number: number, parts: readonly Uint8Array[]): Uint8Array[] {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  return [varintBytes(number * 8 + 2), varintBytes(length), ...parts]
}

/** A tensor without its bytes, if those are many. */
function tensorParts(reader: Reader, tensor: Field, places: Map<string, RawPlace>): Uint8Array[] {
  const fields = [...fieldsOf(reader, tensor.payload, tensor.end)]
  const raw = fields.find(({ number, payload, end }) => number === TENSOR_RAW_DATA && end - payload > LONGEST)
  const name = fields.find(({ number }) => number === TENSOR_NAME)
  if (!raw || !name) return [reader.slice(tensor.payload, tensor.end - tensor.payload).slice()]
  const text = new TextDecoder().decode(reader.slice(name.payload, name.end - name.payload))
  places.set(text, { offset: raw.payload, length: raw.end - raw.payload })
  return fields.filter((field) => field !== raw).map(({ start, end }) => reader.slice(start, end - start).slice())
}

function graphParts(reader: Reader, graph: Field, places: Map<string, RawPlace>): Uint8Array[] {
  return [...fieldsOf(reader, graph.payload, graph.end)].flatMap((field) =>
    field.number === GRAPH_INITIALIZER && field.isDelimited
      ? delimited(GRAPH_INITIALIZER, tensorParts(reader, field, places))
      : [reader.slice(field.start, field.end - field.start).slice()],
  )
}

/** @throws EngineError `malformed_model` where the file is no whole ONNX file. */
export function readSkeleton(path: string): Skeleton {
  const file = openSync(path, 'r')
  try {
    const reader = new Reader(file)
    const places = new Map<string, RawPlace>()
    const parts = [...fieldsOf(reader, 0, reader.length)].flatMap((field) =>
      field.number === MODEL_GRAPH && field.isDelimited
        ? delimited(MODEL_GRAPH, graphParts(reader, field, places))
        : [reader.slice(field.start, field.end - field.start).slice()],
    )
    return { bytes: Buffer.concat(parts), places }
  } finally {
    closeSync(file)
  }
}
