import { existsSync, readdirSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import { fromBinary } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import { withoutConstantNodes } from '../normalise/constants.ts'
import { inlineFunctions } from '../normalise/functions.ts'
import {
  TensorProto_DataLocation as DataLocation,
  type ModelProto,
  ModelProtoSchema,
  type TensorProto,
} from '../onnx/onnx_pb.ts'
import { Graph } from './graph.ts'
import { readSkeleton, type Skeleton } from './skeleton.ts'
import { fileLength, placeOf, referenceTensor } from './tensor.ts'

/**
 * The layout of transformers.js: the graph under onnx/, large weights perhaps beside it in `<file>_data`. A folder may hold
 * the same model in several precisions, told apart by a suffix.
 */
const FOLDER = 'onnx'
/** `fp16`, `int8`, `q4`, `q4f16` ...; the empty word is the plain file. */
export type Variant = string
const FILE = /^model(?:_([a-z0-9_]+))?\.onnx$/

const fileOf = (variant: Variant): string => join(FOLDER, variant === '' ? 'model.onnx' : `model_${variant}.onnx`)

/** The variants that a folder holds. */
export function variantsOf(modelDir: string): Variant[] {
  const folder = resolve(modelDir, FOLDER)
  const files = existsSync(folder) ? readdirSync(folder).sort() : []
  return files.flatMap((file) => {
    const match = FILE.exec(file)
    return match ? [match[1] ?? ''] : []
  })
}

/**
 * The model file of a folder, as a path within it: the variant asked for, else the plain one, else the only one there is.
 * @throws EngineError `missing_model_file`
 */
export function modelFile(modelDir: string, variant?: Variant): string {
  const present = variantsOf(modelDir)
  const chosen = variant ?? (present.includes('') ? '' : present.length === 1 ? present[0] : undefined)
  if (chosen !== undefined && present.includes(chosen)) return fileOf(chosen)
  const wanted = chosen === undefined ? fileOf('') : fileOf(chosen)
  const there =
    present.length > 0 ? `there are ${present.map(fileOf).join(', ')}: name the variant` : 'export one there'
  throw new EngineError('missing_model_file', `no file ${wanted} in the model folder; ${there}`)
}

/** The file of a weight kept outside the model file. @throws EngineError for a path that leaves the model's folder. */
function externalPath(tensor: TensorProto, location: string, folder: string): string {
  const path = resolve(folder, location)
  const inside = relative(folder, path)
  if (inside === '' || isAbsolute(inside) || inside.split(sep).includes('..'))
    throw new EngineError('malformed_model', `weight ${tensor.name} lies outside the model's folder`)
  return path
}

/** The weight as a reference to its file, which is there and long enough. */
function externalReference(tensor: TensorProto, folder: string): TensorProto {
  const named = placeOf(tensor)!
  const path = externalPath(tensor, named.path, folder)
  if (!existsSync(path))
    throw new EngineError(
      'missing_model_file',
      `weight ${tensor.name} names the data file ${named.path}, which is not there: copy it beside the model file`,
    )
  const hasLength = tensor.externalData.some(({ key }) => key === 'length')
  const length = hasLength ? named.length : fileLength(path) - named.offset
  if (!(named.offset >= 0 && length >= 0 && named.offset + length <= fileLength(path)))
    throw new EngineError(
      'malformed_model',
      `data file ends before weight ${tensor.name}: the file ${named.path} is not whole, copy it again`,
    )
  return referenceTensor(tensor, { path, offset: named.offset, length })
}

function refuseControlFlow(graph: Graph): void {
  for (const node of graph.nodes)
    if (node.attribute.some((attribute) => attribute.g || attribute.graphs.length > 0))
      throw new EngineError(
        'unsupported_graph',
        `node ${node.name} (${node.opType}) holds a subgraph: export the model without branches, and a decoder unmerged`,
      )
}

/**
 * A tensor inside a node may not name a file: only weights are read from files, and only inside the model's folder. Whatever
 * else the runtime would open for a node, a private file of the site among it, is not the model's.
 */
function refuseFilesInNodes(graph: Graph): void {
  const namesFile = (tensor: TensorProto | undefined) => tensor?.dataLocation === DataLocation.EXTERNAL
  for (const node of graph.nodes) {
    const tensors = node.attribute.flatMap(({ t, tensors, sparseTensor }) => [
      t,
      ...tensors,
      sparseTensor?.values,
      sparseTensor?.indices,
    ])
    if (tensors.some(namesFile))
      throw new EngineError('unsupported_graph', `node ${node.name} (${node.opType}) reads a file`)
  }
}

function graphOf(model: ModelProto): Graph {
  if (!model.graph) throw new EngineError('malformed_model', 'the model file holds no graph: export it again')
  inlineFunctions(model)
  const graph = new Graph()
  graph.nodes = model.graph.node
  graph.constants = new Map(model.graph.initializer.map((tensor) => [tensor.name, tensor]))
  graph.inputs = model.graph.input.filter((input) => !graph.constants.has(input.name))
  graph.outputs = model.graph.output
  graph.opsets = model.opsetImport
  graph.irVersion = model.irVersion
  graph.producer = `${model.producerName} ${model.producerVersion}`.trim()
  refuseControlFlow(graph)
  withoutConstantNodes(graph)
  refuseFilesInNodes(graph)
  return graph
}

/** @throws EngineError `malformed_model` */
function decoded(path: string, file: string): { model: ModelProto; places: Skeleton['places'] } {
  try {
    const { bytes, places } = readSkeleton(path)
    return { model: fromBinary(ModelProtoSchema, bytes), places }
  } catch (cause) {
    throw new EngineError('malformed_model', `${file} is no whole ONNX file: copy or export it again`, { cause })
  }
}

/**
 * Reads the graph of a model folder. Weights stay in their files (see `tensor.ts`).
 * @throws EngineError `missing_model_file`, `malformed_model`, `unsupported_graph`
 */
export function readGraph(modelDir: string, variant?: Variant): Graph {
  const file = modelFile(modelDir, variant)
  const path = resolve(modelDir, file)
  const { model, places } = decoded(path, file)
  const graph = graphOf(model)
  for (const [name, tensor] of graph.constants) {
    const place = places.get(tensor.name)
    if (tensor.dataLocation === DataLocation.EXTERNAL)
      graph.constants.set(name, externalReference(tensor, dirname(path)))
    else if (place) graph.constants.set(name, referenceTensor(tensor, { path, ...place }))
  }
  return graph
}

/** Bytes of a model: its file, and the data files beside it. @throws EngineError `missing_model_file` */
export function modelBytes(modelDir: string, variant?: Variant): number {
  const path = resolve(modelDir, modelFile(modelDir, variant))
  const folder = dirname(path)
  const data = readdirSync(folder).filter((file) => file.startsWith(basename(path)))
  return data.reduce((sum, file) => sum + fileLength(join(folder, file)), 0)
}
