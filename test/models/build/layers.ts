import type { ExportForm } from './form.ts'

/** Modules that encoders and decoders share. A module's path in dots names its weights, in slashes its nodes. */

/** `bert.pooler.dense` as the scope of its nodes. Indices of lists stay with the list: `layer.0`. */
export const scopeOf = (path: string): string => `/${path.replace(/\.(?!\d)/g, '/')}`

interface Linear {
  readonly path: string
  readonly inputs: number
  readonly outputs: number
  readonly bias: boolean
}

/** y = x W + b over activations of any rank: MatMul, and Add with the bias first, as the exporter orders them. */
export function linear(form: ExportForm, x: string, { path, inputs, outputs, bias }: Linear): string {
  const scope = scopeOf(path)
  const product = form.node(scope, 'MatMul', [x, form.weight(`${path}.weight`, [inputs, outputs])])
  return bias ? form.node(scope, 'Add', [form.weight(`${path}.bias`, [outputs]), product]) : product
}

/** y = x W^T + b over a matrix of activations: Gemm with the weight [outputs, inputs] as torch keeps it. */
export function gemm(
  form: ExportForm,
  x: string,
  { path, inputs, outputs }: Omit<Linear, 'bias'>,
  output?: string,
): string {
  const operands = [x, form.weight(`${path}.weight`, [outputs, inputs]), form.weight(`${path}.bias`, [outputs])]
  return form.node(scopeOf(path), 'Gemm', operands, { alpha: { float: 1 }, beta: { float: 1 }, transB: 1 }, output)
}

export function embedding(form: ExportForm, ids: string, path: string, dims: readonly [number, number]): string {
  return form.node(scopeOf(path), 'Gather', [form.weight(`${path}.weight`, dims), ids])
}

export function layerNorm(form: ExportForm, x: string, path: string, { width = 0, epsilon = 0 }): string {
  const operands = [x, form.weight(`${path}.weight`, [width]), form.weight(`${path}.bias`, [width])]
  return form.node(scopeOf(path), 'LayerNormalization', operands, { axis: -1, epsilon: { float: epsilon } })
}

/** x / sqrt(mean(x^2) + epsilon) * weight, in the elementary operators that opset 17 has for it. */
export function rmsNorm(form: ExportForm, x: string, path: string, { width = 0, epsilon = 0 }): string {
  const scope = scopeOf(path)
  const square = form.node(scope, 'Pow', [x, form.float(scope, 2)])
  const mean = form.node(scope, 'ReduceMean', [square], { axes: [-1], keepdims: 1 })
  const root = form.node(scope, 'Sqrt', [form.node(scope, 'Add', [mean, form.float(scope, epsilon)])])
  const inverse = form.node(scope, 'Div', [form.float(scope, 1), root])
  const normed = form.node(scope, 'Mul', [x, inverse])
  return form.node(scope, 'Mul', [form.weight(`${path}.weight`, [width]), normed])
}

/** x / 2 (1 + erf(x / sqrt 2)). */
export function gelu(form: ExportForm, x: string, path: string): string {
  const scope = scopeOf(path)
  const erf = form.node(scope, 'Erf', [form.node(scope, 'Div', [x, form.float(scope, Math.SQRT2)])])
  const gate = form.node(scope, 'Add', [erf, form.float(scope, 1)])
  return form.node(scope, 'Mul', [form.node(scope, 'Mul', [x, gate]), form.float(scope, 0.5)])
}

/** Activations [B, T, heads * size] as [B, heads, T, size]; keys of an encoder are turned further, for q k^T. */
export function splitHeads(
  form: ExportForm,
  x: string,
  scope: string,
  { heads = 0, size = 0, turned = false },
): string {
  const batch = form.size(scope, x, 0)
  const split = form.reshape(scope, x, [batch, -1, heads, size])
  return form.node(scope, 'Transpose', [split], { perm: turned ? [0, 2, 3, 1] : [0, 2, 1, 3] })
}

/** Attention's result [B, heads, T, size] as [B, T, heads * size]. */
export function joinHeads(form: ExportForm, x: string, scope: string, width: number): string {
  const turned = form.node(scope, 'Transpose', [x], { perm: [0, 2, 1, 3] })
  const [batch, tokens] = [form.size(scope, turned, 0), form.size(scope, turned, 1)]
  return form.reshape(scope, turned, [batch, tokens, width])
}

/** softmax(scores + mask) v. */
export function attend(
  form: ExportForm,
  scope: string,
  parts: { scores: string; mask: string; values: string },
): string {
  const weights = form.node(scope, 'Softmax', [form.node(scope, 'Add', [parts.scores, parts.mask])], { axis: -1 })
  return form.node(scope, 'MatMul', [weights, parts.values])
}
