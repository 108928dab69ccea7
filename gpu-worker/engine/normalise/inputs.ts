import { create } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import type { Graph } from '../graph/graph.ts'
import {
  TensorProto_DataType as DataType,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from '../onnx/onnx_pb.ts'
import { makeNode } from './node.ts'

/** What the engine feeds, each int64 [records, tokens]. */
const FED = ['input_ids', 'attention_mask', 'token_type_ids', 'position_ids'] as const

/** Other names that exporters gave them. */
const ALIASES: Readonly<Record<string, string>> = { input_mask: 'attention_mask', segment_ids: 'token_type_ids' }

/** Inputs that ask for the logits of the last positions alone; 0 asks for those of all. */
const HOW_MANY_LOGITS = new Set(['num_logits_to_keep', 'logits_to_keep'])

const LOGITS = 'logits'

/** int64 [records, tokens]. */
function tokensInfo(name: string): ValueInfoProto {
  const dim = ['records', 'tokens'].map((size) =>
    create(TensorShapeProto_DimensionSchema, { value: { case: 'dimParam', value: size } }),
  )
  const tensorType = create(TypeProto_TensorSchema, {
    elemType: DataType.INT64,
    shape: create(TensorShapeProtoSchema, { dim }),
  })
  const type = create(TypeProtoSchema, { value: { case: 'tensorType', value: tensorType } })
  return create(ValueInfoProtoSchema, { name, type })
}

/** Sizes of an input's axes as the exporter fixed them; undefined where they are free, or nothing is said. */
export function fixedSizes(info: ValueInfoProto): (number | undefined)[] | undefined {
  if (info.type?.value.case !== 'tensorType') return undefined
  return info.type.value.value.shape?.dim.map(({ value }) =>
    value.case === 'dimValue' ? Number(value.value) : undefined,
  )
}

function refuseFixedLength(info: ValueInfoProto): void {
  const length = fixedSizes(info)?.at(-1)
  if (length !== undefined)
    throw new EngineError(
      'unsupported_graph',
      `input ${info.name} has a fixed length of ${length} tokens: export the model with dynamic axes`,
    )
}

/** The graph reads int64 whatever the exporter chose; a Cast behind the input makes what it did choose. */
function asTokens(graph: Graph, info: ValueInfoProto): ValueInfoProto {
  const { name } = info
  refuseFixedLength(info)
  const elemType = info.type?.value.case === 'tensorType' ? info.type.value.value.elemType : DataType.INT64
  if (elemType !== DataType.INT64) {
    const cast = `${name}.as_exported`
    graph.redirect(name, cast)
    graph.nodes.unshift(makeNode('Cast', [name], [cast], { name: cast, attributes: { to: elemType } }))
  }
  const fed = ALIASES[name] ?? name
  graph.redirect(name, fed)
  return tokensInfo(fed)
}

const isFed = (name: string): boolean => (FED as readonly string[]).includes(ALIASES[name] ?? name)

/** Leaves the inputs that the engine feeds. @throws EngineError naming an input that it does not know. */
export function settleInputs(graph: Graph): void {
  const read = new Set(graph.nodes.flatMap(({ input }) => input))
  graph.inputs = graph.inputs.flatMap((info) => {
    if (isFed(info.name)) return asTokens(graph, info)
    if (!read.has(info.name)) return []
    if (HOW_MANY_LOGITS.has(info.name)) {
      graph.addInts(info.name, [0], fixedSizes(info)?.map(() => 1) ?? [])
      return []
    }
    throw new EngineError(
      'unsupported_graph',
      `the graph has an input ${info.name}, which is none of ${FED.join(', ')}: export the text model alone`,
    )
  })
  if (!graph.inputs.some(({ name }) => name === 'input_ids'))
    throw new EngineError('unsupported_graph', 'the graph has no input input_ids: export the model with its embeddings')
}

/** Leaves the logits: states, attention weights and the cache are made for nobody here. */
export function settleOutputs(graph: Graph): void {
  const logits = graph.outputs.find(({ name }) => name === LOGITS) ?? graph.outputs[0]
  if (!logits) throw new EngineError('malformed_model', 'the graph has no output: export the model again')
  graph.outputs = [logits]
}
