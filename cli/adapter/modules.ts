/** Where the sites of a model lie in the modules of `transformers`, by its kind. */

export interface ModelConfig {
  readonly model_type: string
  readonly architectures?: readonly string[]
  readonly hidden_size?: number
  readonly n_embd?: number
  readonly dim?: number
  readonly num_attention_heads?: number
  readonly n_head?: number
  readonly n_heads?: number
  readonly num_key_value_heads?: number | null
  readonly head_dim?: number | null
  readonly intermediate_size?: number
}

/** A module, and the columns of the site's outputs that are its own. */
export interface ModuleSlice {
  readonly path: string
  readonly from: number
  readonly to: number
}

/** Paths of one kind of model; `qkv` and `up` are several modules where the library splits what a site has as one. */
interface Layout {
  readonly layer: string
  readonly qkv: readonly string[]
  readonly output: string
  readonly up: readonly string[]
  readonly down: string
  readonly heads: (config: ModelConfig) => Readonly<Record<string, string>>
  /** Weights are [inputs, outputs], as `Conv1D` has them. */
  readonly isTransposed?: boolean
}

const isClassifier = ({ architectures = [] }: ModelConfig) =>
  architectures.some((name) => /SequenceClassification$/.test(name))

const bertLayer = {
  qkv: ['attention.self.query', 'attention.self.key', 'attention.self.value'],
  output: 'attention.output.dense',
  up: ['intermediate.dense'],
  down: 'output.dense',
}
const llama: Layout = {
  layer: 'model.layers',
  qkv: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'],
  output: 'self_attn.o_proj',
  up: ['mlp.gate_proj', 'mlp.up_proj'],
  down: 'mlp.down_proj',
  heads: () => ({ 'head.classifier': 'score' }),
}

const LAYOUTS: Readonly<Record<string, Layout>> = {
  bert: {
    layer: 'bert.encoder.layer',
    ...bertLayer,
    heads: () => ({
      'head.transform': 'cls.predictions.transform.dense',
      'head.pooler': 'bert.pooler.dense',
      'head.classifier': 'classifier',
    }),
  },
  roberta: {
    layer: 'roberta.encoder.layer',
    ...bertLayer,
    heads: (config) => ({
      'head.transform': isClassifier(config) ? 'classifier.dense' : 'lm_head.dense',
      'head.classifier': 'classifier.out_proj',
    }),
  },
  distilbert: {
    layer: 'distilbert.transformer.layer',
    qkv: ['attention.q_lin', 'attention.k_lin', 'attention.v_lin'],
    output: 'attention.out_lin',
    up: ['ffn.lin1'],
    down: 'ffn.lin2',
    heads: (config) => ({
      'head.transform': isClassifier(config) ? 'pre_classifier' : 'vocab_transform',
      'head.classifier': 'classifier',
    }),
  },
  gpt2: {
    layer: 'transformer.h',
    qkv: ['attn.c_attn'],
    output: 'attn.c_proj',
    up: ['mlp.c_fc'],
    down: 'mlp.c_proj',
    heads: () => ({ 'head.classifier': 'score' }),
    isTransposed: true,
  },
  opt: {
    layer: 'model.decoder.layers',
    qkv: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'],
    output: 'self_attn.out_proj',
    up: ['fc1'],
    down: 'fc2',
    heads: () => ({ 'head.classifier': 'score' }),
  },
  llama,
  mistral: llama,
  qwen2: llama,
  qwen3: llama,
}

export const KNOWN_KINDS: readonly string[] = Object.keys(LAYOUTS)

/** Whether the modules of the model's layers keep their weights as [inputs, outputs]. */
export const isTransposed = ({ model_type }: ModelConfig): boolean => LAYOUTS[model_type]?.isTransposed === true

/** Widths of the parts of q, k and v, as the model's configuration has them. */
function attentionWidths(config: ModelConfig): number[] {
  const heads = config.num_attention_heads ?? config.n_head ?? config.n_heads ?? Number.NaN
  const hidden = config.hidden_size ?? config.n_embd ?? config.dim ?? Number.NaN
  const width = config.head_dim ?? hidden / heads
  const shared = (config.num_key_value_heads ?? heads) * width
  return [heads * width, shared, shared]
}

const sum = (numbers: readonly number[]) => numbers.reduce((all, n) => all + n, 0)

function sliced(paths: readonly string[], widths: readonly number[], outputs: number): ModuleSlice[] | null {
  if (paths.length === 1) return [{ path: paths[0]!, from: 0, to: outputs }]
  if (sum(widths) !== outputs) return null
  return paths.map((path, i) => ({ path, from: sum(widths.slice(0, i)), to: sum(widths.slice(0, i + 1)) }))
}

const SITE = /^layer\.(\d+)\.(attention\.qkv|attention\.[qkv]|attention\.output|ffn\.up|ffn\.gate|ffn\.down)$/

/**
 * The modules that a site is made of.
 * @returns null where the kind of model, the site, or its width is not known
 */
export function modulesOf(site: string, outputs: number, config: ModelConfig): ModuleSlice[] | null {
  const layout = LAYOUTS[config.model_type]
  if (!layout) return null
  const head = layout.heads(config)[site]
  if (head !== undefined) return [{ path: head, from: 0, to: outputs }]
  const [, layer, role] = SITE.exec(site) ?? []
  if (role === undefined) return null
  const within = slicesOf(role, outputs, { layout, config })
  return within?.map(({ path, ...slice }) => ({ path: `${layout.layer}.${layer}.${path}`, ...slice })) ?? null
}

function slicesOf(
  role: string,
  outputs: number,
  { layout, config }: { layout: Layout; config: ModelConfig },
): ModuleSlice[] | null {
  const whole = (path: string | undefined) => (path === undefined ? null : [{ path, from: 0, to: outputs }])
  const isSplit = layout.qkv.length === 3
  switch (role) {
    case 'attention.qkv':
      return sliced(layout.qkv, attentionWidths(config), outputs)
    case 'attention.q':
    case 'attention.k':
    case 'attention.v':
      return isSplit ? whole(layout.qkv['qkv'.indexOf(role.at(-1)!)]) : null
    case 'attention.output':
      return whole(layout.output)
    case 'ffn.gate':
      return layout.up.length === 2 ? whole(layout.up[0]) : null
    case 'ffn.up':
      // A site of one half has that half's width: it could not share the other's.
      if (layout.up.length === 2 && outputs === config.intermediate_size) return whole(layout.up[1])
      return sliced(layout.up, [outputs / 2, outputs / 2], outputs)
    case 'ffn.down':
      return whole(layout.down)
    default:
      return null
  }
}
