import { type ExportForm, TO_BOOL } from './form.ts'
import type { ModelSize } from './model.ts'

export interface DecoderSize extends ModelSize {
  /** `rotary`: Llama (RMS norms, gated feed-forward). `learned`: OPT (position table, layer norms, ReLU, biases). */
  readonly form: 'rotary' | 'learned'
  /** Heads of keys and values, each read by heads / kvHeads queries; rotary form only. Default: heads. */
  readonly kvHeads?: number
  /** Whether the output head is the embedding table; always so in the learned form. Default true. */
  readonly tied?: boolean
}

export const EPSILON = 1e-5
const LOWEST = -3.4028234663852886e38

/** Width and epsilon of every norm. */
export const activations = (width: number) => ({ width, epsilon: EPSILON })

/** A position number for each column: 0, 1, ... T - 1, [T]. */
export function range(form: ExportForm, scope: string): string {
  const tokens = form.size(scope, 'input_ids', 1)
  return form.node(scope, 'Range', [form.ints(scope, 0), tokens, form.ints(scope, 1)])
}

/** 0 where a position may be read, else the least number: earlier, and not padding; [B, 1, T, T]. */
export function causalMask(form: ExportForm, scope: string): string {
  const axes = (tensor: string, ...list: number[]) =>
    list.reduce((made, axis) => form.node(scope, 'Unsqueeze', [made, form.ints(scope, [axis])]), tensor)
  const positions = range(form, scope)
  const earlier = form.node(scope, 'LessOrEqual', [axes(positions, 0), axes(positions, 1)])
  const present = form.node(scope, 'Cast', ['attention_mask'], TO_BOOL)
  const readable = form.node(scope, 'And', [axes(earlier, 0, 1), axes(present, 1, 2)])
  return form.node(scope, 'Where', [readable, form.float(scope, 0), form.float(scope, LOWEST)])
}

/** Where a layer or a part of it stands. */
export interface LayerPlace {
  readonly path: string
  readonly size: DecoderSize
  readonly mask: string
}

/** Logits [B, T, vocabulary]. A tied head reads the embedding table turned. */
export function head(
  form: ExportForm,
  x: string,
  { hidden, vocabulary, tied = true }: DecoderSize,
  table: string,
): void {
  const weight = tied
    ? form.node('/lm_head', 'Transpose', [table], { perm: [1, 0] })
    : form.weight('lm_head.weight', [hidden, vocabulary])
  form.node('/lm_head', 'MatMul', [x, weight], {}, 'logits')
}
