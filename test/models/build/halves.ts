import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataType as DataType,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProtoSchema,
} from '../../../gpu-worker/engine/onnx/onnx_pb.ts'

const floatsOf = (raw: Uint8Array): Float32Array => new Float32Array(new Uint8Array(raw).buffer)

const widening = (name: string) =>
  create(NodeProtoSchema, {
    name: `${name}/Cast`,
    opType: 'Cast',
    input: [`${name}.half`],
    output: [name],
    attribute: [create(AttributeProtoSchema, { name: 'to', type: AttributeType.INT, i: BigInt(DataType.FLOAT) })],
  })

/** Writes onnx/model_fp16.onnx beside a model whose weights are inside its file: every weight as float16 behind a Cast. */
export function writeHalves(dir: string): void {
  const model = fromBinary(ModelProtoSchema, readFileSync(join(dir, 'onnx', 'model.onnx')))
  const graph = model.graph!
  const weights = graph.initializer.filter(({ dataType }) => dataType === DataType.FLOAT)
  graph.node = [...weights.map(({ name }) => widening(name)), ...graph.node]
  graph.initializer = graph.initializer.map((tensor) => {
    if (tensor.dataType !== DataType.FLOAT) return tensor
    const halves = new Float16Array(floatsOf(tensor.rawData!))
    const rawData = new Uint8Array(halves.buffer)
    return create(TensorProtoSchema, {
      ...tensor,
      name: `${tensor.name}.half`,
      dataType: DataType.FLOAT16,
      rawData,
    })
  })
  writeFileSync(join(dir, 'onnx', 'model_fp16.onnx'), toBinary(ModelProtoSchema, model))
}
