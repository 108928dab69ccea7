import { create } from '@bufbuild/protobuf'
import { EngineError } from '../error.ts'
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  type NodeProto,
  NodeProtoSchema,
  type OperatorSetIdProto,
  type TensorProto,
  type ValueInfoProto,
} from '../onnx/onnx_pb.ts'
import { dimsOf, floatTensor, intTensor, type WeightPlace } from './tensor.ts'

export type Attributes = Readonly<Record<string, number | readonly number[]>>

/** `axis: 1` becomes an INT attribute, `perm: [0, 2, 1]` an INTS attribute. */
function attributeProtos(attributes: Attributes): AttributeProto[] {
  return Object.entries(attributes).map(([name, value]) =>
    typeof value === 'number'
      ? create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value) })
      : create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.map(BigInt) }),
  )
}

export function intAttribute(node: NodeProto, name: string, otherwise: number): number {
  return Number(node.attribute.find((attribute) => attribute.name === name)?.i ?? otherwise)
}

export function intsAttribute(node: NodeProto, name: string): number[] | undefined {
  return node.attribute.find((attribute) => attribute.name === name)?.ints.map(Number)
}

/**
 * An editable view of one ONNX graph: nodes in topological order, constants by name, and the dimensions of tensors for
 * ONE record of ONE length (filled by the fold). Every tensor name has one producer.
 */
export class Graph {
  nodes: NodeProto[] = []
  constants = new Map<string, TensorProto>()
  inputs: ValueInfoProto[] = []
  outputs: ValueInfoProto[] = []
  opsets: OperatorSetIdProto[] = []
  irVersion = 8n
  /** Exporter that wrote the model, with its version. */
  producer = ''
  /** Constants that are others put together, by name: their bytes are copied from file to file and never read. */
  joined = new Map<string, readonly (WeightPlace | Uint8Array)[]>()
  /** Whether float16 matrices stay as they are in memory, and are widened whenever they are used; see `half.ts`. */
  keepsHalves = false
  /** Dimensions by tensor name, without those of constants. */
  dims = new Map<string, readonly number[]>()

  /** A copy whose nodes may be rewired; constants and values are shared, as nothing writes into them. */
  clone(): Graph {
    const copy = new Graph()
    copy.nodes = this.nodes.map((node) =>
      create(NodeProtoSchema, { ...node, input: [...node.input], output: [...node.output] }),
    )
    copy.constants = new Map(this.constants)
    copy.inputs = [...this.inputs]
    copy.outputs = [...this.outputs]
    copy.opsets = this.opsets
    copy.irVersion = this.irVersion
    copy.producer = this.producer
    copy.joined = new Map(this.joined)
    copy.keepsHalves = this.keepsHalves
    copy.dims = new Map(this.dims)
    return copy
  }

  /** Adds a node with one output, named like the node. `dims` are those of the output. @returns the output's name. */
  add(
    op: string,
    inputs: readonly string[],
    made: { name: string; dims: readonly number[]; attributes?: Attributes },
  ): string {
    this.nodes.push(
      create(NodeProtoSchema, {
        name: made.name,
        opType: op,
        input: [...inputs],
        output: [made.name],
        attribute: attributeProtos(made.attributes ?? {}),
      }),
    )
    this.dims.set(made.name, made.dims)
    return made.name
  }

  addFloats(name: string, dims: readonly number[], values: Float32Array): string {
    this.constants.set(name, floatTensor(name, dims, values))
    return name
  }

  /** Adds a float32 constant whose rows are those of a weight in a file, and then these. */
  addBelow(name: string, dims: readonly number[], parts: { above: WeightPlace; below: Float32Array }): string {
    this.constants.set(name, floatTensor(name, dims, new Float32Array()))
    const { buffer, byteOffset, byteLength } = parts.below
    this.joined.set(name, [parts.above, new Uint8Array(buffer, byteOffset, byteLength)])
    return name
  }

  addInts(name: string, values: readonly number[], dims?: readonly number[]): string {
    this.constants.set(name, intTensor(name, values, dims))
    return name
  }

  /** Dimensions of a tensor for one record. @throws EngineError where the fold met no such tensor. */
  dimsOf(tensor: string): readonly number[] {
    const constant = this.constants.get(tensor)
    if (constant) return dimsOf(constant)
    const dims = this.dims.get(tensor)
    if (!dims) throw new EngineError('unsupported_graph', `tensor ${tensor} has no known dimensions`)
    return dims
  }

  producers(): Map<string, NodeProto> {
    return new Map(this.nodes.flatMap((node) => node.output.map((output) => [output, node] as const)))
  }

  consumers(): Map<string, NodeProto[]> {
    const consumers = new Map<string, NodeProto[]>()
    for (const node of this.nodes) {
      for (const input of new Set(node.input)) {
        const list = consumers.get(input)
        if (list) list.push(node)
        else consumers.set(input, [node])
      }
    }
    return consumers
  }

  /** Lets every reader of `from`, but the nodes in `except`, read `to`. Graph outputs keep their names. */
  redirect(from: string, to: string, except: readonly NodeProto[] = []): void {
    for (const node of this.nodes) {
      if (except.includes(node)) continue
      node.input = node.input.map((input) => (input === from ? to : input))
    }
  }

  /** Drops what no output needs and restores topological order. @throws EngineError on a cycle or a missing tensor. */
  tidy(): void {
    const producers = this.producers()
    const order: NodeProto[] = []
    const state = new Map<NodeProto, 'open' | 'done'>()
    const visit = (node: NodeProto): void => {
      const seen = state.get(node)
      if (seen === 'done') return
      if (seen === 'open') throw new EngineError('malformed_model', `node ${node.name} depends on itself`)
      state.set(node, 'open')
      for (const input of node.input) {
        const producer = producers.get(input)
        if (producer) visit(producer)
      }
      state.set(node, 'done')
      order.push(node)
    }
    for (const output of this.outputs) {
      const producer = producers.get(output.name)
      if (producer) visit(producer)
    }
    this.nodes = order
    const read = new Set(order.flatMap((node) => node.input))
    for (const name of [...this.constants.keys()]) if (!read.has(name)) this.constants.delete(name)
  }
}
