import { EngineError } from '../error.ts'
import type { NodeProto } from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'
import { type Product, productOf } from './products.ts'

/**
 * Sites: the places where a factor can be trained. A site is one product with a constant matrix, or the products for
 * query, key and value of one layer, which read the same input and share one factor A.
 */
export interface Site {
  /** `layer.3.attention.qkv`, `layer.3.ffn.up`, `head.transform`, or the exporter's own path where none of these fits. */
  readonly name: string
  /** One product, or those of q, k and v in this order. */
  readonly products: readonly Product[]
  readonly inputs: number
  /** Columns of all products together. */
  readonly outputs: number
}

const LAYER = /(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.(.+)$/
const QUERY_KEY_VALUE = [
  /(?:^|[._])(?:query|q_lin|q_proj)$/,
  /(?:^|[._])(?:key|k_lin|k_proj)$/,
  /(?:^|[._])(?:value|v_lin|v_proj)$/,
]
/** Module paths of BERT, RoBERTa, DistilBERT, ModernBERT and their like. The first pattern that fits names the site. */
const IN_LAYER: readonly (readonly [RegExp, string])[] = [
  [/(?:^|\.)attn\.Wqkv$/, 'attention.qkv'],
  [/(?:^|\.)(?:attention\.output\.dense|out_lin|out_proj|o_proj|attn\.Wo)$/, 'attention.output'],
  [/(?:^|\.)(?:intermediate\.dense|lin1|fc1|up_proj|mlp\.Wi)$/, 'ffn.up'],
  [/(?:^|\.)(?:output\.dense|lin2|fc2|down_proj|mlp\.Wo)$/, 'ffn.down'],
]
const HEAD = /(?:^|\.)(?:predictions\.transform\.dense|lm_head\.dense|vocab_transform|head\.dense)$/

/** The module a product belongs to, in dots: from the node's scope, else from its weight's name. */
function modulePath(product: Product): string {
  const scope = product.node.name.split('/').filter((part) => part !== '')
  if (scope.length > 1) return scope.slice(0, -1).join('.')
  return product.weight.name.replace(/\.weight(_transposed)?$/, '')
}

/** Name of the site and place of the product in it (0, 1, 2 for q, k, v). */
function place(path: string): { site: string; part: number } {
  const layer = LAYER.exec(path)
  if (!layer) return { site: HEAD.test(path) ? 'head.transform' : path, part: 0 }
  const [, index, inner] = layer as unknown as [string, string, string]
  const part = QUERY_KEY_VALUE.findIndex((pattern) => pattern.test(inner))
  if (part >= 0) return { site: `layer.${index}.attention.qkv`, part }
  return { site: `layer.${index}.${IN_LAYER.find(([pattern]) => pattern.test(inner))?.[1] ?? inner}`, part: 0 }
}

/** @throws EngineError where products under one name do not form one site. */
function siteOf(name: string, parts: readonly { part: number; product: Product }[]): Site {
  const products = [...parts].sort((a, b) => a.part - b.part).map(({ product }) => product)
  const [first] = products as [Product]
  const distinct = new Set(parts.map(({ part }) => part)).size === parts.length
  const sameInput = products.every((product) => product.input === first.input)
  if (!distinct || !sameInput)
    throw new EngineError(
      'unsupported_graph',
      `products of site ${name} do not form one site (node ${first.node.name})`,
    )
  return {
    name,
    products,
    inputs: first.inputs,
    outputs: products.reduce((sum, product) => sum + product.outputs, 0),
  }
}

/** All sites of a graph in the order of the forward pass, the product that makes the logits left out. */
export function findSites(graph: Graph, decoder: NodeProto): Site[] {
  const producers = graph.producers()
  const groups = new Map<string, { part: number; product: Product }[]>()
  for (const node of graph.nodes) {
    const product = productOf(graph, producers, node)
    if (!product || node === decoder) continue
    const { site, part } = place(modulePath(product))
    groups.set(site, [...(groups.get(site) ?? []), { part, product }])
  }
  return [...groups].map(([name, parts]) => siteOf(name, parts))
}
