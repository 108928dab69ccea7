import { create } from '@bufbuild/protobuf'
import type { Graph } from '../graph/graph.ts'
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  type NodeProto,
  NodeProtoSchema,
} from '../onnx/onnx_pb.ts'

/** Reading and writing the nodes of a graph whose dimensions are not known yet. */

/** A whole number is an INT attribute, a list an INTS one; a FLOAT attribute is said to be one. */
export type AttributeValue = number | readonly number[] | { readonly float: number } | { readonly text: string }

function attributeProto(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === 'number')
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value) })
  if ('float' in value) return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value.float })
  if ('text' in value)
    return create(AttributeProtoSchema, { name, type: AttributeType.STRING, s: new TextEncoder().encode(value.text) })
  return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.map(BigInt) })
}

const attributeOf = (node: NodeProto, name: string): AttributeProto | undefined =>
  node.attribute.find((attribute) => attribute.name === name)

export const floatAttribute = (node: NodeProto, name: string, otherwise: number): number =>
  attributeOf(node, name)?.f ?? otherwise

export const textAttribute = (node: NodeProto, name: string): string | undefined => {
  const bytes = attributeOf(node, name)?.s
  return bytes && new TextDecoder().decode(bytes)
}

export function dropAttribute(node: NodeProto, name: string): void {
  node.attribute = node.attribute.filter((attribute) => attribute.name !== name)
}

export function setAttribute(node: NodeProto, name: string, value: AttributeValue): void {
  dropAttribute(node, name)
  node.attribute.push(attributeProto(name, value))
}

/**
 * Whether a domain is ONNX's own. A copied node has none at all: fields left out of a message have no value of their
 * own.
 */
export const isOnnxDomain = (domain: string | undefined): boolean => !domain || domain === 'ai.onnx'

/** `Gather`, or `com.microsoft:Gelu` for an operator of another domain than ONNX's own. */
export const operatorOf = (node: NodeProto): string =>
  isOnnxDomain(node.domain) ? node.opType : `${node.domain}:${node.opType}`

/** What an error calls a node: exporters may leave names out. */
export const labelOf = (node: NodeProto): string =>
  `node ${node.name === '' ? `of ${node.output.find((output) => output !== '') ?? 'no output'}` : node.name} (${operatorOf(node)})`

/** The input at a place, where there is one: an optional input left out is an empty name, or is not listed at all. */
export const inputAt = (node: NodeProto, at: number): string | undefined => {
  const name = node.input[at]
  return name === undefined || name === '' ? undefined : name
}

export interface Made {
  readonly attributes?: Readonly<Record<string, AttributeValue>>
  /** Name of the output; a fresh one otherwise. */
  readonly output?: string
}

/** Writes the nodes that take the place of one: their names begin like its own, and say which module they come from. */
export interface Writer {
  /** Adds a node with one output. @returns the output's name. */
  node(op: string, inputs: readonly string[], made?: Made): string
  /** Adds a node with several outputs. @returns their names. */
  nodes(op: string, inputs: readonly string[], outputs: number, made?: Made): string[]
  ints(values: readonly number[], dims?: readonly number[]): string
  /** A float scalar. */
  scalar(value: number): string
}

/** A node by itself, not yet in a graph. */
export function makeNode(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  made: { name: string; attributes?: Readonly<Record<string, AttributeValue>>; like?: NodeProto },
): NodeProto {
  return create(NodeProtoSchema, {
    name: made.name,
    opType,
    input: [...input],
    output: [...output],
    attribute: Object.entries(made.attributes ?? {}).map(([name, value]) => attributeProto(name, value)),
    metadataProps: made.like?.metadataProps ?? [],
  })
}

/** `/encoder/layer.0/` of `/encoder/layer.0/Add`: classic exporters name nodes by the module they come from. */
const scopeOf = (name: string): string => name.slice(0, name.lastIndexOf('/') + 1)

export function writerFor(graph: Graph, replaced: NodeProto): Writer {
  const base = replaced.output.find((output) => output !== '') ?? replaced.name
  const scope = scopeOf(replaced.name) || scopeOf(base)
  let count = 0
  const fresh = (): string => `${base}.part${count++}`
  // A node's name is its tensor's, which no other node has, within the module that the replaced node comes from.
  const nodes = (op: string, inputs: readonly string[], outputs: number, made: Made = {}): string[] => {
    const names = Array.from({ length: outputs }, (_, at) => (at === 0 && made.output) || fresh())
    const attributes = made.attributes ?? {}
    graph.nodes.push(
      makeNode(op, inputs, names, { name: `${scope}${names[0]!.replaceAll('/', '.')}`, attributes, like: replaced }),
    )
    return names
  }
  return {
    node: (op, inputs, made) => nodes(op, inputs, 1, made)[0]!,
    nodes,
    ints: (values, dims) => graph.addInts(fresh(), values, dims),
    scalar: (value) => graph.addFloats(fresh(), [], Float32Array.of(value)),
  }
}

/** @returns whether the node has been replaced by what was written; otherwise it stays, changed or not. */
export type Rule = (node: NodeProto, write: Writer, graph: Graph) => boolean

/** Applies to each node the rule for its operator, if there is one. Order of nodes is kept. */
export function rewrite(graph: Graph, rules: Readonly<Record<string, Rule>>): void {
  const before = graph.nodes
  graph.nodes = []
  for (const node of before) {
    const rule = rules[operatorOf(node)]
    if (!rule?.(node, writerFor(graph, node), graph)) graph.nodes.push(node)
  }
}

/** Drops nodes that hand on their first input: their readers read that input. A graph output keeps its name. */
export function dropNodes(graph: Graph, isIdle: (node: NodeProto) => boolean): void {
  const source = new Map<string, string>()
  const outputs = new Set(graph.outputs.map(({ name }) => name))
  graph.nodes = graph.nodes.filter((node) => {
    node.input = node.input.map((name) => source.get(name) ?? name)
    if (outputs.has(node.output[0]!) || !isIdle(node)) return true
    source.set(node.output[0]!, node.input[0]!)
    return false
  })
}
