import type { Graph } from '../graph/graph.ts'
import { intAttribute } from '../graph/graph.ts'
import { TensorProto_DataType as DataType, type NodeProto } from '../onnx/onnx_pb.ts'
import { operatorOf } from './node.ts'

/** Element types of tensors, read off the operators that make them. */

const BOOLEAN = new Set([
  'And',
  'Equal',
  'Greater',
  'GreaterOrEqual',
  'IsInf',
  'IsNaN',
  'Less',
  'LessOrEqual',
  'Not',
  'Or',
  'Xor',
])
const INDICES = new Set(['ArgMax', 'ArgMin', 'NonZero', 'Shape', 'Size'])
/** Which input has the type of the output, where that is not the first. */
const TYPED_BY: Readonly<Record<string, number>> = {
  CastLike: 1,
  DequantizeLinear: 1,
  Where: 1,
  'com.microsoft:DequantizeLinear': 1,
  'com.microsoft:EmbedLayerNormalization': 2,
  'com.microsoft:GatherBlockQuantized': 2,
  'com.microsoft:MatMulIntegerToFloat': 2,
}

function outputType(node: NodeProto, at: number, typeOf: (tensor: string) => number | undefined): number | undefined {
  const operator = operatorOf(node)
  if (BOOLEAN.has(operator)) return DataType.BOOL
  if (INDICES.has(operator)) return DataType.INT64
  switch (operator) {
    case 'Cast':
      return intAttribute(node, 'to', DataType.FLOAT)
    case 'ConstantOfShape':
      return node.attribute.find(({ name }) => name === 'value')?.t?.dataType ?? DataType.FLOAT
    case 'TopK':
      return at === 0 ? typeOf(node.input[0]!) : DataType.INT64
    case 'DynamicQuantizeLinear':
      return at === 1 ? DataType.FLOAT : DataType.UINT8
    case 'QuantizeLinear':
    case 'com.microsoft:QuantizeLinear':
      return node.input[2] ? typeOf(node.input[2]) : intAttribute(node, 'output_dtype', DataType.UINT8)
    case 'MatMulInteger':
      return DataType.INT32
    case 'Dropout':
      return at === 0 ? typeOf(node.input[0]!) : DataType.BOOL
    case 'com.microsoft:EmbedLayerNormalization':
      return at === 1 ? DataType.INT32 : typeOf(node.input[2]!)
    default:
      return typeOf(node.input[TYPED_BY[operator] ?? 0] ?? '')
  }
}

/** Element type by tensor; tensors whose type does not follow from the graph are left out. */
export function elementTypes(graph: Graph): Map<string, number> {
  const types = new Map<string, number>()
  for (const [name, { dataType }] of graph.constants) types.set(name, dataType)
  for (const { name, type } of graph.inputs)
    if (type?.value.case === 'tensorType') types.set(name, type.value.value.elemType)
  const typeOf = (tensor: string): number | undefined => types.get(tensor)
  for (const node of graph.nodes)
    node.output.forEach((output, at) => {
      const type = output === '' ? undefined : outputType(node, at, typeOf)
      if (type !== undefined) types.set(output, type)
    })
  return types
}
