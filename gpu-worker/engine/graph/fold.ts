import { create } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import { TensorProto_DataType as DataType, type TensorProto, ValueInfoProtoSchema } from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'
import { boolTensor, dimsOf, elementCount, floatTensor, int32Tensor, intTensor, placeOf } from './tensor.ts'

/**
 * Folding of shape arithmetic. Exporters compute Reshape targets and index ranges from the shapes of activations; for one
 * record of one bucket these are constants. They are not evaluated here: the graph is run ONCE with them as outputs, and
 * so are the dimensions of every activation. No interpreter of ONNX operators is needed, whatever the exporter wrote.
 */

/** A value as the runtime hands it over. */
export interface ProbedValue {
  readonly type: string
  readonly dims: readonly number[]
  readonly data: Float32Array | BigInt64Array | Int32Array | Uint8Array
}

/** Suffix of the outputs that carry dimensions. */
const DIMS_SUFFIX = '#dims'

const TAKES_SHAPE = new Set(['Shape', 'Size'])

const FLOATS = new Set<number>([DataType.FLOAT, DataType.FLOAT16])

const isWeight = (tensor: TensorProto): boolean =>
  placeOf(tensor) !== undefined || (FLOATS.has(tensor.dataType) && elementCount(dimsOf(tensor)) > 1)

/**
 * Tensors that depend on token ids or mask, not only on their shapes, or on weights: what is made of weights alone, such as
 * a transposed matrix, must not be computed and kept a second time.
 */
function dataTensors(graph: Graph): Set<string> {
  const data = new Set(graph.inputs.map((input) => input.name))
  for (const [name, tensor] of graph.constants) if (isWeight(tensor)) data.add(name)
  for (const node of graph.nodes) {
    if (TAKES_SHAPE.has(node.opType) || !node.input.some((input) => data.has(input))) continue
    for (const output of node.output) if (output !== '') data.add(output)
  }
  return data
}

/** Operators whose outputs have as many elements as their input has of some kind. */
const COUNTS = new Set(['Compress', 'NonMaxSuppression', 'NonZero', 'Unique'])
/** Inputs that say how large the output is. */
const SIZED_BY: Readonly<Record<string, readonly number[]>> = {
  CenterCropPad: [1],
  ConstantOfShape: [0],
  Expand: [1],
  OneHot: [1],
  Pad: [1],
  Range: [0, 1, 2],
  Reshape: [1],
  Resize: [2, 3],
  Slice: [1, 2, 3, 4],
  Split: [1],
  Squeeze: [1],
  Tile: [1],
  TopK: [1],
  Unsqueeze: [1],
}

/**
 * Sizes must follow from the length that records are padded to: what one record of padding shows would not hold for others.
 * @throws EngineError `unsupported_graph`, naming a node that makes a size of what a record says.
 */
function refuseSizesFromData(graph: Graph): void {
  const fed = new Set(graph.inputs.map(({ name }) => name))
  for (const node of graph.nodes) {
    if (TAKES_SHAPE.has(node.opType) || !node.input.some((input) => fed.has(input))) continue
    const sizing = COUNTS.has(node.opType) ? [0] : (SIZED_BY[node.opType] ?? [])
    if (sizing.some((at) => fed.has(node.input[at] ?? '')))
      throw new EngineError(
        'unsupported_graph',
        `node ${node.name} (${node.opType}) makes a tensor whose size depends on the text: export the model without it`,
      )
    for (const output of node.output) if (output !== '') fed.add(output)
  }
}

/** Shape-only tensors that a data node reads: all that is left of the shape arithmetic. */
function frontier(graph: Graph, data: Set<string>): string[] {
  const read = graph.nodes.filter((node) => data.has(node.output[0]!)).flatMap((node) => node.input)
  return [...new Set(read)].filter((name) => name !== '' && !data.has(name) && !graph.constants.has(name))
}

/** The graph to run once: outputs are the shape-only tensors and, for every data tensor, its dimensions. */
export function probeGraph(graph: Graph): Graph {
  refuseSizesFromData(graph)
  const data = dataTensors(graph)
  const probe = graph.clone()
  const outputs = frontier(graph, data)
  for (const tensor of data) {
    if (graph.constants.has(tensor)) continue
    outputs.push(probe.add('Shape', [tensor], { name: `${tensor}${DIMS_SUFFIX}`, dims: [] }))
  }
  probe.outputs = outputs.map((name) => create(ValueInfoProtoSchema, { name }))
  probe.tidy()
  return probe
}

function foldedTensor(name: string, value: ProbedValue) {
  if (value.data instanceof Int32Array) return int32Tensor(name, value.dims, value.data)
  if (value.data instanceof Float32Array) return floatTensor(name, value.dims, value.data)
  if (value.data instanceof Uint8Array) return boolTensor(name, value.dims, value.data)
  return intTensor(name, Array.from(value.data, Number), value.dims)
}

/** Replaces the shape arithmetic of `graph` by what the probe saw, and fills in dimensions. */
export function fold(graph: Graph, probed: ReadonlyMap<string, ProbedValue>): void {
  for (const [name, value] of probed) {
    if (name.endsWith(DIMS_SUFFIX)) {
      const dims = Array.from(value.data, Number)
      graph.dims.set(name.slice(0, -DIMS_SUFFIX.length), dims)
    } else {
      graph.constants.set(name, foldedTensor(name, value))
    }
  }
  graph.nodes = graph.nodes.filter((node) => !node.output.some((output) => probed.has(output)))
  graph.tidy()
}
