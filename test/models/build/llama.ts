import { activations, causalMask, type DecoderSize, head, type LayerPlace, range } from './causal.ts'
import type { ExportForm } from './form.ts'
import { attend, embedding, joinHeads, linear, rmsNorm, scopeOf, splitHeads } from './layers.ts'
import { repeatHeads, rotary, rotated } from './rotary.ts'

interface Turns {
  readonly cos: string
  readonly sin: string
}

function rotaryAttention(form: ExportForm, x: string, turns: Turns, { path, size, mask }: LayerPlace): string {
  const { hidden, heads } = size
  const kvHeads = size.kvHeads ?? heads
  const width = hidden / heads
  const scope = scopeOf(path)
  const part = (name: string, count: number) => {
    const made = linear(form, x, { path: `${path}.${name}`, inputs: hidden, outputs: count * width, bias: false })
    return splitHeads(form, made, scope, { heads: count, size: width })
  }
  const query = rotated(form, part('q_proj', heads), turns, scope)
  const key = rotated(form, part('k_proj', kvHeads), turns, scope)
  const all = (tensor: string) => repeatHeads(form, tensor, { scope, kvHeads, heads, width })
  const [keys, values] = [all(key), all(part('v_proj', kvHeads))]
  const product = form.node(scope, 'MatMul', [query, form.node(scope, 'Transpose', [keys], { perm: [0, 1, 3, 2] })])
  const scores = form.node(scope, 'Mul', [product, form.float(scope, 1 / Math.sqrt(width))])
  const joined = joinHeads(form, attend(form, scope, { scores, mask, values }), scope, hidden)
  return linear(form, joined, { path: `${path}.o_proj`, inputs: hidden, outputs: hidden, bias: false })
}

function rotaryLayer(form: ExportForm, x: string, turns: Turns, at: LayerPlace): string {
  const { path, size } = at
  const { hidden, intermediate } = size
  const scope = scopeOf(path)
  const normed = rmsNorm(form, x, `${path}.input_layernorm`, activations(hidden))
  const attended = rotaryAttention(form, normed, turns, { ...at, path: `${path}.self_attn` })
  const middle = form.node(scope, 'Add', [x, attended])
  const inner = rmsNorm(form, middle, `${path}.post_attention_layernorm`, activations(hidden))
  const mlp = `${path}.mlp`
  const wide = (name: string) =>
    linear(form, inner, { path: `${mlp}.${name}`, inputs: hidden, outputs: intermediate, bias: false })
  const gate = wide('gate_proj')
  const act = `${scopeOf(mlp)}/act_fn`
  const open = form.node(act, 'Mul', [gate, form.node(act, 'Sigmoid', [gate])])
  const product = form.node(scopeOf(mlp), 'Mul', [open, wide('up_proj')])
  const down = linear(form, product, { path: `${mlp}.down_proj`, inputs: intermediate, outputs: hidden, bias: false })
  return form.node(scope, 'Add', [middle, down])
}

/** Nodes and weights of transformers' LlamaForCausalLM. */
export function llama(form: ExportForm, size: DecoderSize): void {
  const { hidden, vocabulary, heads } = size
  const table = 'model.embed_tokens'
  let x = embedding(form, 'input_ids', table, [vocabulary, hidden])
  const mask = causalMask(form, '/model')
  const turns = rotary(form, range(form, '/model'), hidden / heads)
  for (let i = 0; i < size.layers; i++) x = rotaryLayer(form, x, turns, { path: `model.layers.${i}`, size, mask })
  head(form, rmsNorm(form, x, 'model.norm', activations(hidden)), size, `${table}.weight`)
}
