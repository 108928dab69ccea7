import { activations, causalMask, type DecoderSize, head, type LayerPlace } from './causal.ts'
import type { ExportForm } from './form.ts'
import { attend, embedding, gemm, joinHeads, layerNorm, linear, scopeOf, splitHeads } from './layers.ts'

/** OPT's position table begins with two rows that no token uses. */
const POSITION_OFFSET = 2

function learnedAttention(form: ExportForm, x: string, { path, size, mask }: LayerPlace): string {
  const { hidden, heads } = size
  const width = hidden / heads
  const scope = scopeOf(path)
  const project = (name: string) =>
    linear(form, x, { path: `${path}.${name}`, inputs: hidden, outputs: hidden, bias: true })
  const split = (tensor: string) => splitHeads(form, tensor, scope, { heads, size: width })
  const query = split(form.node(scope, 'Mul', [project('q_proj'), form.float(scope, 1 / Math.sqrt(width))]))
  const [keys, values] = [split(project('k_proj')), split(project('v_proj'))]
  const turned = form.node(scope, 'Transpose', [keys], { perm: [0, 1, 3, 2] })
  const scores = form.node(scope, 'MatMul', [query, turned])
  const joined = joinHeads(form, attend(form, scope, { scores, mask, values }), scope, hidden)
  return linear(form, joined, { path: `${path}.out_proj`, inputs: hidden, outputs: hidden, bias: true })
}

/** OPT runs its feed-forward over a matrix [B T, hidden], so that its products become Gemm. */
function learnedLayer(form: ExportForm, x: string, at: LayerPlace): string {
  const { path, size } = at
  const { hidden, intermediate } = size
  const scope = scopeOf(path)
  const normed = layerNorm(form, x, `${path}.self_attn_layer_norm`, activations(hidden))
  const attended = learnedAttention(form, normed, { ...at, path: `${path}.self_attn` })
  const middle = form.node(scope, 'Add', [x, attended])
  const [batch, tokens] = [form.size(scope, middle, 0), form.size(scope, middle, 1)]
  const rows = form.reshape(scope, middle, [-1, hidden])
  const inner = layerNorm(form, rows, `${path}.final_layer_norm`, activations(hidden))
  const wide = gemm(form, inner, { path: `${path}.fc1`, inputs: hidden, outputs: intermediate })
  const active = form.node(`${scope}/activation_fn`, 'Relu', [wide])
  const down = gemm(form, active, { path: `${path}.fc2`, inputs: intermediate, outputs: hidden })
  return form.reshape(scope, form.node(scope, 'Add', [rows, down]), [batch, tokens, hidden])
}

/** Positions count the tokens that are no padding, from the table's third row on. */
function learnedPositions(form: ExportForm, { positions, hidden }: DecoderSize): string {
  const path = 'model.decoder.embed_positions'
  const [outer, scope] = ['/model/decoder', scopeOf(path)]
  const counted = form.node(outer, 'CumSum', ['attention_mask', form.ints(outer, 1)])
  const present = form.node(outer, 'Mul', [counted, 'attention_mask'])
  const numbers = form.node(outer, 'Sub', [present, form.ints(outer, 1)])
  const rows = form.node(scope, 'Add', [numbers, form.ints(scope, POSITION_OFFSET)])
  return embedding(form, rows, path, [positions + POSITION_OFFSET, hidden])
}

/** Nodes and weights of transformers' OPTForCausalLM. */
export function opt(form: ExportForm, size: DecoderSize): void {
  const { hidden, vocabulary } = size
  const path = 'model.decoder'
  const words = embedding(form, 'input_ids', `${path}.embed_tokens`, [vocabulary, hidden])
  const mask = causalMask(form, scopeOf(path))
  let x = form.node(scopeOf(path), 'Add', [words, learnedPositions(form, size)])
  for (let i = 0; i < size.layers; i++) x = learnedLayer(form, x, { path: `${path}.layers.${i}`, size, mask })
  const normed = layerNorm(form, x, `${path}.final_layer_norm`, activations(hidden))
  head(form, normed, { ...size, tied: true }, `${path}.embed_tokens.weight`)
}
