import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type LoraSpace, threefry4x32 } from '../../shared/zo/index.ts'
import { type Engine, type EngineRecord, inspectModel, openEngine } from './index.ts'

/**
 * DESIGN section 5, step 2: a unit's losses are a function of the unit and the public state alone. The sensitivity bound
 * rests on it, so it is compared bit by bit, over batch mates, places in the batch, threads and processes.
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
const space: LoraSpace = {
  kind: 'lora',
  rank: 2,
  sites: sites.filter(({ name }) => /^layer\.[12]\.|^head/.test(name)).map((site) => ({ ...site, scale: 0.05 })),
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
const labelOf = (n: number): string => (n % 3 ? 'ham' : 'spam')

const POOL = 60
const GROUPS = 6
let engine: Engine
let twoThreads: Engine
let records: EngineRecord[]
let groups: Float32Array[]
/** Losses of each record evaluated alone, as bits. */
let alone: Uint32Array[]

const bits = (losses: Float32Array, row: number): Uint32Array =>
  new Uint32Array(losses.buffer, losses.byteOffset).slice(row * GROUPS, (row + 1) * GROUPS)

beforeAll(async () => {
  engine = await openEngine({ modelDir, task, space, seed, cacheBytes: 0 })
  twoThreads = await openEngine({ modelDir, task, space, seed, threads: 2 })
  records = Array.from({ length: POOL }, (_, n) => ({ encoded: engine.encode(textOf(n)), label: labelOf(n) }))
  const pick = stream(99)
  groups = Array.from({ length: GROUPS }, () =>
    Float32Array.from({ length: engine.dimension }, () => pick(1000) / 999 - 0.5),
  )
  alone = []
  for (const record of records) alone.push(bits(await engine.losses([record], groups), 0))
})

afterAll(async () => {
  await engine.close()
  await twoThreads.close()
})

/** Evaluates records by index and compares each with itself alone. */
async function compare(with_: Engine, indices: readonly number[]): Promise<void> {
  const losses = await with_.losses(
    indices.map((index) => records[index]!),
    groups,
  )
  const wrong = indices.filter((index, row) => !bits(losses, row).every((word, g) => word === alone[index]![g]))
  expect(wrong).toEqual([])
}

describe('bits of a record’s losses', () => {
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
    const input = {
      options: { modelDir, task, space, seed },
      texts: indices.map(textOf),
      labels: indices.map(labelOf),
      groups: groups.map((group) => Array.from(group)),
    }
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
    const keeping = await openEngine({ modelDir, task, space, seed, cacheBytes: 2 ** 19 })
    const pick = stream(3000)
    for (let call = 0; call < 8; call++)
      await compare(
        keeping,
        Array.from({ length: 12 }, () => pick(12)),
      )
    await keeping.close()
  })

  it('are the same after the stage was left and entered again', async () => {
    await engine.setStage(1, [groups[0]!])
    await engine.setStage(0, [])
    await compare(engine, [4, 17, 42])
  })
})
