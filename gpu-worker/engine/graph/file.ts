import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import {
  TensorProto_DataLocation as DataLocation,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  type TensorProto,
} from '../onnx/onnx_pb.ts'
import { Graph } from './graph.ts'

/** The transformers.js layout: the graph under onnx/, its large weights perhaps beside it in model.onnx_data. */
export const MODEL_FILE = join('onnx', 'model.onnx')

/** Where a weight kept outside the model file lies. @throws EngineError for a path that leaves the model's folder. */
function externalPlace(
  tensor: TensorProto,
  folder: string,
): { path: string; offset: number; length: number | undefined } {
  const entries = new Map(tensor.externalData.map((entry) => [entry.key, entry.value]))
  const path = resolve(folder, entries.get('location') ?? '')
  const inside = relative(folder, path)
  if (inside === '' || inside.startsWith('..') || inside.split(sep).includes('..') || resolve(inside) === inside)
    throw new EngineError('malformed_model', `weight ${tensor.name} lies outside the model's folder`)
  const length = entries.get('length')
  return { path, offset: Number(entries.get('offset') ?? 0), length: length === undefined ? undefined : Number(length) }
}

function readExternal(tensor: TensorProto, folder: string): void {
  const place = externalPlace(tensor, folder)
  if (!existsSync(place.path))
    throw new EngineError('missing_model_file', `weight ${tensor.name} names a data file that is not there`)
  if (place.length === undefined) tensor.rawData = readFileSync(place.path).subarray(place.offset)
  else tensor.rawData = readSlice(place.path, place.offset, place.length)
  tensor.externalData = []
  tensor.dataLocation = DataLocation.DEFAULT
}

function readSlice(path: string, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  const file = openSync(path, 'r')
  try {
    let read = 0
    while (read < length) {
      const got = readSync(file, bytes, read, length - read, offset + read)
      if (got === 0) throw new EngineError('malformed_model', `data file ends early: ${path}`)
      read += got
    }
  } finally {
    closeSync(file)
  }
  return bytes
}

/** Identity nodes (how exporters share equal weights) go: readers name the source itself. */
function withoutIdentities(graph: Graph): void {
  const source = new Map<string, string>()
  const resolveName = (name: string): string => source.get(name) ?? name
  const kept: NodeProto[] = []
  const outputs = new Set(graph.outputs.map((output) => output.name))
  for (const node of graph.nodes) {
    node.input = node.input.map(resolveName)
    if (node.opType === 'Identity' && !outputs.has(node.output[0]!)) source.set(node.output[0]!, node.input[0]!)
    else kept.push(node)
  }
  graph.nodes = kept
}

/** Constant nodes become constants of the graph. */
function withoutConstantNodes(graph: Graph): void {
  graph.nodes = graph.nodes.filter((node) => {
    if (node.opType !== 'Constant') return true
    const value = node.attribute.find((attribute) => attribute.name === 'value')?.t
    if (!value) throw new EngineError('unsupported_graph', `node ${node.name} holds no tensor`)
    graph.constants.set(node.output[0]!, value)
    return false
  })
}

function refuseControlFlow(graph: Graph): void {
  for (const node of graph.nodes)
    if (node.attribute.some((attribute) => attribute.g || attribute.graphs.length > 0))
      throw new EngineError('unsupported_graph', `node ${node.name} (${node.opType}) holds a subgraph`)
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
  if (!model.graph) throw new EngineError('malformed_model', 'the model file holds no graph')
  const graph = new Graph()
  graph.nodes = model.graph.node
  graph.constants = new Map(model.graph.initializer.map((tensor) => [tensor.name, tensor]))
  graph.inputs = model.graph.input.filter((input) => !graph.constants.has(input.name))
  graph.outputs = model.graph.output
  graph.opsets = model.opsetImport
  graph.irVersion = model.irVersion
  refuseControlFlow(graph)
  withoutConstantNodes(graph)
  refuseFilesInNodes(graph)
  withoutIdentities(graph)
  return graph
}

/**
 * Reads the graph of a model folder.
 * @param weights `true` also reads weights kept in data files beside the model; without them only dimensions are known.
 */
export function readGraph(modelDir: string, { weights }: { weights: boolean }): Graph {
  const path = resolve(modelDir, MODEL_FILE)
  if (!existsSync(path)) throw new EngineError('missing_model_file', `no file ${MODEL_FILE} in the model folder`)
  let model: ModelProto
  try {
    model = fromBinary(ModelProtoSchema, readFileSync(path))
  } catch (cause) {
    throw new EngineError('malformed_model', `${MODEL_FILE} is no ONNX file`, { cause })
  }
  const graph = graphOf(model)
  if (weights) {
    for (const tensor of graph.constants.values())
      if (tensor.dataLocation === DataLocation.EXTERNAL) readExternal(tensor, dirname(path))
  }
  return graph
}

/** The bytes of an ONNX model holding this graph, weights inside. */
export function graphBytes(graph: Graph): Uint8Array {
  const model = create(ModelProtoSchema, {
    irVersion: graph.irVersion,
    opsetImport: graph.opsets,
    producerName: 'sotto',
    graph: create(GraphProtoSchema, {
      name: 'sotto',
      node: graph.nodes,
      initializer: [...graph.constants].map(([name, tensor]) => (tensor.name === name ? tensor : { ...tensor, name })),
      input: graph.inputs,
      output: graph.outputs,
    }),
  })
  return toBinary(ModelProtoSchema, model)
}
