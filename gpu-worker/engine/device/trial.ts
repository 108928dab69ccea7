import { create } from '@bufbuild/protobuf'
import { writeGraph } from '../graph/emit.ts'
import { Graph } from '../graph/graph.ts'
import { valueInfo } from '../graph/split.ts'
import { TensorProto_DataType as DataType, OperatorSetIdProtoSchema, ValueInfoProtoSchema } from '../onnx/onnx_pb.ts'
import { loadRuntime } from '../ort.ts'
import { type Device, sessionOptions } from './sizes.ts'

/** Run as a process of its own with the name of a device: exits with 0 where that device computes a product of matrices. */

const SIDE = 8

const graph = new Graph()
graph.opsets = [create(OperatorSetIdProtoSchema, { domain: '', version: 18n })]
graph.inputs = [valueInfo('x', DataType.FLOAT, [SIDE, SIDE])]
graph.addFloats(
  'w',
  [SIDE, SIDE],
  Float32Array.from({ length: SIDE * SIDE }, (_, i) => i % 5),
)
graph.add('MatMul', ['x', 'w'], { name: 'y', dims: [SIDE, SIDE] })
graph.outputs = [create(ValueInfoProtoSchema, { name: 'y' })]

const device = process.argv[2] as Device
const runtime = await loadRuntime()
const written = writeGraph(graph)
const session = await runtime.InferenceSession.create(written.path, sessionOptions(device)).finally(written.remove)
const ones = new runtime.Tensor('float32', new Float32Array(SIDE * SIDE).fill(1), [SIDE, SIDE])
const { y } = await session.run({ x: ones })
const column = Array.from({ length: SIDE }, (_, row) => (row * SIDE) % 5).reduce((sum, value) => sum + value, 0)
process.exit((y!.data as Float32Array)[0] === column ? 0 : 1)
