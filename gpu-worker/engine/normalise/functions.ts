import { create } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import {
  type AttributeProto,
  AttributeProtoSchema,
  type FunctionProto,
  type ModelProto,
  type NodeProto,
  NodeProtoSchema,
} from '../onnx/onnx_pb.ts'
import { isOnnxDomain, labelOf } from './node.ts'

/**
 * Functions that a model brings along: exporters write modules or operators so. Each call becomes the nodes of the
 * function's body, its tensors named after the call.
 */

/** Functions may call functions, but not themselves: more rounds or nodes than these are no model. */
const ROUNDS_MAX = 32
const NODES_MAX = 2 ** 20

const domainOf = (domain: string | undefined): string => (isOnnxDomain(domain) ? '' : domain!)
const keyOf = (domain: string | undefined, name: string, overload: string | undefined): string =>
  `${domainOf(domain)}:${name}:${overload ?? ''}`

/** The body's attributes: those that refer to one of the call take its value, or the default, or are left out. */
function attributesOf(node: NodeProto, call: NodeProto, made: FunctionProto): AttributeProto[] {
  return node.attribute.flatMap((attribute) => {
    if (!attribute.refAttrName) return [attribute]
    const given =
      call.attribute.find(({ name }) => name === attribute.refAttrName) ??
      made.attributeProto.find(({ name }) => name === attribute.refAttrName)
    return given ? [create(AttributeProtoSchema, { ...given, name: attribute.name, refAttrName: '' })] : []
  })
}

/** Nodes that a call stands for. */
function bodyOf(call: NodeProto, made: FunctionProto, prefix: string): NodeProto[] {
  const names = new Map<string, string>([['', '']])
  made.input.forEach((name, at) => {
    names.set(name, call.input[at] ?? '')
  })
  made.output.forEach((name, at) => {
    if (call.output[at]) names.set(name, call.output[at])
  })
  const nameOf = (tensor: string): string => names.get(tensor) ?? `${prefix}/${tensor}`
  return made.node.map((node, at) =>
    create(NodeProtoSchema, {
      ...node,
      name: `${prefix}/${node.name === '' ? at : node.name}`,
      input: node.input.map(nameOf),
      output: node.output.map(nameOf),
      attribute: attributesOf(node, call, made),
      metadataProps: node.metadataProps.length > 0 ? node.metadataProps : call.metadataProps,
    }),
  )
}

/** A body written for another version of ONNX's operators would mean something else in this graph. */
function checkVersions(model: ModelProto, made: FunctionProto): void {
  const versions = new Map(model.opsetImport.map(({ domain, version }) => [domainOf(domain), version]))
  for (const opset of made.opsetImport) {
    const domain = domainOf(opset.domain)
    const version = versions.get(domain)
    if (version === undefined) {
      model.opsetImport.push(opset)
      versions.set(domain, opset.version)
    } else if (domain === '' && version !== opset.version)
      throw new EngineError(
        'unsupported_graph',
        `function ${made.name} is written for opset ${opset.version}, the model for ${version}: export it again with one`,
      )
  }
}

/** Replaces every call of a function of the model. @throws EngineError for functions that the engine can not inline. */
export function inlineFunctions(model: ModelProto): void {
  const functions = new Map(model.functions.map((made) => [keyOf(made.domain, made.name, made.overload), made]))
  if (functions.size === 0 || !model.graph) return
  for (const made of model.functions) checkVersions(model, made)
  for (let round = 0; ; round++) {
    let isDone = true
    const nodes = model.graph.node.flatMap((node) => {
      const made = functions.get(keyOf(node.domain, node.opType, node.overload))
      if (!made) return [node]
      isDone = false
      if (round === ROUNDS_MAX)
        throw new EngineError('malformed_model', `${labelOf(node)} is a function that calls itself`)
      // Calls of one round make different tensors; a call within a body may make the tensor of its caller.
      const prefix = `${node.output.find((output) => output !== '') ?? node.name}/${made.name}${round}`
      return bodyOf(node, made, prefix)
    })
    if (nodes.length > NODES_MAX) throw new EngineError('malformed_model', 'the functions of the model have no end')
    model.graph.node = nodes
    if (isDone) return
  }
}
