import { create } from '@bufbuild/protobuf'
import type { Tensor } from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { type Graph, intAttribute } from '../graph/graph.ts'
import { intsOf } from '../graph/tensor.ts'
import {
  AttributeProtoSchema,
  FunctionProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProtoSchema,
} from '../onnx/onnx_pb.ts'
import { loadRuntime } from '../ort.ts'
import { inlineFunctions } from './functions.ts'
import { normalise, opsetOf } from './index.ts'
import { makeNode, operatorOf } from './node.ts'
import { type GraphSketch, largestGap, type NodeSketch, runGraph, sketchGraph } from './run-graph.ts'

const runtime = await loadRuntime()
const FLOAT = 1
const INT32 = 6
const INT64 = 7
const FLOAT16 = 10

const words = { type: INT64, dims: ['batch', 'sequence'] }
const rows = (count: number, width: number, scale = 1) =>
  [[count, width], Array.from({ length: count * width }, (_, at) => scale * Math.sin(at * 0.7))] as const

/** A graph that looks up [1, T, 4] as `h`, goes on with `nodes`, and ends in `logits`. */
function model(nodes: readonly NodeSketch[], more: Partial<GraphSketch> = {}): Graph {
  return sketchGraph({
    inputs: { input_ids: words, ...more.inputs },
    nodes: [['Gather', ['table', 'input_ids'], ['h']], ...nodes],
    floats: { table: rows(9, 4), ...more.floats },
    ints: more.ints ?? {},
    outputs: more.outputs ?? ['logits'],
    opset: more.opset ?? 21,
  })
}

const ids = (...values: number[]): Record<string, Tensor> => ({
  input_ids: new runtime.Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]),
})
const IDS = ids(3, 1, 4, 1, 5)

const operatorsOf = (graph: Graph): string[] => graph.nodes.map(operatorOf)
const isRefusal = (code: string, text: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(text) })

async function logitsOf(graph: Graph, feeds = IDS): Promise<{ dims: readonly number[]; data: number[] }> {
  const { logits } = await runGraph(graph, feeds)
  return { dims: logits!.dims, data: Array.from(logits!.data as Float32Array, Number) }
}

/** Normalises a graph and expects what it computes to stay. @returns its operators. */
async function keeps(make: () => Graph, feeds = IDS): Promise<string[]> {
  const before = await logitsOf(make(), feeds)
  const graph = make()
  normalise(graph)
  const after = await logitsOf(graph, feeds)
  expect(after.dims).toEqual(before.dims)
  expect(largestGap(after.data, before.data)).toBeLessThan(1e-6)
  return operatorsOf(graph)
}

describe('an older operator set', () => {
  const raised = (nodes: readonly NodeSketch[], opset: number, more: Partial<GraphSketch> = {}) =>
    keeps(() => model(nodes, { ...more, opset }))

  it.each([11, 13, 17])('%i becomes 18', (opset) => {
    const graph = model([['Relu', ['h'], ['logits']]], { opset })
    normalise(graph)
    expect(opsetOf(graph)).toBe(18)
  })

  it('has axes as inputs', async () => {
    const nodes: NodeSketch[] = [
      ['Unsqueeze', ['h'], ['u'], { axes: [0, 2] }],
      ['ReduceSum', ['u'], ['r'], { axes: [-1], keepdims: 1 }],
      ['ReduceMean', ['r'], ['m'], { axes: [3], keepdims: 0 }],
      ['Squeeze', ['m'], ['s'], { axes: [2] }],
      ['Add', ['s', 'h'], ['logits']],
    ]
    await raised(nodes, 11)
    await raised(
      [
        ['ReduceMax', ['h'], ['r'], { axes: [2] }],
        ['Mul', ['r', 'h'], ['logits']],
      ],
      17,
    )
  })

  it('has sizes of parts as an input, or their number', async () => {
    const parts = ['a', 'b']
    await raised(
      [
        ['Split', ['h'], parts, { axis: 2, split: [1, 3] }],
        ['Mul', parts, ['logits']],
      ],
      11,
    )
    await raised(
      [
        ['Split', ['h'], parts, { axis: 2 }],
        ['Mul', parts, ['logits']],
      ],
      11,
    )
    await raised(
      [
        ['Split', ['h'], parts, { axis: -1 }],
        ['Mul', parts, ['logits']],
      ],
      15,
    )
  })

  it('normalises all axes from one on, where that is what it did', async () => {
    const last = await raised([['Softmax', ['h'], ['logits'], { axis: -1 }]], 11)
    expect(last).toEqual(['Gather', 'Softmax'])
    await raised([['Softmax', ['h'], ['logits'], { axis: 2 }]], 12)
    await raised([['LogSoftmax', ['h'], ['logits']]], 11)
  })

  it('is refused below 11 and above 23', () => {
    const of = (opset: number) => () => normalise(model([['Relu', ['h'], ['logits']]], { opset }))
    expect(of(10)).toThrow(isRefusal('unsupported_graph', /opset 10: export it again/))
    expect(of(24)).toThrow(isRefusal('unsupported_graph', /opset 24/))
    expect(of(23)).not.toThrow()
  })
})

describe('constants in nodes', () => {
  it('are constants of the graph, whatever their form', async () => {
    const operators = await keeps(() =>
      model([
        ['Constant', [], ['two'], { value_float: { float: 2 } }],
        ['Constant', [], ['axes'], { value_ints: [0] }],
        ['Constant', [], ['at'], { value_int: 1 }],
        ['Mul', ['h', 'two'], ['m']],
        ['Unsqueeze', ['m', 'axes'], ['u']],
        ['Gather', ['u', 'at'], ['logits'], { axis: 2 }],
      ]),
    )
    expect(operators).not.toContain('Constant')
  })

  it('are refused where they hold a text', () => {
    const graph = model([
      ['Constant', [], ['word'], { value_string: { text: 'a' } }],
      ['Add', ['h', 'word'], ['logits']],
    ])
    expect(() => normalise(graph)).toThrow(isRefusal('unsupported_graph', /node1 \(Constant\)/))
  })
})

describe('steps that change nothing', () => {
  it('go', async () => {
    const operators = await keeps(() =>
      model([
        ['Identity', ['h'], ['a']],
        ['Dropout', ['a'], ['b']],
        ['Cast', ['b'], ['c'], { to: FLOAT }],
        ['Relu', ['c'], ['logits']],
      ]),
    )
    expect(operators).toEqual(['Gather', 'Relu'])
  })

  it('stay where they give the output its name', async () => {
    expect(await keeps(() => model([['Identity', ['h'], ['logits']]]))).toEqual(['Gather', 'Identity'])
  })
})

describe('a cache of keys and values', () => {
  const past = { type: FLOAT, dims: ['batch', 2, 'past', 2] }
  const nodes: NodeSketch[] = [
    ['Reshape', ['h', 'split'], ['s']],
    ['Transpose', ['s'], ['k'], { perm: [0, 2, 1, 3] }],
    ['Concat', ['past_key_values.0.key', 'k'], ['present.0.key'], { axis: 2 }],
    ['Shape', ['past_key_values.0.key'], ['shape']],
    ['Gather', ['shape', 'two'], ['length']],
    ['Cast', ['length'], ['offset'], { to: FLOAT }],
    ['Add', ['present.0.key', 'offset'], ['logits']],
  ]
  const make = (dims: (number | string)[] = past.dims) =>
    model(nodes, {
      inputs: { 'past_key_values.0.key': { type: FLOAT, dims } },
      ints: { split: [0, 0, 2, 2], two: [2] },
      outputs: ['logits', 'present.0.key'],
    })

  it('is empty', async () => {
    const feeds = { ...IDS, 'past_key_values.0.key': new runtime.Tensor('float32', new Float32Array(), [1, 2, 0, 2]) }
    const before = await logitsOf(make(), feeds)
    const graph = make()
    normalise(graph)
    expect(graph.inputs.map(({ name }) => name)).toEqual(['input_ids'])
    expect(graph.outputs.map(({ name }) => name)).toEqual(['logits'])
    expect(operatorsOf(graph)).not.toContain('Concat')
    expect(await logitsOf(graph)).toEqual(before)
  })

  it('may hold keys and values in one tensor', () => {
    const graph = model(
      [
        ['Reshape', ['h', 'split'], ['s']],
        ['Transpose', ['s'], ['k'], { perm: [0, 2, 1, 3] }],
        ['Gather', ['past_0', 'first'], ['key']],
        ['Squeeze', ['key', 'first'], ['flat']],
        ['Concat', ['flat', 'k'], ['logits'], { axis: 2 }],
      ],
      {
        inputs: { past_0: { type: FLOAT, dims: [2, 'batch', 2, 'past', 2] } },
        ints: { split: [0, 0, 2, 2], first: [0] },
      },
    )
    normalise(graph)
    expect(graph.inputs.map(({ name }) => name)).toEqual(['input_ids'])
  })

  it('is refused where it does not say its sizes', () => {
    expect(() => normalise(make(['batch', 'heads', 'past', 'size']))).toThrow(
      isRefusal('unsupported_graph', /past_key_values\.0\.key does not say/),
    )
  })
})

describe('inputs', () => {
  it('are int64 whatever the exporter chose, under the names of transformers', async () => {
    const graph = model(
      [
        ['Cast', ['input_mask'], ['m'], { to: FLOAT }],
        ['Unsqueeze', ['m', 'last'], ['u']],
        ['Mul', ['h', 'u'], ['logits']],
      ],
      { inputs: { input_mask: { type: INT32, dims: ['batch', 'sequence'] } }, ints: { last: [2] } },
    )
    normalise(graph)
    const mask = new runtime.Tensor('int64', BigInt64Array.of(1n, 1n, 0n, 1n, 0n), [1, 5])
    const { data } = await logitsOf(graph, { ...IDS, attention_mask: mask })
    expect(data.slice(8, 12).map(Math.abs)).toEqual([0, 0, 0, 0])
    expect(data.slice(0, 4)).not.toContain(0)
  })

  it('are refused by name where the engine does not know them', () => {
    const graph = model([['Add', ['h', 'pixel_values'], ['logits']]], {
      inputs: { pixel_values: { type: FLOAT, dims: ['batch', 4] } },
    })
    expect(() => normalise(graph)).toThrow(isRefusal('unsupported_graph', /input pixel_values/))
  })

  it('are refused where the length is fixed', () => {
    const graph = model([['Relu', ['h'], ['logits']]], { inputs: { input_ids: { type: INT64, dims: [1, 128] } } })
    expect(() => normalise(graph)).toThrow(isRefusal('unsupported_graph', /fixed length of 128/))
  })

  it('ask for the logits of all positions', async () => {
    const graph = model(
      [
        ['Neg', ['num_logits_to_keep'], ['n']],
        ['Unsqueeze', ['n', 'zero'], ['from']],
        ['Slice', ['h', 'from', 'end', 'one'], ['logits']],
      ],
      { inputs: { num_logits_to_keep: { type: INT64, dims: [] } }, ints: { zero: [0], one: [1], end: [2 ** 31] } },
    )
    normalise(graph)
    expect((await logitsOf(graph)).dims).toEqual([1, 5, 4])
  })
})

/** Bits of a float16 between 1 and 2. */
const halfBits = (at: number): number => 0x3c00 + (at % 1024)

describe('half precision', () => {
  function halfModel(count: number): Graph {
    const graph = model([
      ['Transpose', ['table'], ['t'], { perm: [1, 0] }],
      ['Cast', ['h'], ['h16'], { to: FLOAT16 }],
      ['MatMul', ['h16', 't'], ['logits']],
    ])
    const rawData = new Uint8Array(Uint16Array.from({ length: count * 4 }, (_, at) => halfBits(at)).buffer)
    const dims = [BigInt(count), 4n]
    graph.constants.set('table', create(TensorProtoSchema, { name: 'table', dims, dataType: FLOAT16, rawData }))
    return graph
  }

  it('is float32 where it is computed with, and stays half in the file where it is large', async () => {
    const graph = halfModel(20_000)
    normalise(graph)
    expect(graph.constants.get('table')!.dataType).toBe(FLOAT16)
    const casts = graph.nodes.filter((node) => node.opType === 'Cast')
    expect(casts.map((node) => intAttribute(node, 'to', 0))).toEqual([FLOAT, FLOAT])
    const { dims, data } = await logitsOf(graph, ids(1))
    const row = (at: number) => [0, 1, 2, 3].map((j) => 1 + ((at * 4 + j) % 1024) / 1024)
    const expected = (at: number) => row(1).reduce((sum, value, j) => sum + value * row(at)[j]!, 0)
    expect(dims).toEqual([1, 1, 20_000])
    expect(largestGap([data[0]!, data[777]!], [expected(0), expected(777)])).toBeLessThan(1e-5)
  })

  it('is widened at once where it is small', () => {
    const graph = halfModel(9)
    normalise(graph)
    expect(graph.constants.get('table')!.dataType).toBe(FLOAT)
    expect(operatorsOf(graph)).not.toContain('Cast')
  })
})

describe('a graph in which records meet', () => {
  const refused = (nodes: readonly NodeSketch[], text: RegExp, more: Partial<GraphSketch> = {}) =>
    expect(() => normalise(model(nodes, more))).toThrow(isRefusal('coupled_batch', text))

  it('is refused where scales come from all activations', () => {
    refused(
      [
        ['DynamicQuantizeLinear', ['h'], ['q', 's', 'z']],
        ['DequantizeLinear', ['q', 's', 'z'], ['logits']],
      ],
      /node1 \(DynamicQuantizeLinear\).*weight-only/,
    )
    refused(
      [
        ['ReduceMax', ['h'], ['s'], { keepdims: 0 }],
        ['QuantizeLinear', ['h', 's'], ['q']],
        ['DequantizeLinear', ['q', 's'], ['logits']],
      ],
      /node2 \(QuantizeLinear\)/,
    )
    refused([['com.microsoft:DynamicQuantizeMatMul', ['h', 'w', 's'], ['logits']]], /DynamicQuantizeMatMul/)
  })

  it('is refused where it draws or takes statistics', () => {
    refused(
      [
        ['RandomNormalLike', ['h'], ['r']],
        ['Add', ['h', 'r'], ['logits']],
      ],
      /random numbers.*model\.eval/,
    )
    refused(
      [['BatchNormalization', ['h', 'v', 'v', 'v', 'v'], ['logits', 'm', 's'], { training_mode: 1 }]],
      /statistics of all records/,
    )
    const training = model([['Dropout', ['h', '', 'on'], ['logits']]])
    const on = create(TensorProtoSchema, { name: 'on', dims: [], dataType: 9, rawData: Uint8Array.of(1) })
    training.constants.set('on', on)
    // Only a Dropout that is no output can go; this one is kept apart by name.
    training.nodes.push(makeNode('Relu', ['logits'], ['last'], { name: 'last' }))
    training.outputs[0]!.name = 'last'
    expect(() => normalise(training)).toThrow(isRefusal('coupled_batch', /training mode/))
  })

  it('is accepted with scales that are constants', () => {
    const graph = model(
      [
        ['QuantizeLinear', ['h', 'scale'], ['q']],
        ['DequantizeLinear', ['q', 'scale'], ['logits']],
      ],
      { floats: { scale: [[], [0.1]] } },
    )
    expect(() => normalise(graph)).not.toThrow()
  })

  it('computes packed products in float32', () => {
    const graph = model(
      [['com.microsoft:MatMulNBits', ['h', 'w', 's'], ['logits'], { K: 4, N: 4, accuracy_level: 4 }]],
      {
        floats: { w: [[1], [0]], s: [[1], [1]] },
      },
    )
    normalise(graph)
    expect(intAttribute(graph.nodes.at(-1)!, 'accuracy_level', 9)).toBe(0)
  })
})

describe('functions of a model', () => {
  const opsetImport = [create(OperatorSetIdProtoSchema, { domain: '', version: 21n })]
  const axis = create(AttributeProtoSchema, { name: 'axis', refAttrName: 'over', type: 2 })
  const normal = makeNode('Softmax', ['a'], ['b'], { name: 'normal' })
  normal.attribute = [axis]
  const soft = create(FunctionProtoSchema, {
    name: 'Soft',
    domain: 'own',
    input: ['a'],
    output: ['c'],
    attribute: ['over'],
    node: [normal, makeNode('Relu', ['b'], ['c'], { name: 'relu' })],
    opsetImport,
  })
  const twice = create(FunctionProtoSchema, {
    name: 'Twice',
    domain: 'own',
    input: ['a'],
    output: ['c'],
    node: [
      { ...makeNode('Soft', ['a'], ['b'], { name: 'one', attributes: { over: -1 } }), domain: 'own' },
      { ...makeNode('Soft', ['b'], ['c'], { name: 'two', attributes: { over: 1 } }), domain: 'own' },
    ],
    opsetImport,
  })
  const call = { ...makeNode('Twice', ['x'], ['y'], { name: 'call' }), domain: 'own' }
  const modelWith = (...functions: (typeof soft)[]) =>
    create(ModelProtoSchema, { graph: create(GraphProtoSchema, { node: [call] }), functions, opsetImport })

  it('are written out, with attributes and names of their own', () => {
    const made = modelWith(soft, twice)
    inlineFunctions(made)
    const nodes = made.graph!.node
    expect(nodes.map(({ opType }) => opType)).toEqual(['Softmax', 'Relu', 'Softmax', 'Relu'])
    expect(nodes.map((node) => intAttribute(node, 'axis', 9))).toEqual([-1, 9, 1, 9])
    expect([nodes[0]!.input, nodes.at(-1)!.output]).toEqual([['x'], ['y']])
    expect(new Set(nodes.flatMap(({ output }) => output)).size).toBe(4)
    expect(new Set(nodes.map(({ name }) => name)).size).toBe(4)
  })

  it('are refused where they call themselves or speak another version', () => {
    const loop = create(FunctionProtoSchema, { ...twice, node: [call] })
    expect(() => inlineFunctions(modelWith(loop))).toThrow(isRefusal('malformed_model', /calls itself/))
    const older = create(FunctionProtoSchema, {
      ...soft,
      opsetImport: [create(OperatorSetIdProtoSchema, { domain: '', version: 15n })],
    })
    expect(() => inlineFunctions(modelWith(older))).toThrow(isRefusal('unsupported_graph', /opset 15/))
  })
})

describe('a model of another kind', () => {
  it('is refused where it has no token ids', () => {
    const graph = sketchGraph({
      inputs: { inputs_embeds: { type: FLOAT, dims: ['batch', 'sequence', 4] } },
      nodes: [['Relu', ['inputs_embeds'], ['logits']]],
      outputs: ['logits'],
    })
    expect(() => normalise(graph)).toThrow(isRefusal('unsupported_graph', /inputs_embeds/))
  })
})

it('leaves the constants it does not rewrite as they are', () => {
  const graph = model([['Reshape', ['h', 'sizes'], ['logits']]], { ints: { sizes: [0, 0, 2, 2] } })
  normalise(graph)
  expect(intsOf(graph.constants.get('sizes')!)).toEqual([0, 0, 2, 2])
})
