import { create } from '@bufbuild/protobuf'
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataType as DataType,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
} from '../../../gpu-worker/engine/onnx/onnx_pb.ts'
import type { WeightSource } from './random.ts'
import type { WeightSink } from './weights.ts'

/** Integers are INT, lists INTS; a float attribute is wrapped, as 1 alone says nothing of its type. */
type Attributes = Readonly<Record<string, number | readonly number[] | { readonly float: number } | TensorProto>>

function attributeProto(name: string, value: Attributes[string]): AttributeProto {
  if (typeof value === 'number')
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value) })
  if (Array.isArray(value))
    return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.map(BigInt) })
  if ('float' in value) return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value.float })
  return create(AttributeProtoSchema, { name, type: AttributeType.TENSOR, t: value as TensorProto })
}

function smallTensor(dataType: DataType, dims: readonly number[], values: ArrayBufferView): TensorProto {
  const rawData = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  return create(TensorProtoSchema, { dataType, dims: dims.map(BigInt), rawData })
}

/** ONNX element types that a Cast names. */
export const TO_FLOAT = { to: DataType.FLOAT } as const
export const TO_BOOL = { to: DataType.BOOL } as const

/**
 * Nodes in the manner of torch.onnx's tracing exporter: named by the scope of the module that made them, numbered within
 * it, one Constant node for each literal, sizes read from the shapes of activations rather than written down.
 */
export interface ExportForm {
  readonly nodes: readonly NodeProto[]
  /** Adds a node under a module's scope (`/bert/encoder/layer.0`). @returns its output. */
  node(scope: string, op: string, inputs: readonly string[], attributes?: Attributes, output?: string): string
  ints(scope: string, values: readonly number[] | number): string
  float(scope: string, value: number): string
  /** A float32 literal of any shape, as buffers of modules become. */
  floats(scope: string, dims: readonly number[], values: Float32Array): string
  /** Size of one axis of an activation, a scalar. */
  size(scope: string, tensor: string, axis: number): string
  /** Reshape to sizes that are literals or scalars made by `size`. */
  reshape(scope: string, tensor: string, sizes: readonly (number | string)[]): string
  /** A named weight, stored now. */
  weight(name: string, dims: readonly number[]): string
}

export function exportForm(sink: WeightSink, source: WeightSource): ExportForm {
  const nodes: NodeProto[] = []
  const counts = new Map<string, number>()

  function node(scope: string, op: string, inputs: readonly string[], attributes: Attributes = {}, output?: string) {
    const plain = `${scope}/${op}`
    const count = counts.get(plain) ?? 0
    counts.set(plain, count + 1)
    const name = count === 0 ? plain : `${plain}_${count}`
    const made = output ?? `${name}_output_0`
    const attribute = Object.entries(attributes).map(([key, value]) => attributeProto(key, value))
    nodes.push(create(NodeProtoSchema, { name, opType: op, input: [...inputs], output: [made], attribute }))
    return made
  }
  const literal = (scope: string, value: TensorProto) => node(scope, 'Constant', [], { value })
  function ints(scope: string, values: readonly number[] | number) {
    const list = typeof values === 'number' ? [values] : values
    const dims = typeof values === 'number' ? [] : [list.length]
    return literal(scope, smallTensor(DataType.INT64, dims, BigInt64Array.from(list, BigInt)))
  }
  const floats = (scope: string, dims: readonly number[], values: Float32Array) =>
    literal(scope, smallTensor(DataType.FLOAT, dims, values))
  function reshape(scope: string, tensor: string, sizes: readonly (number | string)[]) {
    const parts = sizes.map((size) =>
      typeof size === 'number' ? ints(scope, [size]) : node(scope, 'Unsqueeze', [size, ints(scope, [0])]),
    )
    return node(scope, 'Reshape', [tensor, node(scope, 'Concat', parts, { axis: 0 })], { allowzero: 0 })
  }
  return {
    nodes,
    node,
    ints,
    floats,
    reshape,
    float: (scope, value) => floats(scope, [], Float32Array.of(value)),
    size: (scope, tensor, axis) =>
      node(scope, 'Gather', [node(scope, 'Shape', [tensor]), ints(scope, axis)], { axis: 0 }),
    weight: (name, dims) => sink.add(name, dims, source(name, dims)),
  }
}
