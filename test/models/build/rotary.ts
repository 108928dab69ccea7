import { type ExportForm, TO_FLOAT } from './form.ts'

/** Rotary positions and shared key/value heads, as transformers' Llama is exported. */

const BASE = 10_000

/** cos and sin [1, T, width] of position times frequency, each frequency in both halves. `positions` is [T]. */
export function rotary(form: ExportForm, positions: string, width: number): { cos: string; sin: string } {
  const scope = '/model/rotary_emb'
  const half = width / 2
  const frequencies = Float32Array.from({ length: half }, (_, i) => BASE ** (-i / half))
  const row = form.node(scope, 'Unsqueeze', [positions, form.ints(scope, [0])])
  const plane = form.node(scope, 'Cast', [form.node(scope, 'Unsqueeze', [row, form.ints(scope, [1])])], TO_FLOAT)
  const angles = form.node(scope, 'MatMul', [form.floats(scope, [1, half, 1], frequencies), plane])
  const turned = form.node(scope, 'Transpose', [angles], { perm: [0, 2, 1] })
  const both = form.node(scope, 'Concat', [turned, turned], { axis: -1 })
  const scaled = (op: 'Cos' | 'Sin') => form.node(scope, 'Mul', [form.node(scope, op, [both]), form.float(scope, 1)])
  return { cos: scaled('Cos'), sin: scaled('Sin') }
}

/** (-second half, first half); where the halves meet is computed from the shape, as tracing leaves it. */
function halvesTurned(form: ExportForm, x: string, scope: string): string {
  const middle = form.node(scope, 'Unsqueeze', [
    form.node(scope, 'Div', [form.size(scope, x, 3), form.ints(scope, 2)]),
    form.ints(scope, [0]),
  ])
  const slice = (from: string, to: string) =>
    form.node(scope, 'Slice', [x, from, to, form.ints(scope, [3]), form.ints(scope, [1])])
  const first = slice(form.ints(scope, [0]), middle)
  const second = slice(middle, form.ints(scope, [Number.MAX_SAFE_INTEGER]))
  return form.node(scope, 'Concat', [form.node(scope, 'Neg', [second]), first], { axis: -1 })
}

/** x cos + turned(x) sin for queries or keys [B, heads, T, width]. */
export function rotated(
  form: ExportForm,
  x: string,
  { cos, sin }: { cos: string; sin: string },
  scope: string,
): string {
  const byHead = (tensor: string) => form.node(scope, 'Unsqueeze', [tensor, form.ints(scope, [1])])
  const straight = form.node(scope, 'Mul', [x, byHead(cos)])
  const crossed = form.node(scope, 'Mul', [halvesTurned(form, x, scope), byHead(sin)])
  return form.node(scope, 'Add', [straight, crossed])
}

/** Keys or values [B, kvHeads, T, width] for every query head, each shared one repeated in a row. */
export function repeatHeads(
  form: ExportForm,
  x: string,
  { scope, kvHeads, heads, width }: { scope: string; kvHeads: number; heads: number; width: number },
): string {
  if (kvHeads === heads) return x
  const [batch, tokens] = [form.size(scope, x, 0), form.size(scope, x, 2)]
  const scalar = (value: string) => form.node(scope, 'Unsqueeze', [value, form.ints(scope, [0])])
  const list = (value: number) => form.ints(scope, [value])
  const target = [scalar(batch), list(kvHeads), list(heads / kvHeads), scalar(tokens), list(width)]
  const shape = form.node(scope, 'Concat', target, { axis: 0 })
  const spread = form.node(scope, 'Unsqueeze', [x, form.ints(scope, [2])])
  return form.reshape(scope, form.node(scope, 'Expand', [spread, shape]), [batch, heads, tokens, width])
}
