import { closeSync, openSync, writeSync } from 'node:fs'
import { create } from '@bufbuild/protobuf'
import {
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProtoSchema,
} from '../../../gpu-worker/engine/onnx/onnx_pb.ts'
import type { Fill } from './random.ts'

/** Takes weights one by one, so that no more than a chunk of a large model is ever in memory. */
export interface WeightSink {
  /** Stores a float32 weight of these dimensions. @returns its name. */
  add(name: string, dims: readonly number[], fill: Fill): string
  /** Ends the data file. @returns the initializers in the order they came. */
  finish(): TensorProto[]
}

const CHUNK_FLOATS = 2 ** 20
/** Offsets are multiples of a page, as the runtime maps data files into memory. */
const PAGE_BYTES = 4096
/** Smaller weights stay in the model file, as exporters leave them. */
const EXTERNAL_BYTES = 1024

const elements = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1)

function* chunks(count: number, fill: Fill): Generator<Float32Array> {
  const buffer = new Float32Array(Math.min(count, CHUNK_FLOATS))
  for (let from = 0; from < count; from += buffer.length) {
    const chunk = buffer.subarray(0, Math.min(buffer.length, count - from))
    fill(chunk, from)
    yield chunk
  }
}

const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

function insideTensor(name: string, dims: readonly number[], fill: Fill): TensorProto {
  const values = new Float32Array(elements(dims))
  fill(values, 0)
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: DataType.FLOAT,
    rawData: bytesOf(values),
  })
}

function outsideTensor(
  name: string,
  dims: readonly number[],
  place: { location: string; offset: number; length: number },
): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: DataType.FLOAT,
    dataLocation: DataLocation.EXTERNAL,
    externalData: Object.entries(place).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value: String(value) }),
    ),
  })
}

/** Weights inside the model file: for models below the 2 GiB that protobuf allows. */
export function insideWeights(): WeightSink {
  const tensors: TensorProto[] = []
  return {
    add(name, dims, fill) {
      tensors.push(insideTensor(name, dims, fill))
      return name
    },
    finish: () => tensors,
  }
}

/** Weights in a data file. `location` is its name as seen from the model file's folder. */
export function outsideWeights(path: string, location: string): WeightSink {
  const tensors: TensorProto[] = []
  const file = openSync(path, 'w')
  let end = 0
  return {
    add(name, dims, fill) {
      const length = 4 * elements(dims)
      if (length < EXTERNAL_BYTES) {
        tensors.push(insideTensor(name, dims, fill))
        return name
      }
      const offset = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES
      end = offset
      for (const chunk of chunks(length / 4, fill)) {
        const bytes = bytesOf(chunk)
        for (let written = 0; written < bytes.length; )
          written += writeSync(file, bytes, written, bytes.length - written, end + written)
        end += bytes.length
      }
      tensors.push(outsideTensor(name, dims, { location, offset, length }))
      return name
    },
    finish() {
      closeSync(file)
      return tensors
    },
  }
}
