import type { NodeProto } from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'
import type { Product } from './products.ts'
import type { Role } from './site-names.ts'

/**
 * Roles of products in a graph whose names tell nothing, from how tensors flow: a layer is what lies between one
 * softmax and the next; products that reach attention without another product between are its queries, keys and values;
 * the one that attention reaches is its output; then come those of the feed-forward part, the last of them leading
 * back.
 */

interface Flow {
  readonly graph: Graph
  readonly producers: ReadonlyMap<string, NodeProto>
  readonly consumers: ReadonlyMap<string, NodeProto[]>
  readonly isProduct: ReadonlySet<NodeProto>
}

/** Operators that hand on sizes, not activations: arithmetic on shapes leads from any layer to any other. */
const TAKES_SHAPE = new Set(['Shape', 'Size'])

/** A product of two activations: scores, or what they weigh. */
const isAttention = ({ graph, isProduct }: Flow, node: NodeProto): boolean =>
  node.opType === 'MatMul' && !isProduct.has(node) && node.input.every((input) => !graph.constants.has(input))

/** Whether attention is met from a node on, in one direction, before another product is. */
function meetsAttention(flow: Flow, start: NodeProto, nextOf: (node: NodeProto) => readonly NodeProto[]): boolean {
  const seen = new Set<NodeProto>([start])
  const open = [...nextOf(start)]
  while (open.length > 0) {
    const node = open.pop()!
    if (seen.has(node) || flow.isProduct.has(node) || TAKES_SHAPE.has(node.opType)) continue
    if (isAttention(flow, node)) return true
    seen.add(node)
    open.push(...nextOf(node))
  }
  return false
}

/** How many softmaxes lie before each node. */
function softmaxesBefore({ graph, producers }: Flow): Map<NodeProto, number> {
  const depths = new Map<NodeProto, number>()
  for (const node of graph.nodes) {
    if (TAKES_SHAPE.has(node.opType)) continue
    const before = node.input.map((input) => {
      const producer = producers.get(input)
      return producer ? (depths.get(producer) ?? 0) + (producer.opType === 'Softmax' ? 1 : 0) : 0
    })
    depths.set(node, Math.max(0, ...before))
  }
  return depths
}

const role = (site: string, part = 0, alone = site): Role => ({ site, part, alone })

/** Roles of the products of one layer behind its attention, in order. */
function rolesBehind(flow: Flow, layer: number, products: readonly Product[]): Map<Product, Role> {
  const before = (node: NodeProto): NodeProto[] => node.input.flatMap((input) => flow.producers.get(input) ?? [])
  const output = products.find(({ node }) => meetsAttention(flow, node, before))
  const others = products.filter((product) => product !== output)
  const roles = new Map<Product, Role>()
  if (output) roles.set(output, role(`layer.${layer}.attention.output`))
  others.forEach((product, at) => {
    const isLast = at === others.length - 1 && others.length > 1
    roles.set(
      product,
      isLast ? role(`layer.${layer}.ffn.down`) : role(`layer.${layer}.ffn.up`, at, `layer.${layer}.ffn.up${at}`),
    )
  })
  return roles
}

/**
 * @param products in the order of the forward pass.
 * @param head node of the product that makes the logits, which has no role.
 */
export function rolesByStructure(
  graph: Graph,
  products: readonly Product[],
  head: NodeProto | undefined,
): Map<Product, Role> {
  const isProduct = new Set(products.map(({ node }) => node))
  const flow: Flow = { graph, producers: graph.producers(), consumers: graph.consumers(), isProduct }
  const depths = softmaxesBefore(flow)
  const after = (node: NodeProto): NodeProto[] => node.output.flatMap((output) => flow.consumers.get(output) ?? [])
  const roles = new Map<Product, Role>()
  const behind = new Map<number, Product[]>()
  const parts = new Map<number, number>()
  for (const product of products) {
    if (product.node === head) continue
    const depth = depths.get(product.node) ?? 0
    if (meetsAttention(flow, product.node, after)) {
      const part = parts.get(depth) ?? 0
      parts.set(depth, part + 1)
      roles.set(product, role(`layer.${depth}.attention.qkv`, part, `layer.${depth}.attention.qkv${part}`))
    } else {
      behind.set(depth, [...(behind.get(depth) ?? []), product])
    }
  }
  // The last layer has as many products as the first; what follows belongs to the head.
  const perLayer = behind.get(1)?.length ?? 0
  for (const [depth, list] of behind) {
    if (depth === 0) continue
    for (const [product, found] of rolesBehind(flow, depth - 1, list.slice(0, perLayer))) roles.set(product, found)
    const rest = list.slice(perLayer)
    rest.forEach((product, at) => {
      roles.set(product, role(rest.length === 1 ? 'head.transform' : `head.${at}`))
    })
  }
  return roles
}
