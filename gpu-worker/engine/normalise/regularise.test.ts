import type { Tensor } from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import type { Graph } from '../graph/graph.ts'
import { loadRuntime } from '../ort.ts'
import { fedTensors } from './coupling.ts'
import { recordAxes, regularise } from './index.ts'
import { operatorOf } from './node.ts'
import { foldFor, type GraphSketch, largestGap, type NodeSketch, runGraph, sketchGraph } from './run-graph.ts'

const runtime = await loadRuntime()
const FLOAT = 1
const INT64 = 7
const TOKENS = 6

const wave = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, at) => Math.sin(seed + 1.3 * at))
const table = (dims: readonly number[], seed: number) =>
  [
    dims,
    wave(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ),
  ] as const

const FEEDS: Record<string, Tensor> = {
  x: new runtime.Tensor('float32', Float32Array.from(wave(TOKENS * 8, 1)), [1, TOKENS, 8]),
  ids: new runtime.Tensor('int64', BigInt64Array.of(1n, 2n, 3n, 0n, 0n, 0n), [1, TOKENS]),
}

/** A graph of activations x [1, T, 8] and ids [1, T]. */
function graphOf(nodes: readonly NodeSketch[], more: Partial<GraphSketch> = {}): Graph {
  return sketchGraph({
    inputs: { x: { type: FLOAT, dims: ['n', 't', 8] }, ids: { type: INT64, dims: ['n', 't'] } },
    nodes,
    floats: { w: table([8, 8], 2), b: table([8], 3), ...more.floats },
    ints: { flat: [-1, 8], back: [1, -1, 8], heads: [1, -1, 2, 4], merged: [-1, TOKENS, 4], ...more.ints },
    scalars: more.scalars ?? {},
    outputs: more.outputs ?? ['y'],
  })
}

const operatorsOf = (graph: Graph): string[] => graph.nodes.map(operatorOf)

/** Folds and regularises; expects what it computes to stay, and a leading axis of one on everything but the output. */
async function regular(nodes: readonly NodeSketch[], more: Partial<GraphSketch> = {}): Promise<Graph> {
  const { y: before } = await runGraph(graphOf(nodes, more), FEEDS)
  const graph = graphOf(nodes, more)
  await foldFor(graph, FEEDS)
  regularise(graph)
  const { y: after } = await runGraph(graph, FEEDS)
  expect(after!.dims).toEqual(before!.dims)
  const [a, b] = [after!, before!].map(({ data }) => Array.from(data as Float32Array, Number))
  expect(largestGap(a!, b!)).toBeLessThan(1e-6)
  const flat = [...fedTensors(graph)].filter((tensor) => tensor !== 'y' && graph.dimsOf(tensor)[0] !== 1)
  expect(flat).toEqual([])
  return graph
}

describe('flattened activations', () => {
  it('are whole again around a product', async () => {
    const graph = await regular([
      ['Reshape', ['x', 'flat'], ['rows']],
      ['MatMul', ['rows', 'w'], ['m']],
      ['Add', ['m', 'b'], ['a']],
      ['Reshape', ['a', 'back'], ['whole']],
      ['Relu', ['whole'], ['y']],
    ])
    expect(operatorsOf(graph)).toEqual(['MatMul', 'Add', 'Relu'])
  })

  it('are whole again where heads were merged with records', async () => {
    const graph = await regular(
      [
        ['Reshape', ['x', 'heads'], ['s']],
        ['Transpose', ['s'], ['t'], { perm: [0, 2, 1, 3] }],
        ['Reshape', ['t', 'merged'], ['q']],
        ['Transpose', ['q'], ['k'], { perm: [0, 2, 1] }],
        ['MatMul', ['q', 'k'], ['scores']],
        ['Add', ['scores', 'mask'], ['masked']],
        ['Softmax', ['masked'], ['p'], { axis: -1 }],
        ['MatMul', ['p', 'q'], ['c']],
        ['Split', ['c', 'half'], ['c0', 'c1'], { axis: 2 }],
        ['Concat', ['c1', 'c0'], ['cc'], { axis: 2 }],
        ['ReduceMean', ['cc', 'last'], ['mean']],
        ['Slice', ['mean', 'zero', 'two', 'one'], ['cut']],
        ['Reshape', ['cut', 'end'], ['y']],
      ],
      {
        floats: { mask: table([2, TOKENS, TOKENS], 4) },
        ints: { half: [2, 2], last: [2], zero: [0], one: [1], two: [2], end: [1, 2, 2] },
      },
    )
    expect(recordAxes(graph).unknown).toBeUndefined()
  })

  it('meet whole ones with axes of one between', async () => {
    const graph = await regular(
      [
        ['Cast', ['ids'], ['f'], { to: FLOAT }],
        ['Unsqueeze', ['f', 'one'], ['mask']],
        ['Reshape', ['x', 'heads'], ['s']],
        ['Transpose', ['s'], ['t'], { perm: [0, 2, 1, 3] }],
        ['Reshape', ['t', 'merged'], ['q']],
        ['Transpose', ['q'], ['k'], { perm: [0, 2, 1] }],
        ['MatMul', ['q', 'k'], ['scores']],
        ['Add', ['scores', 'mask'], ['masked']],
        ['Reshape', ['masked', 'apart'], ['y']],
      ],
      { ints: { one: [1], apart: [1, 2, TOKENS, TOKENS] } },
    )
    const sum = graph.nodes.find(({ opType }) => opType === 'Add')!
    expect(sum.input.map((input) => graph.dimsOf(input).length)).toEqual([4, 4])
  })

  it('are given back to what reads them flat', async () => {
    const nodes: NodeSketch[] = [
      ['Reshape', ['x', 'flat'], ['rows']],
      ['MatMul', ['rows', 'w'], ['m']],
      ['CumSum', ['m', 'axis'], ['c']],
      ['Reshape', ['c', 'back'], ['y']],
    ]
    const graph = graphOf(nodes, { ints: { axis: [1] } })
    await foldFor(graph, FEEDS)
    regularise(graph)
    expect(operatorsOf(graph)).toEqual(['MatMul', 'Reshape', 'CumSum', 'Reshape'])
    expect(graph.dimsOf('c')).toEqual([TOKENS, 8])
  })
})

describe('a row for a classifier', () => {
  it('is an activation of one token', async () => {
    const graph = await regular(
      [
        ['Gather', ['x', 'first'], ['row'], { axis: 1 }],
        ['MatMul', ['row', 'w'], ['m']],
        ['Add', ['m', 'b'], ['a']],
        ['Tanh', ['a'], ['y']],
      ],
      { scalars: { first: 0 } },
    )
    const product = graph.nodes.find(({ opType }) => opType === 'MatMul')!
    expect(graph.dimsOf(product.input[0]!)).toEqual([1, 1, 8])
  })

  it('of the last token is picked by a row of the unit matrix', async () => {
    const nodes: NodeSketch[] = [
      ['ArgMax', ['ids'], ['last'], { axis: 1, keepdims: 1 }],
      ['Concat', ['record', 'last'], ['place'], { axis: 1 }],
      ['GatherND', ['x', 'place'], ['y']],
    ]
    const make = (): Graph => {
      const graph = graphOf(nodes)
      graph.addInts('record', [0], [1, 1])
      return graph
    }
    const { y: before } = await runGraph(make(), FEEDS)
    const graph = make()
    await foldFor(graph, FEEDS)
    regularise(graph)
    const { y: after } = await runGraph(graph, FEEDS)
    expect(after!.data).toEqual(before!.data)
    expect(operatorsOf(graph)).not.toContain('GatherND')
    expect(recordAxes(graph).unknown).toBeUndefined()
  })
})

describe('steps that come to nothing', () => {
  it('go once dimensions are known', async () => {
    const graph = await regular(
      [
        ['Reshape', ['x', 'same'], ['a']],
        ['Expand', ['a', 'sizes'], ['wide']],
        ['Slice', ['wide', 'zero', 'far', 'one'], ['c']],
        ['Transpose', ['c'], ['d'], { perm: [0, 2, 1] }],
        ['Transpose', ['d'], ['e'], { perm: [0, 2, 1] }],
        ['Gather', ['e', 'all'], ['f'], { axis: 1 }],
        ['Neg', ['f'], ['y']],
      ],
      { ints: { same: [0, -1, 8], sizes: [1, TOKENS, 8], zero: [0], one: [1], far: [99], all: [0, 1, 2, 3, 4, 5] } },
    )
    expect(operatorsOf(graph)).toEqual(['Neg'])
  })

  it('stay where they turn something', async () => {
    const graph = await regular(
      [
        ['Slice', ['x', 'end', 'start', 'one', 'back1'], ['a']],
        ['Gather', ['a', 'turned'], ['y'], { axis: 1 }],
      ],
      { ints: { end: [-1], start: [-99], one: [1], back1: [-1], turned: [0, 1, 2, 3, 5, 4] } },
    )
    expect(operatorsOf(graph)).toEqual(['Slice', 'Gather'])
  })

  it('include a scatter over everything', async () => {
    const places = Array.from({ length: TOKENS * 8 }, (_, at) => [0, Math.floor(at / 8), at % 8]).flat()
    const nodes: NodeSketch[] = [
      ['Neg', ['x'], ['n']],
      ['ScatterND', ['x', 'places', 'n'], ['y']],
    ]
    const graph = graphOf(nodes)
    graph.addInts('places', places, [1, TOKENS, 8, 3])
    await foldFor(graph, FEEDS)
    regularise(graph)
    expect(operatorsOf(graph)).toEqual(['Neg', 'Reshape'])
  })
})

describe('the axis of the records', () => {
  const coupled = async (nodes: readonly NodeSketch[], name: string): Promise<void> => {
    const graph = graphOf(nodes, { ints: { first: [0], tokens: [1] } })
    await foldFor(graph, FEEDS)
    expect(() => regularise(graph)).toThrow(
      expect.objectContaining({ code: 'coupled_batch', message: expect.stringContaining(`(${name})`) }),
    )
  }

  it('may not be worked along', async () => {
    await coupled([['ReduceMean', ['x', 'first'], ['y']]], 'ReduceMean')
    await coupled([['ReduceMax', ['x'], ['y']]], 'ReduceMax')
    await coupled([['Softmax', ['x'], ['y'], { axis: 0 }]], 'Softmax')
    await coupled([['CumSum', ['x', 'first'], ['y']]], 'CumSum')
    await coupled([['ArgMax', ['x'], ['y'], { axis: 0 }]], 'ArgMax')
    await coupled([['LayerNormalization', ['x', 'x'], ['y'], { axis: 0 }]], 'LayerNormalization')
    await coupled(
      [
        ['Transpose', ['x'], ['t'], { perm: [1, 2, 0] }],
        ['Transpose', ['x'], ['u'], { perm: [1, 0, 2] }],
        ['MatMul', ['t', 'u'], ['y']],
      ],
      'MatMul',
    )
  })

  it('is found where it went', async () => {
    const graph = graphOf(
      [
        ['Transpose', ['x'], ['t'], { perm: [1, 0, 2] }],
        ['Unsqueeze', ['t', 'first'], ['u']],
        ['ReduceMean', ['u', 'tokens'], ['y'], { keepdims: 0 }],
      ],
      { ints: { first: [0], tokens: [1] } },
    )
    await foldFor(graph, FEEDS)
    const { axes, unknown } = recordAxes(graph)
    expect(unknown).toBeUndefined()
    expect(['t', 'u', 'y'].map((tensor) => axes.get(tensor))).toEqual([1, 2, 1])
  })

  it('is lost behind an operator that is not known, which is said', async () => {
    const graph = graphOf([['EyeLike', ['ids'], ['y']]])
    await foldFor(graph, FEEDS)
    expect(recordAxes(graph).unknown?.opType).toBe('EyeLike')
  })
})
