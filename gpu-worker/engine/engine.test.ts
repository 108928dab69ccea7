import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterAll, describe, expect, it } from 'vitest'
import { groupCount, type LoraSpace, type Perturbation, perturbedFactors } from '../../shared/zo/index.ts'
import { openDenseReference } from './dense-reference.ts'
import { type EncodedRecord, type Engine, inspectModel, openEngine } from './index.ts'

const modelDir = new URL('../../demo/model/spam-encoder', import.meta.url).pathname
const seed = '00c0ffee00c0ffee'
const task = {
  kind: 'prompt-classification' as const,
  template: 'about {mask} : {text}',
  labels: { ham: 'work', spam: 'money' },
  maxTokens: 96,
  buckets: [32, 64, 96],
}
const words = [
  'meeting',
  'free',
  'offer',
  'list',
  'server',
  'click',
  'price',
  'thanks',
  'patch',
  'win',
  '[MASK]',
  '$100',
]

/** Texts of unlike lengths, so that every bucket occurs. */
const textOf = (n: number): string =>
  Array.from({ length: 5 + ((n * 17) % 110) }, (_, i) => words[(i * 7 + n * 5 + i * n) % words.length]).join(' ')

const inspection = await inspectModel(modelDir)

function spaceOf(names: (name: string) => boolean, rank: number): LoraSpace {
  const sites = inspection.sites.filter(({ name }) => names(name))
  return {
    kind: 'lora',
    rank,
    trained: 'factor',
    sites: sites.map((site) => ({ ...site, scale: 1 / Math.sqrt(site.inputs * rank) })),
  }
}

const spaces: Record<string, LoraSpace> = {
  'the last layer and the head': spaceOf((name) => name.startsWith('layer.2.') || name === 'head.transform', 4),
  'the head alone': spaceOf((name) => name === 'head.transform', 2),
  'the last two layers': spaceOf((name) => /^layer\.[12]\./.test(name), 1),
  'every site': spaceOf(() => true, 3),
  'feed-forward of the middle layer alone': spaceOf((name) => name.startsWith('layer.1.ffn'), 2),
  'the first attention alone': spaceOf((name) => name === 'layer.0.attention.qkv', 8),
}
const [lastLayer] = Object.values(spaces) as [LoraSpace]

const engines: Engine[] = []
afterAll(async () => {
  await Promise.all(engines.map((engine) => engine.close()))
})

async function open(space: LoraSpace, threads = 1): Promise<Engine> {
  const engine = await openEngine({ modelDir, task, space, seed, threads })
  engines.push(engine)
  return engine
}

const recordsOf = (engine: Engine, count: number): EncodedRecord[] =>
  Array.from({ length: count }, (_, n) => engine.encode({ text: textOf(n), label: n % 2 ? 'spam' : 'ham' }))

/** A trained vector far from zero. */
const factorOf = (dimension: number, salt: number): Float32Array =>
  Float32Array.from({ length: dimension }, (_, i) => 0.3 * Math.sin(i * 0.7 + salt * 1.9))

const around = (engine: Engine, directions: number, sides: 'one' | 'two' = 'two'): Perturbation => {
  return { center: factorOf(engine.dimension, 1), round: 3, directions, radius: 0.05, sides }
}
/** The point itself and nothing else. */
const at = (center: Float32Array): Perturbation => ({ center, round: 0, directions: 0, radius: 1, sides: 'one' })

/** Trained vectors of the groups, made by the reference. */
function vectorsOf(perturbation: Perturbation, space: LoraSpace): Float32Array[] {
  const vectors = perturbedFactors(perturbation, { seed, space })
  const length = perturbation.center.length
  return Array.from({ length: groupCount(perturbation) }, (_, g) => vectors.subarray(g * length, (g + 1) * length))
}

/** Label tokens as the engine's own logits order them, read off the tokenizer's vocabulary. */
async function labelTokens(): Promise<number[]> {
  const { default: tokenizer } = await import('../../demo/model/spam-encoder/tokenizer.json', {
    with: { type: 'json' },
  })
  const vocabulary: Record<string, number> = tokenizer.model.vocab
  return Object.values(task.labels).map((word) => vocabulary[word]!)
}

/** Losses of the reference, [records, groups]. */
async function denseLosses(
  records: readonly EncodedRecord[],
  space: LoraSpace,
  groups: readonly Float32Array[],
): Promise<Float64Array> {
  const tokens = await labelTokens()
  const expected = new Float64Array(records.length * groups.length)
  for (const [g, group] of groups.entries()) {
    const reference = await openDenseReference(modelDir, space, seed, [group])
    for (const [n, record] of records.entries()) expected[n * groups.length + g] = await reference.loss(record, tokens)
    await reference.release()
  }
  return expected
}

describe('losses against dense weights in an untouched graph', () => {
  const leads = { 'many groups, which share calls': 6, 'few groups, in calls of several records': 1 }
  const cases = Object.entries(spaces).flatMap(([name, space]) =>
    Object.entries(leads).map(([lead, directions]) => [name, lead, space, directions] as const),
  )
  it.each(cases)('agree where the trained sites are %s, with %s', async (_, __, space, directions) => {
    const engine = await open(space)
    const records = recordsOf(engine, 4)
    const perturbation = around(engine, directions)
    const { radius } = perturbation
    const losses = await engine.losses(records, perturbation)
    const groups = vectorsOf(perturbation, space)
    const some = [...new Set([0, 1, groups.length - 2, groups.length - 1])]
    const expected = await denseLosses(
      records,
      space,
      some.map((g) => groups[g]!),
    )
    const got = records.flatMap((_, n) => some.map((g) => losses[n * groups.length + g]!))
    for (const [i, loss] of got.entries())
      expect(Math.abs(loss - expected[i]!)).toBeLessThanOrEqual(1e-5 * Math.max(0.1, Math.abs(expected[i]!)))
    for (let i = 0; i < got.length; i += 2) {
      const difference = (got[i]! - got[i + 1]!) / (2 * radius)
      const dense = (expected[i]! - expected[i + 1]!) / (2 * radius)
      expect(Math.abs(difference - dense)).toBeLessThanOrEqual(5e-4 * Math.max(0.05, Math.abs(dense)))
    }
    expect(new Set(losses).size).toBe(losses.length)
  })

  it('agree on one side: the point once, then each direction', async () => {
    const engine = await open(lastLayer)
    const records = recordsOf(engine, 3)
    const two = await engine.losses(records, around(engine, 5))
    const one = await engine.losses(records, around(engine, 5, 'one'))
    const base = await engine.losses(records, at(factorOf(engine.dimension, 1)))
    expect(one).toHaveLength(3 * 6)
    for (const n of records.keys()) {
      expect(Math.abs(one[n * 6]! - base[n]!)).toBeLessThanOrEqual(1e-5)
      for (let k = 0; k < 5; k++) expect(Math.abs(one[n * 6 + 1 + k]! - two[n * 10 + 2 * k]!)).toBeLessThanOrEqual(1e-5)
    }
  })

  it('agree after stages were merged', async () => {
    const engine = await open(lastLayer)
    const tokens = await labelTokens()
    const records = recordsOf(engine, 4)
    const [first, second, current] = [1, 2, 3].map((salt) => factorOf(engine.dimension, salt)) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ]
    await engine.setStage(2, [first, second])
    const logits = await engine.logits(records, current)
    const reference = await openDenseReference(modelDir, lastLayer, seed, [first, second, current])
    for (const [n, record] of records.entries())
      for (const [l, logit] of (await reference.logits(record, tokens)).entries())
        expect(Math.abs(logits[n * 2 + l]! - logit)).toBeLessThanOrEqual(3e-5 * Math.max(1, Math.abs(logit)))
    await reference.release()
  })

  it('are those of a finished stage, once that is merged and the new factor is zero', async () => {
    const engine = await open(lastLayer)
    const records = recordsOf(engine, 6)
    const factor = factorOf(engine.dimension, 5)
    const before = await engine.losses(records, at(factor))
    await engine.setStage(1, [factor])
    const after = await engine.losses(records, at(new Float32Array(engine.dimension)))
    for (const [i, loss] of after.entries()) expect(Math.abs(loss - before[i]!)).toBeLessThanOrEqual(1e-5)
    await engine.setStage(0, [])
    expect(await engine.losses(records, at(factor))).toEqual(before)
  })

  it('do not depend on how many groups share a call', async () => {
    const engine = await open(lastLayer)
    const records = recordsOf(engine, 3)
    const perturbation = around(engine, 70)
    const together = await engine.losses(records, perturbation)
    const groups = vectorsOf(perturbation, lastLayer)
    for (const g of [0, 69, 70, 139]) {
      const alone = await engine.losses(records, at(groups[g]!))
      for (const [n, loss] of alone.entries())
        expect(Math.abs(loss - together[n * groups.length + g]!)).toBeLessThanOrEqual(1e-5)
    }
  })

  it('are the same after the engine was warmed, which tells what does not fit', async () => {
    const engine = await open(lastLayer)
    const cold = await open(lastLayer)
    await engine.warm({ directions: 6, sides: 'two' })
    const records = recordsOf(engine, 3)
    expect(await engine.losses(records, around(engine, 6))).toEqual(await cold.losses(records, around(cold, 6)))
    const [site] = lastLayer.sites
    const odd = openEngine({ modelDir, task, space: { ...lastLayer, sites: [{ ...site!, name: 'nowhere' }] }, seed })
    await expect(odd).rejects.toMatchObject({ code: 'unknown_site' })
  })
})

it('keeps the merged weights of one stage on disk, and none when it is closed', async () => {
  const written = (): string[] =>
    readdirSync(tmpdir()).filter((name) => name.startsWith(`.sotto-graph-${process.pid}-weights`))
  const before = written().length
  const engine = await openEngine({ modelDir, task, space: lastLayer, seed, threads: 2 })
  const finished: Float32Array[] = []
  for (let stage = 1; stage <= 3; stage++) {
    finished.push(factorOf(engine.dimension, stage))
    await engine.setStage(stage, finished)
    expect(written()).toHaveLength(before + 2)
  }
  await engine.close()
  expect(written()).toHaveLength(before)
})
