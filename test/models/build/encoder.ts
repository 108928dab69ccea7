import { type ExportForm, TO_FLOAT } from './form.ts'
import { attend, embedding, gelu, gemm, joinHeads, layerNorm, linear, scopeOf, splitHeads } from './layers.ts'
import { type ModelSize, writeModel } from './model.ts'
import { randomWeights, type WeightSource } from './random.ts'
import { wordPieces } from './tokenizers.ts'

export interface EncoderSize extends ModelSize {
  /** Classes of a sequence classifier; without them the model predicts masked tokens. */
  readonly classes?: number
}

const EPSILON = 1e-12
const SEGMENTS = 2
/** What a masked position's score is lowered by: the least float32. */
const LOWEST = -3.4028234663852886e38

const activations = (width: number) => ({ width, epsilon: EPSILON })

/** Token, segment and position embeddings, summed and normed: [B, T, hidden]. */
function embeddings(form: ExportForm, { vocabulary, hidden, positions }: EncoderSize): string {
  const path = 'bert.embeddings'
  const scope = scopeOf(path)
  const tokens = form.size(scope, 'input_ids', 1)
  const all = form.node(scope, 'Unsqueeze', [
    form.node(scope, 'Range', [form.ints(scope, 0), form.ints(scope, positions), form.ints(scope, 1)]),
    form.ints(scope, [0]),
  ])
  const end = form.node(scope, 'Unsqueeze', [tokens, form.ints(scope, [0])])
  const places = form.node(scope, 'Slice', [
    all,
    form.ints(scope, [0]),
    end,
    form.ints(scope, [1]),
    form.ints(scope, [1]),
  ])
  const words = embedding(form, 'input_ids', `${path}.word_embeddings`, [vocabulary, hidden])
  const segments = embedding(form, 'token_type_ids', `${path}.token_type_embeddings`, [SEGMENTS, hidden])
  const sum = form.node(scope, 'Add', [words, segments])
  const placed = embedding(form, places, `${path}.position_embeddings`, [positions, hidden])
  return layerNorm(form, form.node(scope, 'Add', [sum, placed]), `${path}.LayerNorm`, activations(hidden))
}

/** (1 - attention mask) times the least number, [B, 1, 1, T]. */
function paddingMask(form: ExportForm): string {
  const scope = '/bert'
  const rows = form.node(scope, 'Unsqueeze', ['attention_mask', form.ints(scope, [1])])
  const mask = form.node(scope, 'Cast', [form.node(scope, 'Unsqueeze', [rows, form.ints(scope, [2])])], TO_FLOAT)
  return form.node(scope, 'Mul', [form.node(scope, 'Sub', [form.float(scope, 1), mask]), form.float(scope, LOWEST)])
}

function attention(form: ExportForm, x: string, mask: string, at: { path: string; size: EncoderSize }): string {
  const { hidden, heads } = at.size
  const self = `${at.path}.self`
  const scope = scopeOf(self)
  const size = hidden / heads
  const part = (name: string, turned: boolean) => {
    const made = linear(form, x, { path: `${self}.${name}`, inputs: hidden, outputs: hidden, bias: true })
    return splitHeads(form, made, scope, { heads, size, turned })
  }
  const [query, key, values] = [part('query', false), part('key', true), part('value', false)]
  const scores = form.node(scope, 'Div', [form.node(scope, 'MatMul', [query, key]), form.float(scope, Math.sqrt(size))])
  const joined = joinHeads(form, attend(form, scope, { scores, mask, values }), scope, hidden)
  const output = `${at.path}.output`
  const dense = linear(form, joined, { path: `${output}.dense`, inputs: hidden, outputs: hidden, bias: true })
  return layerNorm(form, form.node(scopeOf(output), 'Add', [dense, x]), `${output}.LayerNorm`, activations(hidden))
}

function layer(form: ExportForm, x: string, mask: string, at: { path: string; size: EncoderSize }): string {
  const { hidden, intermediate } = at.size
  const attended = attention(form, x, mask, { ...at, path: `${at.path}.attention` })
  const up = `${at.path}.intermediate`
  const wide = linear(form, attended, { path: `${up}.dense`, inputs: hidden, outputs: intermediate, bias: true })
  const active = gelu(form, wide, `${up}.intermediate_act_fn`)
  const down = `${at.path}.output`
  const dense = linear(form, active, { path: `${down}.dense`, inputs: intermediate, outputs: hidden, bias: true })
  return layerNorm(form, form.node(scopeOf(down), 'Add', [dense, attended]), `${down}.LayerNorm`, activations(hidden))
}

/** Logits [B, classes] from the first position's state. */
function classifier(form: ExportForm, x: string, hidden: number, classes: number): void {
  const first = form.node('/bert/pooler', 'Gather', [x, form.ints('/bert/pooler', 0)], { axis: 1 })
  const pooled = gemm(form, first, { path: 'bert.pooler.dense', inputs: hidden, outputs: hidden })
  const active = form.node('/bert/pooler/activation', 'Tanh', [pooled])
  gemm(form, active, { path: 'classifier', inputs: hidden, outputs: classes }, 'logits')
}

/** Logits [B, T, vocabulary]; the decoder is the embedding table, turned, as BERT ties them. */
function maskedHead(form: ExportForm, x: string, { hidden, vocabulary }: EncoderSize): void {
  const path = 'cls.predictions.transform'
  const dense = linear(form, x, { path: `${path}.dense`, inputs: hidden, outputs: hidden, bias: true })
  const normed = layerNorm(
    form,
    gelu(form, dense, `${path}.transform_act_fn`),
    `${path}.LayerNorm`,
    activations(hidden),
  )
  const scope = '/cls/predictions/decoder'
  const table = form.node(scope, 'Transpose', ['bert.embeddings.word_embeddings.weight'], { perm: [1, 0] })
  const product = form.node(scope, 'MatMul', [normed, table])
  form.node(scope, 'Add', [form.weight('cls.predictions.bias', [vocabulary]), product], {}, 'logits')
}

/** What config.json of a BERT model says. */
function configOf({ layers, hidden, heads, intermediate, vocabulary, positions, classes }: EncoderSize) {
  return {
    architectures: [classes === undefined ? 'BertForMaskedLM' : 'BertForSequenceClassification'],
    model_type: 'bert',
    hidden_act: 'gelu',
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: intermediate,
    vocab_size: vocabulary,
    max_position_embeddings: positions,
    type_vocab_size: SEGMENTS,
    layer_norm_eps: EPSILON,
    pad_token_id: 0,
    ...(classes === undefined
      ? {}
      : { id2label: Object.fromEntries(Array.from({ length: classes }, (_, c) => [c, `LABEL_${c}`])) }),
  }
}

/**
 * Writes a BERT model with random weights in Hugging Face layout: inputs `input_ids`, `attention_mask` and
 * `token_type_ids` [batch, sequence], output `logits` [batch, classes] or [batch, sequence, vocabulary].
 * @returns the file that holds the graph.
 */
export function writeEncoder(dir: string, size: EncoderSize, weights: WeightSource = randomWeights(size.seed)): string {
  return writeModel(dir, {
    size,
    weights,
    config: configOf(size),
    tokenizer: wordPieces(size.vocabulary),
    inputs: ['input_ids', 'attention_mask', 'token_type_ids'],
    outputDims:
      size.classes === undefined ? ['batch_size', 'sequence_length', size.vocabulary] : ['batch_size', size.classes],
    write(form) {
      const mask = paddingMask(form)
      let x = embeddings(form, size)
      for (let i = 0; i < size.layers; i++) x = layer(form, x, mask, { path: `bert.encoder.layer.${i}`, size })
      if (size.classes === undefined) maskedHead(form, x, size)
      else classifier(form, x, size.hidden, size.classes)
    },
  })
}
