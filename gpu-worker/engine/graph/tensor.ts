import { create } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import { TensorProto_DataType as DataType, type TensorProto, TensorProtoSchema } from '../onnx/onnx_pb.ts'

/** Constant tensors: float32 weights and the small int64 tensors that steer Reshape, Gather and their like. */

export const dimsOf = (tensor: TensorProto): number[] => tensor.dims.map(Number)

export const elementCount = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1)

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

export function boolTensor(name: string, dims: readonly number[], values: Uint8Array): TensorProto {
  return create(TensorProtoSchema, { name, dims: dims.map(BigInt), dataType: DataType.BOOL, rawData: values })
}

/** A copy aligned for a typed array: views into a model file start anywhere. */
const alignedBuffer = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer

/** Values of a float32 constant, a copy the caller may change. */
export function floatsOf(tensor: TensorProto): Float32Array {
  if (tensor.dataType !== DataType.FLOAT)
    throw new EngineError('unsupported_graph', `constant ${tensor.name} is not float32`)
  const values =
    tensor.floatData.length > 0
      ? Float32Array.from(tensor.floatData)
      : new Float32Array(alignedBuffer(tensor.rawData ?? new Uint8Array()))
  if (values.length !== elementCount(dimsOf(tensor)))
    throw new EngineError('malformed_model', `constant ${tensor.name} does not fill its dimensions`)
  return values
}

/** Values of an int64 or int32 constant. */
export function intsOf(tensor: TensorProto): number[] {
  if (tensor.int64Data.length > 0) return tensor.int64Data.map(Number)
  if (tensor.int32Data.length > 0) return [...tensor.int32Data]
  const buffer = alignedBuffer(tensor.rawData ?? new Uint8Array())
  if (tensor.dataType === DataType.INT64) return Array.from(new BigInt64Array(buffer), Number)
  if (tensor.dataType === DataType.INT32) return Array.from(new Int32Array(buffer))
  throw new EngineError('unsupported_graph', `constant ${tensor.name} is not an integer tensor`)
}
