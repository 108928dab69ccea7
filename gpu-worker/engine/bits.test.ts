import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type LoraSpace, type Perturbation, type Space, threefry4x32 } from '../../shared/zo/index.ts'
import { readGraph } from './graph/file.ts'
import { dimsOf } from './graph/tensor.ts'
import { type EncodedRecord, type Engine, inspectModel, openEngine } from './index.ts'

/**
 * DESIGN section 5, step 2: a unit's losses are a function of the unit and the public state alone. The sensitivity bound
 * rests on it, so it is compared bit by bit, over batch mates, places in the batch, threads and processes, in every way that
 * the engine runs a graph.
 */
const modelDir = new URL('../../demo/model/spam-encoder', import.meta.url).pathname
const seed = '0123456789abcdef'
const task = {
  kind: 'prompt-classification' as const,
  template: 'about {mask} : {text}',
  labels: { ham: 'work', spam: 'money' },
  maxTokens: 64,
  buckets: [32, 64],
}
const { sites } = await inspectModel(modelDir)
const lora: LoraSpace = {
  kind: 'lora',
  rank: 2,
  trained: 'factor',
  sites: sites.filter(({ name }) => /^layer\.[12]\.|^head/.test(name)).map((site) => ({ ...site, scale: 0.05 })),
}
const weights = [...readGraph(modelDir).constants.values()]
const full: Space = {
  kind: 'full',
  directions: { kind: 'dense' },
  tensors: weights
    .filter(({ name }) => /layer\.1\..*(bias|LayerNorm\.weight)$/.test(name))
    .map((tensor) => ({ name: tensor.name, shape: dimsOf(tensor) })),
}
/** Matrices in place of constants: the runtime multiplies by them without having packed them, and one row otherwise than many. */
const matrices: Space = {
  kind: 'full',
  directions: { kind: 'dense' },
  tensors: weights
    .filter(({ name }) => /(layer\.2\.(attention\.self|output)|transform)\.\S*weight_transposed$/.test(name))
    .map((tensor) => ({ name: tensor.name, shape: dimsOf(tensor) })),
}

/** Ways to run: many groups share a call of one record; a few, or whole weights, run records together. */
const WAYS = {
  'groups of one record': { space: lora, directions: 4 },
  'records of one group': { space: lora, directions: 1 },
  'records under whole weights': { space: full, directions: 2 },
  'records under whole matrices': { space: matrices, directions: 2 },
}

/** A reproducible stream of integers below a bound. */
function stream(salt: number): (bound: number) => number {
  const words = new Uint32Array(4)
  let counter = 0
  return (bound) => {
    threefry4x32([salt, 7, 0, 0], [counter++, 0, 0, 0], words)
    return words[0]! % bound
  }
}

const vocabulary =
  'free money meeting list kernel patch click here offer thanks regards price order dear team report'.split(' ')
const textOf = (n: number): string => {
  const pick = stream(n)
  return Array.from({ length: 3 + pick(90) }, () => vocabulary[pick(vocabulary.length)]).join(' ')
}
const lineOf = (n: number) => ({ text: textOf(n), label: n % 3 ? 'ham' : 'spam' })
const POOL = 60

describe.each(Object.entries(WAYS))('bits of a record’s losses: %s', (_, { space, directions }) => {
  const options = { modelDir, task, space, seed }
  const groups = 2 * directions
  let engine: Engine
  let twoThreads: Engine
  let records: EncodedRecord[]
  let at: Perturbation
  /** Losses of each record evaluated alone, as bits. */
  const alone: Uint32Array[] = []

  const bits = (losses: Float32Array, row: number): Uint32Array =>
    new Uint32Array(losses.buffer, losses.byteOffset).slice(row * groups, (row + 1) * groups)

  beforeAll(async () => {
    engine = await openEngine({ ...options, cacheBytes: 0 })
    twoThreads = await openEngine({ ...options, threads: 2 })
    records = Array.from({ length: POOL }, (_, n) => engine.encode(lineOf(n)))
    const pick = stream(99)
    const center = Float32Array.from({ length: engine.dimension }, () => (pick(1000) / 999 - 0.5) / 10)
    at = { center, round: 5, directions, radius: 0.02, sides: 'two' }
    for (const record of records) alone.push(bits(await engine.losses([record], at), 0))
  })

  afterAll(async () => {
    await engine.close()
    await twoThreads.close()
  })

  /** Evaluates records by index and compares each with itself alone. */
  async function compare(with_: Engine, indices: readonly number[]): Promise<void> {
    const losses = await with_.losses(
      indices.map((index) => records[index]!),
      at,
    )
    const wrong = indices.filter((index, row) => !bits(losses, row).every((word, g) => word === alone[index]![g]))
    expect(wrong).toEqual([])
  }

  it('differ from record to record and from group to group', () => {
    expect(new Set(alone.flatMap((words) => [...words])).size).toBeGreaterThan(0.9 * POOL * groups)
  })

  it('are the same among any batch mates, in any place, for batches of 1 to 40', async () => {
    for (let size = 1; size <= 40; size++) {
      const pick = stream(1000 + size)
      await compare(
        engine,
        Array.from({ length: size }, () => pick(POOL)),
      )
    }
  })

  it('are the same when a record stands beside itself', async () => {
    await compare(engine, [5, 5, 5, 5, 9, 5])
  })

  it('are the same over two threads', async () => {
    for (const size of [1, 2, 7, 40]) {
      const pick = stream(2000 + size)
      await compare(
        twoThreads,
        Array.from({ length: size }, () => pick(POOL)),
      )
    }
  })

  it('are the same while calls overlap', async () => {
    await Promise.all([compare(twoThreads, [1, 2, 3]), compare(twoThreads, [3, 2, 1, 0]), compare(engine, [2])])
  })

  it('are the same in another engine and another process', async () => {
    const indices = [0, 11, 23, 37]
    const input = { options, lines: indices.map(lineOf), at: { ...at, center: Array.from(at.center) } }
    const program = new URL('engine-process.ts', import.meta.url).pathname
    const hex = execFileSync('node', ['--disable-warning=ExperimentalWarning', program], {
      input: JSON.stringify(input),
      encoding: 'utf8',
    })
    const losses = new Float32Array(new Uint8Array(Buffer.from(hex, 'hex')).buffer)
    indices.forEach((index, row) => {
      expect(bits(losses, row)).toEqual(alone[index])
    })
  })

  it('are the same whether or not the prefix was kept', async () => {
    // Room for a few records only, so that hits, misses and evictions mix.
    const keeping = await openEngine({ ...options, cacheBytes: 2 ** 19 })
    const pick = stream(3000)
    for (let call = 0; call < 8; call++)
      await compare(
        keeping,
        Array.from({ length: 12 }, () => pick(12)),
      )
    await keeping.close()
  })

  it('are the same after the stage was left and entered again', async () => {
    await engine.setStage(1, [at.center])
    await engine.setStage(0, [])
    await compare(engine, [4, 17, 42])
  })
})
