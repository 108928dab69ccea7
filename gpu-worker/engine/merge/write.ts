import {
  closeSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import { modelFile, readGraph, type Variant } from '../graph/file.ts'
import { placeOf } from '../graph/tensor.ts'
import {
  TensorProto_DataLocation as DataLocation,
  type ModelProto,
  ModelProtoSchema,
  type TensorProto,
} from '../onnx/onnx_pb.ts'
import type { MergedWeight } from './index.ts'

/** Folders that belong to training, and to no model that is used. */
const NOT_COPIED = new Set(['evaluation', 'masks', 'onnx'])

/** Every tensor of the file by its name: weights, and the values of Constant nodes. */
function tensorsOf({ graph }: ModelProto): Map<string, TensorProto> {
  const constants = (graph?.node ?? []).flatMap(({ opType, output, attribute }) => {
    const value = attribute.find(({ name }) => name === 'value')?.t
    return opType === 'Constant' && value ? [[output[0]!, value] as const] : []
  })
  return new Map([...constants, ...(graph?.initializer ?? []).map((tensor) => [tensor.name, tensor] as const)])
}

const bytesOf = ({ merged, isHalf }: MergedWeight): Uint8Array => {
  const { buffer, byteOffset, byteLength } = isHalf ? Float16Array.from(merged) : merged
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** Writes bytes over those at a place of a file. */
function overwrite(path: string, offset: number, bytes: Uint8Array): void {
  const file = openSync(path, 'r+')
  try {
    for (let written = 0; written < bytes.length; )
      written += writeSync(file, bytes, written, bytes.length - written, offset + written)
  } finally {
    closeSync(file)
  }
}

/**
 * Writes a model folder whose weights are the merged ones: the graph as it is, weights where they lay, inside the file or beside it;
 * configuration and tokenizer are copied. Other variants of the model are not, as nothing is merged into them.
 * @param output a folder that is not there yet, or is empty
 */
export function writeMerged(
  modelDir: string,
  weights: readonly MergedWeight[],
  { output, variant }: { output: string; variant?: Variant | undefined },
): void {
  const file = modelFile(modelDir, variant)
  const graph = readGraph(modelDir, variant)
  for (const entry of readdirSync(modelDir))
    if (!NOT_COPIED.has(entry))
      cpSync(join(modelDir, entry), join(output, entry), { recursive: true, dereference: true })
  mkdirSync(join(output, dirname(file)), { recursive: true })
  const source = resolve(modelDir, file)
  const beside = [...graph.constants.values()].flatMap((tensor) => placeOf(tensor)?.path ?? [])
  for (const path of new Set(beside.filter((each) => each !== source))) {
    const copy = join(output, dirname(file), path.slice(dirname(source).length + 1))
    mkdirSync(dirname(copy), { recursive: true })
    // Where it is a link, as in a cache of Hugging Face, what it leads to: it is written into, and the base stays as it is.
    copyFileSync(path, copy)
  }
  const model = fromBinary(ModelProtoSchema, readFileSync(source))
  const tensors = tensorsOf(model)
  for (const weight of weights) {
    const tensor = tensors.get(weight.name)
    if (!tensor)
      throw new EngineError('unsupported_graph', `the weight ${weight.name} lies inside a function of the file`)
    const bytes = bytesOf(weight)
    if (tensor.dataLocation === DataLocation.EXTERNAL) {
      const { path, offset } = placeOf(tensor)!
      overwrite(join(output, dirname(file), path), offset, bytes)
    } else {
      tensor.rawData = bytes
      tensor.floatData = []
      tensor.int32Data = []
    }
  }
  writeFileSync(join(output, file), toBinary(ModelProtoSchema, model))
}
