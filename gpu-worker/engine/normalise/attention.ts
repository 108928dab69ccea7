import { type Graph, intAttribute, intsAttribute } from '../graph/graph.ts'
import { TensorProto_DataType as DataType, type NodeProto } from '../onnx/onnx_pb.ts'
import { floatAttribute, inputAt, type Rule, type Writer } from './node.ts'
import { rankOf } from './ranks.ts'
import { type Rotation, rotate, tokenRange, turnedWidth } from './rotary.ts'

/**
 * Fused attention, as the products, masks and the softmax it stands for. The runtime's own operators are described in
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
 */

type Producers = ReadonlyMap<string, NodeProto>

/** What the runtime adds where a key comes after its query. */
const LOWEST = -3.4028234663852886e38
const MASK_FILTER = -10000

const TOKENS_FIRST = [0, 2, 1, 3]
const KEYS_TURNED = [0, 1, 3, 2]

/** Queries, keys and values [records, heads, tokens, size], and what is done with them. */
interface Heads {
  readonly query: string
  readonly key: string
  readonly value: string
  /** Query heads for each head of keys and values; undefined where only the shapes tell. */
  readonly repeats: number | undefined
  readonly heads: number
  /** Undefined: one over the root of the head size. */
  readonly scale: number | undefined
  /** Added to the scores, each broadcast to [records, heads, tokens, tokens]. */
  readonly added: readonly string[]
  readonly softcap: number
  readonly causal: boolean
  /** Keys that a query reaches back to, itself among them; 0 for all. */
  readonly window: number
}

const scaleOf = (node: NodeProto): number | undefined => {
  const scale = floatAttribute(node, 'scale', 0)
  return scale === 0 ? undefined : scale
}

/** [.., T, heads * size] as [.., heads, T, size]. */
function splitHeads(write: Writer, x: string, heads: number): string {
  const split = write.node('Reshape', [x, write.ints([0, 0, heads, -1])])
  return write.node('Transpose', [split], { attributes: { perm: TOKENS_FIRST } })
}

function joinHeads(write: Writer, context: string, output: string): void {
  const rows = write.node('Transpose', [context], { attributes: { perm: TOKENS_FIRST } })
  write.node('Reshape', [rows, write.ints([0, 0, -1])], { output })
}

const sizeOf = (write: Writer, x: string, axis: number): string =>
  write.node('Shape', [x], { attributes: { start: axis, end: axis + 1 } })

/** As below, by arithmetic on shapes that is folded. */
function repeatedByShape(write: Writer, x: string, query: string): string {
  const join = { attributes: { axis: 0 } }
  const heads = sizeOf(write, query, 1)
  const one = write.ints([1])
  const repeats = write.node('Div', [heads, sizeOf(write, x, 1)])
  const apart = write.node('Unsqueeze', [x, write.ints([2])])
  const copies = write.node('Expand', [apart, write.node('Concat', [one, one, repeats, one, one], join)])
  const shape = write.node('Concat', [write.ints([0]), heads, write.ints([-1]), sizeOf(write, x, 3)], join)
  return write.node('Reshape', [copies, shape])
}

/** Each head of keys or values for the `repeats` query heads that share it. */
function repeated(write: Writer, x: string, { repeats, heads, query }: Heads): string {
  if (repeats === 1) return x
  if (repeats === undefined) return repeatedByShape(write, x, query)
  const apart = write.node('Unsqueeze', [x, write.ints([2])])
  const copies = write.node('Concat', Array(repeats).fill(apart), { attributes: { axis: 2 } })
  const shape = write.node('Concat', [write.ints([0, heads, -1]), sizeOf(write, x, 3)], { attributes: { axis: 0 } })
  return write.node('Reshape', [copies, shape])
}

/** 1 / sqrt(size) from the shape of the queries: arithmetic that is folded. */
function rootOfSize(write: Writer, query: string): string {
  const root = write.node('Sqrt', [
    write.node('Cast', [sizeOf(write, query, 3)], { attributes: { to: DataType.FLOAT } }),
  ])
  return write.node('Reciprocal', [root])
}

/** 0 where a query may look, the lowest number where not: float [1, 1, tokens, tokens]. */
function reachMask(write: Writer, query: string, { causal, window }: Heads): string {
  const range = tokenRange(write, query, 2)
  const rows = write.node('Unsqueeze', [range, write.ints([1])])
  const columns = write.node('Unsqueeze', [range, write.ints([0])])
  const conditions = [
    ...(causal ? [write.node('GreaterOrEqual', [rows, columns])] : []),
    ...(window > 0 ? [write.node('Less', [write.node('Sub', [rows, columns]), write.ints([window], [])])] : []),
  ]
  const reaches = conditions.reduce((a, b) => write.node('And', [a, b]))
  const mask = write.node('Where', [reaches, write.scalar(0), write.scalar(LOWEST)])
  return write.node('Unsqueeze', [mask, write.ints([0, 1])])
}

/** softmax(scale q k^T + masks) v, [records, heads, tokens, size]. */
function attend(write: Writer, given: Heads, output?: string): string {
  const key = repeated(write, given.key, given)
  const turned = write.node('Transpose', [key], { attributes: { perm: KEYS_TURNED } })
  const scale = given.scale === undefined ? rootOfSize(write, given.query) : write.scalar(given.scale)
  let scores = write.node('Mul', [write.node('MatMul', [given.query, turned]), scale])
  if (given.softcap > 0) {
    const cap = write.scalar(given.softcap)
    scores = write.node('Mul', [write.node('Tanh', [write.node('Div', [scores, cap])]), cap])
  }
  const masks = given.causal || given.window > 0 ? [reachMask(write, given.query, given)] : []
  for (const addend of [...given.added, ...masks]) scores = write.node('Add', [scores, addend])
  const weights = write.node('Softmax', [scores], { attributes: { axis: -1 } })
  const named = output === undefined ? {} : { output }
  return write.node('MatMul', [weights, repeated(write, given.value, given)], named)
}

/**
 * A mask of ones and zeros, or the lengths of the records, as an addend: 0 where there is a token, `filter` where not.
 * @returns undefined for a mask of a form that is not known.
 */
function maskAddend(
  write: Writer,
  mask: { name: string; rank: number | undefined },
  { filter, keys }: { filter: number; keys: string },
): string | undefined {
  const { name, rank } = mask
  const axes: Record<number, number[]> = { 2: [1, 2], 3: [1], 4: [] }
  let present = name
  if (rank === 1) {
    const range = write.node('Cast', [tokenRange(write, keys, 1)], { attributes: { to: DataType.INT32 } })
    const columns = write.node('Unsqueeze', [range, write.ints([0])])
    present = write.node('Less', [columns, write.node('Unsqueeze', [name, write.ints([1])])])
  }
  const added = axes[rank === 1 ? 2 : (rank ?? 0)]
  if (!added) return undefined
  const ones = write.node('Cast', [present], { attributes: { to: DataType.FLOAT } })
  const absent = write.node('Mul', [write.node('Sub', [write.scalar(1), ones]), write.scalar(filter)])
  return added.length === 0 ? absent : write.node('Unsqueeze', [absent, write.ints(added)])
}

const PLAIN = { repeats: 1, softcap: 0, causal: false, window: 0 } as const

/** The runtime's Attention: one packed product for queries, keys and values. */
const packedAttention =
  (producers: Producers): Rule =>
  (node, write, graph) => {
    const [x, weight] = node.input as [string, string]
    const heads = intAttribute(node, 'num_heads', 0)
    const packed = graph.constants.get(weight)?.dims.at(-1)
    if (packed === undefined || inputAt(node, 4) || intAttribute(node, 'do_rotary', 0) === 1) return false
    const sizes = intsAttribute(node, 'qkv_hidden_sizes') ?? Array(3).fill(Number(packed) / 3)
    const product = write.node('MatMul', [x, weight])
    const bias = inputAt(node, 2)
    const sum = bias === undefined ? product : write.node('Add', [product, bias])
    const parts = write.nodes('Split', [sum, write.ints(sizes)], 3, { attributes: { axis: 2 } })
    const [query, key, value] = parts.map((part) => splitHeads(write, part, heads)) as [string, string, string]
    const masks = maskAddends(graph, producers, write, node, { at: 3, keys: x })
    const bonus = inputAt(node, 5)
    if (!masks) return false
    const context = attend(write, {
      ...PLAIN,
      ...{ query, key, value, heads },
      scale: scaleOf(node) ?? 1 / Math.sqrt(sizes[0]! / heads),
      added: bonus === undefined ? masks : [...masks, bonus],
      causal: intAttribute(node, 'unidirectional', 0) === 1,
    })
    joinHeads(write, context, node.output[0]!)
    return true
  }

/** The addend for the mask at one place of a node: none, one, or undefined for a form that is not known. */
function maskAddends(
  graph: Graph,
  producers: Producers,
  write: Writer,
  node: NodeProto,
  { at, keys }: { at: number; keys: string },
): string[] | undefined {
  const name = inputAt(node, at)
  if (name === undefined) return []
  const filter = floatAttribute(node, 'mask_filter_value', MASK_FILTER)
  const addend = maskAddend(write, { name, rank: rankOf(graph, producers, name) }, { filter, keys })
  return addend === undefined ? undefined : [addend]
}

/** Queries, keys and values of three axes each, perhaps with one bias for all. */
const multiHeadAttention =
  (producers: Producers): Rule =>
  (node, write, graph) => {
    const [x, key, value] = [0, 1, 2].map((at) => inputAt(node, at))
    const heads = intAttribute(node, 'num_heads', 0)
    if (!x || !key || !value || inputAt(node, 6) || inputAt(node, 7)) return false
    const masks = maskAddends(graph, producers, write, node, { at: 4, keys: key })
    if (!masks) return false
    const bias = inputAt(node, 3)
    const width = bias === undefined ? 0 : Number(graph.constants.get(bias)?.dims[0] ?? 0n) / 3
    if (bias !== undefined && width === 0) return false
    const biases = bias === undefined ? [] : write.nodes('Split', [bias, write.ints([width, width, width])], 3, {})
    const split = [x, key, value].map((part, at) => {
      if (rankOf(graph, producers, part) === 4) return part
      return splitHeads(write, biases[at] === undefined ? part : write.node('Add', [part, biases[at]]), heads)
    }) as [string, string, string]
    const bonus = inputAt(node, 5)
    const context = attend(write, {
      ...PLAIN,
      ...{ query: split[0], key: split[1], value: split[2], heads },
      scale: scaleOf(node),
      added: bonus === undefined ? masks : [...masks, bonus],
      causal: intAttribute(node, 'unidirectional', 0) === 1,
    })
    joinHeads(write, context, node.output[0]!)
    return true
  }

/** Parts of packed heads [.., T, heads, size] along the axis of heads. */
function headsFrom(write: Writer, x: string, [start, end]: readonly [number, number]): string {
  return write.node('Slice', [x, write.ints([start]), write.ints([end]), write.ints([2])])
}

/** Queries, keys and values of GroupQueryAttention as [.., T, heads, size], packed in one input or not. */
function groupedHeads(write: Writer, node: NodeProto, { heads, kv }: { heads: number; kv: number }): string[] {
  const split = (x: string, count: number): string => write.node('Reshape', [x, write.ints([0, 0, count, -1])])
  const [x, key, value] = [0, 1, 2].map((at) => inputAt(node, at))
  if (key !== undefined && value !== undefined) return [split(x!, heads), split(key, kv), split(value, kv)]
  const packed = split(x!, heads + 2 * kv)
  return [[0, heads] as const, [heads, heads + kv] as const, [heads + kv, heads + 2 * kv] as const].map((range) =>
    headsFrom(write, packed, range),
  )
}

/** Rotation of GroupQueryAttention; undefined where it has none, false where its form is not known. */
function groupedRotation(
  graph: Graph,
  producers: Producers,
  write: Writer,
  node: NodeProto,
): Rotation | undefined | false {
  if (intAttribute(node, 'do_rotary', 0) === 0) return undefined
  const [cos, sin, positions] = [7, 8, 9].map((at) => inputAt(node, at))
  if (!cos || !sin) return false
  return {
    ...{ cos, sin, ...turnedWidth(graph, write, cos) },
    positions:
      positions === undefined
        ? { name: write.ints([0]), rank: 1 }
        : { name: positions, rank: rankOf(graph, producers, positions) ?? 2 },
    interleaved: intAttribute(node, 'rotary_interleaved', 0) === 1,
    // Whether the head is wider than the pairs is not known; a slice beyond the end is empty.
    partial: true,
    tokenAxis: 1,
  }
}

/**
 * GroupQueryAttention: causal, without its cache. The lengths it takes are left aside: records are padded on the right,
 * and a causal query never looks there.
 */
const groupQueryAttention =
  (producers: Producers): Rule =>
  (node, write, graph) => {
    const heads = intAttribute(node, 'num_heads', 0)
    const kv = intAttribute(node, 'kv_num_heads', heads)
    const odd = intAttribute(node, 'smooth_softmax', 0) === 1 || inputAt(node, 11) || inputAt(node, 3)
    const turn = odd ? false : groupedRotation(graph, producers, write, node)
    if (turn === false || heads < 1) return false
    const parts = groupedHeads(write, node, { heads, kv })
    const [query, key, value] = parts.map((part, at) => {
      const rotated = turn && at < 2 ? rotate(write, part, turn) : part
      return write.node('Transpose', [rotated], { attributes: { perm: TOKENS_FIRST } })
    }) as [string, string, string]
    const bonus = inputAt(node, 10)
    const context = attend(write, {
      ...{ query, key, value, heads },
      repeats: heads / kv,
      scale: scaleOf(node),
      added: bonus === undefined ? [] : [bonus],
      softcap: floatAttribute(node, 'softcap', 0),
      causal: true,
      window: Math.max(0, intAttribute(node, 'local_window_size', -1)),
    })
    joinHeads(write, context, node.output[0]!)
    return true
  }

/** ONNX's own mask: booleans, or numbers that are added. */
function onnxMask(write: Writer, name: string, type: number | undefined): string {
  if (type !== DataType.BOOL) return name
  return write.node('Where', [name, write.scalar(0), write.scalar(LOWEST)])
}

/** ONNX's own Attention, of opset 23. */
const onnxAttention =
  (producers: Producers, types: ReadonlyMap<string, number>): Rule =>
  (node, write, graph) => {
    const [x, keys, values] = node.input as [string, string, string]
    const isFlat = rankOf(graph, producers, x) === 3 || intAttribute(node, 'q_num_heads', 0) > 0
    const q = intAttribute(node, 'q_num_heads', 0)
    const kv = intAttribute(node, 'kv_num_heads', q)
    if (inputAt(node, 4) || inputAt(node, 6) || node.output.slice(1).some((output) => output !== '')) return false
    const [query, key, value] = isFlat
      ? [splitHeads(write, x, q), splitHeads(write, keys, kv), splitHeads(write, values, kv)]
      : [x, keys, values]
    const mask = inputAt(node, 3)
    const given: Heads = {
      ...{ query, key, value, heads: q },
      repeats: isFlat ? q / kv : undefined,
      scale: scaleOf(node),
      added: mask === undefined ? [] : [onnxMask(write, mask, types.get(mask))],
      softcap: floatAttribute(node, 'softcap', 0),
      causal: intAttribute(node, 'is_causal', 0) === 1,
      window: 0,
    }
    if (isFlat) joinHeads(write, attend(write, given), node.output[0]!)
    else attend(write, given, node.output[0]!)
    return true
  }

/** Rules for a graph as it was before any rewriting. */
export function attentionRules(producers: Producers, types: ReadonlyMap<string, number>): Record<string, Rule> {
  return {
    Attention: onnxAttention(producers, types),
    'com.microsoft:Attention': packedAttention(producers),
    'com.microsoft:GroupQueryAttention': groupQueryAttention(producers),
    'com.microsoft:MultiHeadAttention': multiHeadAttention(producers),
  }
}
