import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { create, toBinary } from '@bufbuild/protobuf'
import {
  TensorProto_DataType as DataType,
  TensorShapeProto_DimensionSchema as DimensionSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  OperatorSetIdProtoSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from '../../../gpu-worker/engine/onnx/onnx_pb.ts'
import { type ExportForm, exportForm } from './form.ts'
import type { WeightSource } from './random.ts'
import type { TokenizerFiles } from './tokenizers.ts'
import { insideWeights, outsideWeights } from './weights.ts'

/** What every architecture has. */
export interface ModelSize {
  readonly layers: number
  readonly hidden: number
  readonly heads: number
  readonly intermediate: number
  readonly vocabulary: number
  readonly positions: number
  /** Of the random weights, a 32-bit integer. */
  readonly seed: number
  /** Weights go to onnx/model.onnx_data: needed from 2 GiB on. Default false. */
  readonly externalData?: boolean
}

interface ModelParts {
  readonly size: ModelSize
  readonly weights: WeightSource
  readonly config: object
  readonly tokenizer: TokenizerFiles
  /** Names of the int64 inputs, all [batch, sequence]. */
  readonly inputs: readonly string[]
  readonly outputDims: readonly (string | number)[]
  /** Adds the nodes; the last one makes `logits`. */
  write(form: ExportForm): void
}

const OPSET = 17n
const IR_VERSION = 8n
const DATA_FILE = 'model.onnx_data'

function valueInfo(name: string, elemType: DataType, dims: readonly (string | number)[]): ValueInfoProto {
  const dim = dims.map((size) =>
    create(DimensionSchema, {
      value: typeof size === 'number' ? { case: 'dimValue', value: BigInt(size) } : { case: 'dimParam', value: size },
    }),
  )
  const shape = create(TensorShapeProtoSchema, { dim })
  const value = create(TypeProto_TensorSchema, { elemType, shape })
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value } }),
  })
}

/** Writes config.json, the tokenizer's files and onnx/model.onnx, the folder being made. @returns the graph's file. */
export function writeModel(dir: string, parts: ModelParts): string {
  mkdirSync(join(dir, 'onnx'), { recursive: true })
  const json = (file: string, value: object) => writeFileSync(join(dir, file), `${JSON.stringify(value, null, 2)}\n`)
  json('config.json', parts.config)
  json('tokenizer.json', parts.tokenizer.tokenizer)
  json('tokenizer_config.json', parts.tokenizer.settings)
  const sink = parts.size.externalData ? outsideWeights(join(dir, 'onnx', DATA_FILE), DATA_FILE) : insideWeights()
  const form = exportForm(sink, parts.weights)
  parts.write(form)
  const graph = create(GraphProtoSchema, {
    name: 'main_graph',
    node: [...form.nodes],
    initializer: sink.finish(),
    input: parts.inputs.map((name) => valueInfo(name, DataType.INT64, ['batch_size', 'sequence_length'])),
    output: [valueInfo('logits', DataType.FLOAT, parts.outputDims)],
  })
  const model = create(ModelProtoSchema, {
    irVersion: IR_VERSION,
    opsetImport: [create(OperatorSetIdProtoSchema, { version: OPSET })],
    producerName: 'pytorch',
    graph,
  })
  const path = join(dir, 'onnx', 'model.onnx')
  writeFileSync(path, toBinary(ModelProtoSchema, model))
  return path
}
