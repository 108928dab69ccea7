import { describe, expect, it } from 'vitest'
import { groupAt, type LoraSpace, type Space, spaceDimension } from '../../../shared/zo/index.ts'
import { changedEncoder, type Insertion, insertedInto, TRAINED, WIDTH } from '../../../test/models/inserted.ts'
import { CALL_LIMITS } from '../device/index.ts'
import { Evaluator } from '../evaluate/evaluator.ts'
import { inspectModel } from '../index.ts'
import { loadRuntime } from '../ort.ts'
import { loadTokenizer, prepareTask } from '../task/index.ts'

/**
 * Graphs through which the records of one call could reach each other, in forms that look like a batch. Whatever the engine
 * makes of them, a record must have the same bits alone, with others, and in another place; most of them differed once.
 */
const runtime = await loadRuntime()
const full: Space = { kind: 'full', directions: { kind: 'dense' }, tensors: [TRAINED] }

const words = 'free money meeting list kernel patch click here offer thanks regards price order dear team report'.split(
  ' ',
)
const textOf = (n: number): string =>
  Array.from({ length: 3 + ((n * 7) % 20) }, (_, i) => words[(n * 5 + i * (3 + (n % 5))) % words.length]).join(' ')

interface Told {
  readonly lead: string
  /** Losses of one record as bits: alone, first of eight, first of twenty-one, last of thirty-one. */
  readonly bits: readonly (readonly number[])[]
}

async function told(modelDir: string, tokens: number, { space = full, members = 64 } = {}): Promise<Told> {
  const tokenizer = loadTokenizer(modelDir)
  const task = {
    kind: 'prompt-classification' as const,
    template: 'about {mask} : {text}',
    labels: { ham: 'work', spam: 'money' },
    maxTokens: tokens,
    buckets: [tokens],
  }
  const { encode, outputs, positionsOf } = prepareTask(task, tokenizer)
  const evaluator = new Evaluator(runtime, {
    modelDir,
    variant: undefined,
    outputs,
    positions: new Map([[tokens, positionsOf(tokens)]]),
    space,
    mask: undefined,
    seed: '0123456789abcdef',
    padToken: tokenizer.padToken,
    cacheBytes: 0,
    device: 'cpu',
    keepsHalves: false,
    limits: { call: { ...CALL_LIMITS.cpu, members }, buckets: 2 },
  })
  const center = new Float32Array(spaceDimension(space))
  const groups = { count: 2, center, at: (group: number) => groupAt(group, 'two'), round: 0, radius: 1e-3 }
  const records = Array.from({ length: 40 }, (_, n) => encode({ text: textOf(n), label: n % 3 ? 'ham' : 'spam' }))
  const [own] = records as [(typeof records)[number]]
  const bits = async (batch: typeof records, at: number): Promise<number[]> => {
    const losses = await evaluator.run(batch, groups, 'losses')
    return Array.from(new Uint32Array(losses.buffer, losses.byteOffset + 8 * at, 2))
  }
  try {
    const seen = [
      await bits([own], 0),
      await bits([own, ...records.slice(1, 8)], 0),
      await bits([own, ...records.slice(20)], 0),
      await bits([...records.slice(1, 31), own], 30),
    ]
    const { lead } = (await evaluator.leads())[0]!
    return { lead, bits: seen }
  } finally {
    await evaluator.release()
  }
}

/** Graphs that are known to keep records apart. */
const KEPT_APART = ['nothing of the kind', 'a layer on the mean of each record, of two axes']

const GRU = Array.from({ length: 3 * WIDTH * WIDTH }, (_, i) => Math.sin(i) * 0.1)

/** Largest activation of a call, as a scale. */
const scaleOver = (axes: { attribute?: readonly number[]; input?: readonly number[] }): Insertion => ({
  nodes: [
    ['Abs', ['h'], ['a']],
    axes.input
      ? ['ReduceSum', ['a', 'axes'], ['s'], { keepdims: 1 }]
      : ['ReduceMax', ['a'], ['s'], { keepdims: 1, axes: axes.attribute ?? [] }],
    ['Div', ['h', 's'], ['y']],
  ],
  ...(axes.input ? { ints: { axes: axes.input } } : {}),
})

/** Wave of a few numbers of each record, made large, so that its last bits matter. */
const waveOf = (operator: string): Insertion => ({
  nodes: [
    ['Slice', ['h', 'start', 'end', 'axis'], ['few']],
    [operator, ['few'], ['e']],
    ['ReduceSum', ['e', 'axis'], ['m'], { keepdims: 1 }],
    ['Mul', ['m', 'large'], ['mm']],
    [operator, ['mm'], ['f']],
    ['Mul', ['h', 'f'], ['y']],
  ],
  ints: { start: [0], end: [3], axis: [2] },
  floats: { large: [[], [1000]] },
})

const graphs: Record<string, Insertion> = {
  'nothing of the kind': { nodes: [['Identity', ['h'], ['y']]] },
  'a layer on the mean of each record, of two axes': {
    nodes: [
      ['ReduceMean', ['h'], ['p'], { axes: [1], keepdims: 0 }],
      ['Gemm', ['p', 'w', 'b'], ['g'], { transB: 1 }],
      ['MatMul', ['g', 'w'], ['l']],
      ['Unsqueeze', ['l', 'one'], ['u']],
      ['Add', ['h', 'u'], ['y']],
    ],
    ints: { one: [1] },
    floats: {
      w: [[WIDTH, WIDTH], Array.from({ length: WIDTH ** 2 }, (_, i) => Math.sin(i) * 0.1)],
      b: [[WIDTH], Array.from({ length: WIDTH }, (_, i) => Math.cos(i) * 0.1)],
    },
  },
  'a mean whose axis is dropped, added to what has it': {
    nodes: [
      ['ReduceMean', ['h'], ['p'], { axes: [1], keepdims: 0 }],
      ['Add', ['h', 'p'], ['y']],
    ],
  },
  'a product of four axes with three': {
    nodes: [
      ['Reshape', ['h', 'heads'], ['q0']],
      ['Transpose', ['q0'], ['q'], { perm: [0, 2, 1, 3] }],
      ['ReduceMean', ['h'], ['p'], { axes: [1], keepdims: 1 }],
      ['Reshape', ['p', 'small'], ['b']],
      ['MatMul', ['q', 'b'], ['c']],
      ['ReduceMean', ['c'], ['m'], { axes: [1, 3], keepdims: 0 }],
      ['Unsqueeze', ['m', 'two'], ['u']],
      ['Add', ['h', 'u'], ['y']],
    ],
    ints: { heads: [0, 0, 32, 4], small: [0, 4, 32], two: [2] },
  },
  'tokens picked by the length of each record': {
    nodes: [
      ['ReduceSum', ['attention_mask', 'one'], ['n'], { keepdims: 1 }],
      ['Sub', ['n', 'unit'], ['i']],
      ['Gather', ['h', 'i'], ['g'], { axis: 1 }],
      ['ReduceMean', ['g'], ['m'], { axes: [1, 2], keepdims: 0 }],
      ['Unsqueeze', ['m', 'one'], ['u']],
      ['Add', ['h', 'u'], ['y']],
    ],
    ints: { one: [1], unit: 1 },
  },
  'tokens picked by lengths without an axis of their own': {
    nodes: [
      ['ReduceSum', ['attention_mask', 'one'], ['n'], { keepdims: 0 }],
      ['Sub', ['n', 'unit'], ['i']],
      ['Gather', ['h', 'i'], ['g'], { axis: 1 }],
      ['ReduceMean', ['g'], ['m'], { axes: [1], keepdims: 1 }],
      ['Add', ['h', 'm'], ['y']],
    ],
    ints: { one: [1], unit: 1 },
  },
  'elements picked by an index that was made as large as the batch': {
    nodes: [
      ['Shape', ['h'], ['batch'], { start: 0, end: 1 }],
      ['Concat', ['batch', 'rest'], ['size'], { axis: 0 }],
      ['Expand', ['zero', 'size'], ['e']],
      ['GatherElements', ['h', 'e'], ['g'], { axis: 1 }],
      ['Add', ['h', 'g'], ['y']],
    ],
    ints: { zero: [0], rest: [1, WIDTH] },
  },
  'a sum over the batch in an operator that is not known': {
    nodes: [
      ['Einsum', ['h'], ['s'], { equation: { text: 'nij->ij' } }],
      ['Unsqueeze', ['s', 'zero'], ['u']],
      ['Add', ['h', 'u'], ['y']],
    ],
    ints: { zero: [0] },
  },
  'the same, in nodes named like our own': {
    nodes: [
      ['Einsum', ['h'], ['s'], { equation: { text: 'nij->ij' } }],
      ['Unsqueeze', ['s', 'zero'], ['u']],
      ['Add', ['h', 'u'], ['y']],
    ],
    ints: { zero: [0] },
    name: (at) => `x.across_groups.${at}`,
  },
  'a walk over the tokens of a batch that was not put first': {
    nodes: [
      ['GRU', ['h', 'w', 'r'], ['', 'hn'], { hidden_size: WIDTH }],
      ['Add', ['h', 'hn'], ['y']],
    ],
    floats: { w: [[1, 3 * WIDTH, WIDTH], GRU], r: [[1, 3 * WIDTH, WIDTH], GRU] },
  },
  Sin: waveOf('Sin'),
  Cos: waveOf('Cos'),
  Softplus: waveOf('Softplus'),
}

describe.each(Object.entries(graphs))('%s', (name, insertion) => {
  it.each([32, 24])('leaves every record its own bits, %i tokens', async (tokens) => {
    const { lead, bits } = await told(insertedInto(insertion), tokens, { members: name.length < 9 ? 31 : 64 })
    for (const other of bits) expect(other).toEqual(bits[0])
    expect(lead).toBe(KEPT_APART.includes(name) ? 'records' : 'single')
  })
})

describe('a scale over a whole call', () => {
  it.each([
    ['axes are an empty attribute', scaleOver({ attribute: [] })],
    ['axes are an empty input', scaleOver({ input: [] })],
    ['axes are those of the batch', scaleOver({ attribute: [0, 1, 2] })],
  ])('is refused where its %s', async (_, insertion) => {
    await expect(told(insertedInto(insertion), 32)).rejects.toMatchObject({ code: 'coupled_batch' })
  })
})

it('a product that sums over the records is refused', async () => {
  const insertion: Insertion = {
    nodes: [
      ['ReduceMean', ['h'], ['p'], { axes: [1], keepdims: 0 }],
      ['MatMul', ['c', 'p'], ['l']],
      ['Unsqueeze', ['l', 'one'], ['u']],
      ['Add', ['h', 'u'], ['y']],
    ],
    ints: { one: [1] },
    floats: { c: [[1, 1], [0.5]] },
  }
  await expect(told(insertedInto(insertion), 32)).rejects.toMatchObject({ code: 'coupled_batch' })
})

it('a mask without an axis for heads, added straight to the scores, is the same for a record in any company', async () => {
  const dir = changedEncoder((graph) => {
    const mask = '/Mul_output_0'
    const at = graph.node.findIndex(({ output }) => output.includes(mask))
    const squeeze = {
      ...graph.node[at]!,
      name: 'flat',
      opType: 'Squeeze',
      input: [mask, 'heads'],
      output: ['flat'],
      attribute: [],
    }
    const readers = graph.node.filter(
      ({ input, output }) => input.includes(mask) && /Add_(?:7|4)_output_0$/.test(output[0]!),
    )
    for (const node of readers) node.input = node.input.map((input) => (input === mask ? 'flat' : input))
    expect(readers.length).toBeGreaterThan(0)
    graph.node.splice(at + 1, 0, squeeze)
    const axes = graph.initializer.find(({ name }) => name === '')
    expect(axes).toBeUndefined()
    graph.initializer.push({
      ...graph.initializer[0]!,
      name: 'heads',
      dims: [2n],
      dataType: 7,
      rawData: new Uint8Array(new BigInt64Array([1n, 2n]).buffer),
      externalData: [],
    })
  })
  for (const tokens of [32, 24]) {
    const { lead, bits } = await told(dir, tokens)
    for (const other of bits) expect(other).toEqual(bits[0])
    expect(lead).toBe('single')
  }
})

it('factors with few directions are held to the same', async () => {
  const dir = insertedInto(graphs['a mean whose axis is dropped, added to what has it']!)
  const { sites } = await inspectModel(dir)
  const some = sites.filter(({ name }) => name.startsWith('layer.1.')).map((site) => ({ ...site, scale: 0.1 }))
  const space: LoraSpace = { kind: 'lora', rank: 1, trained: 'factor', sites: some }
  const { bits } = await told(dir, 32, { space })
  for (const other of bits) expect(other).toEqual(bits[0])
})
