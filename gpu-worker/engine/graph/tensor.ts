import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { create } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import {
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProtoSchema,
} from '../onnx/onnx_pb.ts'

/**
 * Constant tensors: weights and the small int64 tensors that steer Reshape, Gather and their like. A weight read from a
 * model stays in its file: the tensor says where, and its values are read when somebody needs them, so that a model of
 * many gigabytes can be rewritten without ever being in memory.
 */

export const dimsOf = (tensor: TensorProto): number[] => tensor.dims.map(Number)

export const elementCount = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1)

/** Where the bytes of a weight lie. */
export interface WeightPlace {
  /** Absolute path. */
  readonly path: string
  readonly offset: number
  /** Bytes. */
  readonly length: number
}

const externalEntries = (entries: Record<string, string>) =>
  Object.entries(entries).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }))

/** A copy of a tensor whose bytes lie in a file. `location` is how the holder of the copy names that file. */
export function referenceTensor(tensor: TensorProto, place: WeightPlace, location = place.path): TensorProto {
  return create(TensorProtoSchema, {
    name: tensor.name,
    dims: tensor.dims,
    dataType: tensor.dataType,
    dataLocation: DataLocation.EXTERNAL,
    externalData: externalEntries({ location, offset: String(place.offset), length: String(place.length) }),
  })
}

/** Where the bytes of a tensor lie, if it is a reference. */
export function placeOf(tensor: TensorProto): WeightPlace | undefined {
  if (tensor.dataLocation !== DataLocation.EXTERNAL) return undefined
  const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value]))
  return {
    path: entries.get('location') ?? '',
    offset: Number(entries.get('offset') ?? 0),
    length: Number(entries.get('length') ?? 0),
  }
}

/** Reads part of a file. @throws EngineError `malformed_model` where the file ends early. */
export function readPlace({ path, offset, length }: WeightPlace): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  const file = openSync(path, 'r')
  try {
    let read = 0
    while (read < length) {
      // One read of more than 2 GiB fails on Linux.
      const got = readSync(file, bytes, read, Math.min(length - read, 2 ** 30), offset + read)
      if (got === 0) throw new EngineError('malformed_model', `data file ends early: ${path}`)
      read += got
    }
  } finally {
    closeSync(file)
  }
  return bytes
}

/** Bytes in a file. */
export const fileLength = (path: string): number => statSync(path).size

/** Bytes of typed values as ONNX wants them; every platform Node runs on is little-endian. */
const rawBytes = (values: ArrayBufferView): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

export function floatTensor(name: string, dims: readonly number[], values: Float32Array): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: DataType.FLOAT,
    rawData: rawBytes(values),
  })
}

/** An int64 tensor of rank 1, or a scalar. */
export function intTensor(
  name: string,
  values: readonly number[],
  dims: readonly number[] = [values.length],
): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: DataType.INT64,
    rawData: rawBytes(BigInt64Array.from(values, BigInt)),
  })
}

export function int32Tensor(name: string, dims: readonly number[], values: Int32Array): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: DataType.INT32,
    rawData: rawBytes(values),
  })
}

export function boolTensor(name: string, dims: readonly number[], values: Uint8Array): TensorProto {
  return create(TensorProtoSchema, { name, dims: dims.map(BigInt), dataType: DataType.BOOL, rawData: values })
}

/** A copy aligned for a typed array: views into a model file start anywhere. */
const alignedBuffer = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer

/** The bytes of a tensor held raw, from memory or from its file; aligned for any typed array. */
export function rawBufferOf(tensor: TensorProto): ArrayBuffer {
  const place = placeOf(tensor)
  return place ? readPlace(place).buffer : alignedBuffer(tensor.rawData ?? new Uint8Array())
}

/** Float32 of IEEE half precision, exactly. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

function halvesOf(tensor: TensorProto): Float32Array {
  const bits = tensor.int32Data.length > 0 ? Uint16Array.from(tensor.int32Data) : new Uint16Array(rawBufferOf(tensor))
  return Float32Array.from(bits, fromHalf)
}

function floatValues(tensor: TensorProto): Float32Array {
  if (tensor.dataType === DataType.FLOAT16) return halvesOf(tensor)
  if (tensor.dataType !== DataType.FLOAT)
    throw new EngineError('unsupported_graph', `constant ${tensor.name} is no tensor of float32 or float16`)
  return tensor.floatData.length > 0 ? Float32Array.from(tensor.floatData) : new Float32Array(rawBufferOf(tensor))
}

/** Values of a float constant (float16 widened), a copy the caller may change. */
export function floatsOf(tensor: TensorProto): Float32Array {
  const values = floatValues(tensor)
  if (values.length !== elementCount(dimsOf(tensor)))
    throw new EngineError('malformed_model', `constant ${tensor.name} does not fill its dimensions`)
  return values
}

/** Values of an int64 or int32 constant. */
export function intsOf(tensor: TensorProto): number[] {
  if (tensor.int64Data.length > 0) return tensor.int64Data.map(Number)
  if (tensor.int32Data.length > 0) return [...tensor.int32Data]
  const buffer = rawBufferOf(tensor)
  if (tensor.dataType === DataType.INT64) return Array.from(new BigInt64Array(buffer), Number)
  if (tensor.dataType === DataType.INT32) return Array.from(new Int32Array(buffer))
  throw new EngineError('unsupported_graph', `constant ${tensor.name} is not an integer tensor`)
}
