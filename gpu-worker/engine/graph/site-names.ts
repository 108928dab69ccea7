import type { NodeProto } from '../onnx/onnx_pb.ts'
import type { Graph } from './graph.ts'
import { biasAdd, type Product } from './products.ts'

/**
 * Names of sites from what exporters left of the modules: the classic one in node names
 * (`/encoder/layer.0/output/dense/MatMul`), the dynamo one in metadata, optimisers often in nothing but the names of
 * weights or of biases.
 */

/** What a product is called. */
export interface Role {
  /** `layer.3.attention.qkv` */
  readonly site: string
  /** Place among the products that share the site. */
  readonly part: number
  /** Name where the product can not share the site: `layer.3.attention.q`. */
  readonly alone: string
}

interface Pattern {
  readonly path: RegExp
  readonly site: string
  readonly part?: number
  readonly alone?: string
}

const LAYER = /(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.(.+)$/
/** What remains of the module of attention that an optimiser fused. */
const FUSED_LAYER = /^Attention_(\d+)_qkv/

const part = (name: string, path: RegExp, site: string, at: number): Pattern => ({ path, site, part: at, alone: name })

/** Module paths within a layer, by what they end with. The first pattern that fits gives the role. */
const IN_LAYER: readonly Pattern[] = [
  { path: /(?:^|\.)(?:Wqkv|c_attn|qkv_proj|query_key_value|attention\.self|qkv)$/, site: 'attention.qkv' },
  part('attention.q', /(?:^|[._])(?:query|q_lin|q_proj|query_proj|q)$/, 'attention.qkv', 0),
  part('attention.k', /(?:^|[._])(?:key|k_lin|k_proj|key_proj|k)$/, 'attention.qkv', 1),
  part('attention.v', /(?:^|[._])(?:value|v_lin|v_proj|value_proj|v)$/, 'attention.qkv', 2),
  {
    path: /(?:attention\.output\.dense|out_lin|out_proj|o_proj|attn\.Wo|attn\.c_proj|attn\.o|attention\.dense|attn\.dense)$/,
    site: 'attention.output',
  },
  part('ffn.gate', /(?:^|\.)gate_proj$/, 'ffn.up', 0),
  part('ffn.up', /(?:^|\.)up_proj$/, 'ffn.up', 1),
  {
    path: /(?:^|\.)(?:intermediate\.dense|lin1|fc1|c_fc|fc_in|mlp\.Wi|gate_up_proj|dense_h_to_4h)$/,
    site: 'ffn.up',
  },
  {
    path: /(?:^|\.)(?:output\.dense|lin2|fc2|fc_out|down_proj|mlp\.Wo|mlp\.c_proj|dense_4h_to_h)$/,
    site: 'ffn.down',
  },
]
/** The site that is never trained: often one with the embeddings, and restricted to the words of the labels. */
export const VOCABULARY = 'head.vocabulary'
export const CLASSIFIER = 'head.classifier'

/** Module paths of heads, by what they end with. */
const IN_HEAD: readonly (readonly [RegExp, string])[] = [
  [
    /(?:^|\.)(?:predictions\.transform\.dense|lm_head\.dense|vocab_transform|generator_predictions\.dense)$/,
    'head.transform',
  ],
  [/(?:^|\.)(?:head\.dense|pre_classifier|classifier\.dense|classification_head\.dense)$/, 'head.transform'],
  [/(?:^|\.)pooler\.dense$/, 'head.pooler'],
  [/(?:^|\.)(?:classifier|classifier\.out_proj|classification_head\.out_proj|score)$/, CLASSIFIER],
  [
    /(?:^|\.)(?:lm_head|lm_head\.decoder|predictions\.decoder|vocab_projector|generator_lm_head|embed_out)$/,
    VOCABULARY,
  ],
]

const alike = (site: string): Role => ({ site, part: 0, alone: site })

/** The role that a module path tells; undefined where it tells none. */
export function roleOfPath(path: string): Role | undefined {
  const fused = FUSED_LAYER.exec(path)
  const layer = LAYER.exec(path)
  if (fused) return alike(`layer.${fused[1]}.attention.qkv`)
  if (!layer) {
    const head = IN_HEAD.find(([pattern]) => pattern.test(path))
    return head && alike(head[1])
  }
  const [, index, inner] = layer as unknown as [string, string, string]
  const found = IN_LAYER.find((pattern) => pattern.path.test(inner))
  if (!found) return undefined
  const site = `layer.${index}.${found.site}`
  return { site, part: found.part ?? 0, alone: found.alone === undefined ? site : `layer.${index}.${found.alone}` }
}

/** `encoder.layer.0.output.dense` of `/encoder/layer.0/output/dense/MatMul`. */
function scopePath(name: string): string | undefined {
  const parts = name.split('/').filter((each) => each !== '')
  return parts.length > 1 ? parts.slice(0, -1).join('.') : undefined
}

/** The innermost module in dynamo's list of them, whose last entry is the operator itself. */
function metadataPath(node: NodeProto): string | undefined {
  const scopes = node.metadataProps.find(({ key }) => key === 'pkg.torch.onnx.name_scopes')?.value
  const names = scopes && [...scopes.matchAll(/'([^']*)'/g)].map((match) => match[1]!)
  return names ? names.at(-2) || undefined : undefined
}

/** Suffixes that exporters and quantisers put behind the path of a module. */
const TENSOR_SUFFIX =
  /(?:[._](?:MatMul|weight|bias|transposed|quantized|dequantized|scale|zero_point|Q[48]|Q[48]G\d*|DequantizeLinear|\d+))+$/

const tensorPath = (name: string | undefined): string | undefined =>
  name === undefined || name.includes('::') ? undefined : name.replace(TENSOR_SUFFIX, '')

/** Everything that may tell the module of a product, what tells most first. */
export function pathsOf(graph: Graph, consumers: Map<string, NodeProto[]>, product: Product): string[] {
  const { node, weight } = product
  const add = biasAdd(graph, consumers, product)
  const bias = add?.input.find((input) => graph.constants.has(input))
  const paths = [
    metadataPath(node),
    scopePath(node.name),
    tensorPath(weight.name),
    tensorPath(bias),
    scopePath(node.output[0]!),
    weight.name,
  ]
  return paths.filter((path) => path !== undefined && path !== '') as string[]
}
