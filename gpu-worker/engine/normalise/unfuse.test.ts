import type { Tensor } from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import type { Graph } from '../graph/graph.ts'
import { loadRuntime } from '../ort.ts'
import { operatorOf } from './node.ts'
import { type GraphSketch, largestGap, type NodeSketch, runGraph, sketchGraph } from './run-graph.ts'
import { unfuse } from './unfuse.ts'

const runtime = await loadRuntime()
const FLOAT = 1
const INT32 = 6
const INT64 = 7
const BOOL = 9

/** Numbers that repeat after a long while, in -1 .. 1. */
const wave = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, at) => Math.sin(seed + at * 1.7) * Math.cos(at * 0.37 + seed))
const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1)
const table = (dims: readonly number[], seed: number) => [dims, wave(product(dims), seed)] as const

interface Input {
  readonly type: number
  readonly dims: readonly number[]
  readonly values?: readonly number[]
}

const x = (...dims: number[]): Input => ({ type: FLOAT, dims })
const whole = (type: number, dims: readonly number[], values: readonly number[]): Input => ({ type, dims, values })

function tensorOf({ type, dims, values }: Input, seed: number): Tensor {
  if (type === FLOAT) return new runtime.Tensor('float32', Float32Array.from(values ?? wave(product(dims), seed)), dims)
  if (type === BOOL) return new runtime.Tensor('bool', Uint8Array.from(values!), dims)
  if (type === INT32) return new runtime.Tensor('int32', Int32Array.from(values!), dims)
  return new runtime.Tensor('int64', BigInt64Array.from(values!, BigInt), dims)
}

interface Sketch {
  readonly name: string
  readonly nodes: readonly NodeSketch[]
  readonly inputs: Readonly<Record<string, Input>>
  readonly floats?: NonNullable<GraphSketch['floats']>
  readonly ints?: NonNullable<GraphSketch['ints']>
  readonly outputs?: readonly string[]
  readonly opset?: number
}

function graphOf({ inputs, outputs, ...rest }: Sketch): Graph {
  return sketchGraph({ ...rest, inputs, outputs: outputs ?? ['y'] })
}

const MS = 'com.microsoft:'
const norm = { epsilon: { float: 1e-5 } }
const MASK = whole(INT32, [1, 5], [1, 1, 1, 1, 0])

const NORMS: Sketch[] = [
  {
    name: 'SkipLayerNormalization with a bias and its sum',
    nodes: [[`${MS}SkipLayerNormalization`, ['x', 'skip', 'g', 'b', 'bias'], ['y', '', '', 'sum'], norm]],
    inputs: { x: x(1, 5, 8), skip: x(1, 5, 8) },
    floats: { g: table([8], 1), b: table([8], 2), bias: table([8], 3) },
    outputs: ['y', 'sum'],
  },
  {
    name: 'SkipSimplifiedLayerNormalization',
    nodes: [[`${MS}SkipSimplifiedLayerNormalization`, ['x', 'skip', 'g'], ['y', '', '', 'sum'], norm]],
    inputs: { x: x(1, 5, 8), skip: x(1, 5, 8) },
    floats: { g: table([8], 1) },
    outputs: ['y', 'sum'],
  },
  {
    name: 'SimplifiedLayerNormalization',
    nodes: [['SimplifiedLayerNormalization', ['x', 'g'], ['y'], { axis: -1, ...norm }]],
    inputs: { x: x(2, 5, 8) },
    floats: { g: table([8], 1) },
  },
  {
    name: 'RMSNormalization',
    opset: 23,
    nodes: [['RMSNormalization', ['x', 'g'], ['y'], { axis: -1, ...norm }]],
    inputs: { x: x(2, 5, 8) },
    floats: { g: table([8], 1) },
  },
]

const ACTIVATIONS: Sketch[] = [
  {
    name: 'BiasGelu',
    nodes: [[`${MS}BiasGelu`, ['x', 'b'], ['y']]],
    inputs: { x: x(1, 5, 8) },
    floats: { b: table([8], 2) },
  },
  {
    name: 'FastGelu with a bias',
    nodes: [[`${MS}FastGelu`, ['x', 'b'], ['y']]],
    inputs: { x: x(1, 5, 8) },
    floats: { b: table([8], 2) },
  },
  { name: 'FastGelu', nodes: [[`${MS}FastGelu`, ['x'], ['y']]], inputs: { x: x(1, 5, 8) } },
  { name: 'Gelu', nodes: [[`${MS}Gelu`, ['x'], ['y']]], inputs: { x: x(1, 5, 8) } },
  { name: 'QuickGelu', nodes: [[`${MS}QuickGelu`, ['x'], ['y']]], inputs: { x: x(1, 5, 8) } },
  {
    name: 'QuickGelu as SiLU',
    nodes: [[`${MS}QuickGelu`, ['x'], ['y'], { alpha: { float: 1 } }]],
    inputs: { x: x(1, 5, 8) },
  },
]

const PRODUCTS: Sketch[] = [
  {
    name: 'Gemm with everything',
    nodes: [['Gemm', ['x', 'w', 'c'], ['y'], { transA: 1, transB: 1, alpha: { float: 0.5 }, beta: { float: 2 } }]],
    inputs: { x: x(8, 5) },
    floats: { w: table([6, 8], 1), c: table([6], 2) },
  },
  {
    name: 'Gemm without a bias',
    nodes: [['Gemm', ['x', 'w'], ['y']]],
    inputs: { x: x(5, 8) },
    floats: { w: table([8, 6], 1) },
  },
  {
    name: 'FusedGemm',
    nodes: [[`${MS}FusedGemm`, ['x', 'w', 'c'], ['y'], { transB: 1, activation: { text: 'Tanh' } }]],
    inputs: { x: x(5, 8) },
    floats: { w: table([6, 8], 1), c: table([6], 2) },
  },
  {
    name: 'FusedMatMul',
    nodes: [[`${MS}FusedMatMul`, ['x', 'k'], ['y'], { transB: 1, alpha: { float: 0.25 } }]],
    inputs: { x: x(1, 2, 5, 4), k: x(1, 2, 5, 4) },
  },
]

const rotaryTables = { cos: table([9, 2], 5), sin: table([9, 2], 6) }
const POSITIONS = whole(INT64, [1, 5], [0, 1, 2, 3, 4])

const ROTATIONS: Sketch[] = [
  {
    name: 'RotaryEmbedding on three axes',
    nodes: [[`${MS}RotaryEmbedding`, ['x', 'p', 'cos', 'sin'], ['y'], { num_heads: 2 }]],
    inputs: { x: x(1, 5, 8), p: POSITIONS },
    floats: rotaryTables,
  },
  {
    name: 'RotaryEmbedding of neighbours',
    nodes: [[`${MS}RotaryEmbedding`, ['x', 'p', 'cos', 'sin'], ['y'], { num_heads: 2, interleaved: 1 }]],
    inputs: { x: x(1, 5, 8), p: POSITIONS },
    floats: rotaryTables,
  },
  {
    name: 'RotaryEmbedding of a part of each head, heads first',
    nodes: [
      ['Transpose', ['x'], ['t'], { perm: [0, 2, 1, 3] }],
      [`${MS}RotaryEmbedding`, ['t', 'p', 'cos', 'sin'], ['y'], { num_heads: 2, rotary_embedding_dim: 4 }],
    ],
    inputs: { x: x(1, 5, 2, 6), p: POSITIONS },
    floats: rotaryTables,
  },
  {
    name: 'RotaryEmbedding of ONNX with values for each token',
    opset: 23,
    nodes: [
      ['Gather', ['cos', 'p'], ['c']],
      ['Gather', ['sin', 'p'], ['s']],
      ['Transpose', ['x'], ['t'], { perm: [0, 2, 1, 3] }],
      ['RotaryEmbedding', ['t', 'c', 's'], ['y']],
    ],
    inputs: { x: x(1, 5, 2, 4), p: POSITIONS },
    floats: rotaryTables,
  },
]

/** GroupQueryAttention turns heads of 16 numbers or a multiple of them. */
const wideTables = { cos: table([9, 8], 5), sin: table([9, 8], 6) }
const packed = { w: table([8, 24], 1), b: table([24], 2) }

const ATTENTIONS: Sketch[] = [
  {
    name: 'Attention with a mask',
    nodes: [[`${MS}Attention`, ['x', 'w', 'b', 'm'], ['y'], { num_heads: 2 }]],
    inputs: { x: x(1, 5, 8), m: MASK },
    floats: packed,
  },
  {
    name: 'Attention with lengths',
    nodes: [
      ['ReduceSum', ['m', 'axis'], ['lengths'], { keepdims: 0 }],
      [`${MS}Attention`, ['x', 'w', 'b', 'lengths'], ['y'], { num_heads: 2 }],
    ],
    inputs: { x: x(1, 5, 8), m: MASK },
    floats: packed,
    ints: { axis: [1] },
  },
  {
    name: 'Attention that looks back, with a bias of scores',
    nodes: [[`${MS}Attention`, ['x', 'w', 'b', '', '', 'more'], ['y'], { num_heads: 2, unidirectional: 1 }]],
    inputs: { x: x(1, 5, 8) },
    floats: { ...packed, more: table([1, 2, 5, 5], 4) },
  },
  {
    name: 'MultiHeadAttention',
    nodes: [[`${MS}MultiHeadAttention`, ['q', 'k', 'v', 'b', 'm'], ['y'], { num_heads: 2 }]],
    inputs: { q: x(1, 5, 8), k: x(1, 5, 8), v: x(1, 5, 8), m: MASK },
    floats: { b: table([24], 2) },
  },
  {
    name: 'MultiHeadAttention with a scale, looking back',
    nodes: [
      [`${MS}MultiHeadAttention`, ['q', 'k', 'v'], ['y'], { num_heads: 4, scale: { float: 0.3 }, unidirectional: 1 }],
    ],
    inputs: { q: x(1, 5, 8), k: x(1, 5, 8), v: x(1, 5, 8) },
  },
  {
    name: 'GroupQueryAttention',
    nodes: [
      [
        `${MS}GroupQueryAttention`,
        ['q', 'k', 'v', '', '', 'lengths', 'total', 'cos', 'sin'],
        ['y', 'pk', 'pv'],
        { num_heads: 4, kv_num_heads: 2, do_rotary: 1, local_window_size: 3 },
      ],
    ],
    inputs: {
      ...{ q: x(1, 5, 64), k: x(1, 5, 32), v: x(1, 5, 32) },
      lengths: whole(INT32, [1], [4]),
      total: whole(INT32, [1], [5]),
    },
    floats: wideTables,
  },
  {
    name: 'GroupQueryAttention, packed, with neighbours turned',
    nodes: [
      [
        `${MS}GroupQueryAttention`,
        ['q', '', '', '', '', 'lengths', 'total', 'cos', 'sin'],
        ['y', 'pk', 'pv'],
        { num_heads: 4, kv_num_heads: 2, do_rotary: 1, rotary_interleaved: 1 },
      ],
    ],
    inputs: { q: x(1, 5, 128), lengths: whole(INT32, [1], [4]), total: whole(INT32, [1], [5]) },
    floats: wideTables,
  },
  {
    name: 'Attention of ONNX on three axes, shared heads',
    opset: 23,
    nodes: [['Attention', ['q', 'k', 'v', 'm'], ['y'], { q_num_heads: 4, kv_num_heads: 2, scale: { float: 0.4 } }]],
    inputs: {
      ...{ q: x(1, 5, 16), k: x(1, 5, 8), v: x(1, 5, 8) },
      m: whole(
        BOOL,
        [5, 5],
        [...Array(25).keys()].map((at) => (at % 3 === 1 ? 0 : 1)),
      ),
    },
  },
  {
    name: 'Attention of ONNX on four axes, looking back',
    opset: 23,
    nodes: [['Attention', ['q', 'k', 'v'], ['y'], { is_causal: 1 }]],
    inputs: { q: x(1, 4, 5, 4), k: x(1, 4, 5, 4), v: x(1, 4, 5, 4) },
  },
]

const EMBEDDINGS: Sketch[] = [
  {
    name: 'EmbedLayerNormalization with lengths',
    nodes: [
      [`${MS}EmbedLayerNormalization`, ['i', 't', 'words', 'places', 'kinds', 'g', 'b', 'm'], ['y', 'lengths'], norm],
    ],
    inputs: { i: whole(INT32, [1, 5], [3, 1, 4, 1, 5]), t: whole(INT32, [1, 5], [0, 0, 1, 1, 0]), m: MASK },
    floats: {
      ...{ words: table([7, 8], 1), places: table([9, 8], 2), kinds: table([2, 8], 3) },
      ...{ g: table([8], 4), b: table([8], 5) },
    },
    outputs: ['y', 'lengths'],
  },
]

const ALL = [...NORMS, ...ACTIVATIONS, ...PRODUCTS, ...ROTATIONS, ...ATTENTIONS, ...EMBEDDINGS]
/** What a graph may hold afterwards: operators of ONNX, none of those that only the newest versions have. */
const isPlain = (operator: string): boolean =>
  !operator.includes(':') && !['Attention', 'Gemm', 'RMSNormalization', 'RotaryEmbedding'].includes(operator)

describe('a fused operator', () => {
  it.each(ALL)('is what it stands for: $name', async (sketch) => {
    const feeds = Object.fromEntries(
      Object.entries(sketch.inputs).map(([name, input], at) => [name, tensorOf(input, at)] as const),
    )
    const expected = await runGraph(graphOf(sketch), feeds)
    const plain = graphOf(sketch)
    unfuse(plain)
    plain.tidy()
    expect(plain.nodes.map(operatorOf).filter((operator) => !isPlain(operator))).toEqual([])
    const made = await runGraph(plain, feeds)
    for (const name of sketch.outputs ?? ['y']) {
      expect(made[name]!.dims).toEqual(expected[name]!.dims)
      const [a, b] = [made[name]!, expected[name]!].map(({ data }) => Array.from(data as Float32Array, Number))
      expect(largestGap(a!, b!)).toBeLessThan(3e-6)
    }
  })

  it('stays where its form is not known', () => {
    const graph = graphOf({
      name: 'packed queries, keys and values',
      nodes: [[`${MS}MultiHeadAttention`, ['x'], ['y'], { num_heads: 2 }]],
      inputs: { x: x(1, 5, 2, 3, 4) },
    })
    unfuse(graph)
    expect(graph.nodes.map(operatorOf)).toEqual([`${MS}MultiHeadAttention`])
  })
})
