import { afterAll, describe, expect, it } from 'vitest'
import { direction, type LoraSpace } from '../../shared/zo/index.ts'
import { openDenseReference } from './dense-reference.ts'
import { type Engine, type EngineRecord, inspectModel, openEngine } from './index.ts'

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
  return { kind: 'lora', rank, sites: sites.map((site) => ({ ...site, scale: 1 / Math.sqrt(site.inputs * rank) })) }
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

const recordsOf = (engine: Engine, count: number): EngineRecord[] =>
  Array.from({ length: count }, (_, n) => ({ encoded: engine.encode(textOf(n)), label: n % 2 ? 'spam' : 'ham' }))

/** A factor far from zero, and pairs of perturbations of it. */
const factorOf = (dimension: number, salt: number): Float32Array =>
  Float32Array.from({ length: dimension }, (_, i) => 0.3 * Math.sin(i * 0.7 + salt * 1.9))

function perturbed(center: Float32Array, space: LoraSpace, directions: number, radius: number): Float32Array[] {
  return Array.from({ length: directions }, (_, k) => direction(seed, { round: 3, k }, space)).flatMap((z) =>
    [1, -1].map((sign) => center.map((a, i) => a + sign * radius * z[i]!)),
  )
}

/** Label tokens as the engine's own logits order them, read off the tokenizer's vocabulary. */
async function labelTokens(): Promise<number[]> {
  const { default: tokenizer } = await import('../../demo/model/spam-encoder/tokenizer.json', {
    with: { type: 'json' },
  })
  const vocabulary: Record<string, number> = tokenizer.model.vocab
  return Object.values(task.labels).map((word) => vocabulary[word]!)
}

describe('losses against dense weights in an untouched graph', () => {
  it.each(Object.entries(spaces))('agree where the trained sites are %s', async (_, space) => {
    const engine = await open(space)
    const tokens = await labelTokens()
    const records = recordsOf(engine, 5)
    const radius = 0.05
    const groups = perturbed(factorOf(engine.dimension, 1), space, 2, radius)
    const losses = await engine.losses(records, groups)
    const expected = new Float64Array(losses.length)
    for (const [g, group] of groups.entries()) {
      const reference = await openDenseReference(modelDir, space, seed, [group])
      for (const [n, { encoded, label }] of records.entries())
        expected[n * groups.length + g] = await reference.loss(encoded, tokens, label === 'ham' ? 0 : 1)
      await reference.release()
    }
    for (const [at, loss] of losses.entries())
      expect(Math.abs(loss - expected[at]!)).toBeLessThanOrEqual(1e-5 * Math.max(0.1, Math.abs(expected[at]!)))
    for (let at = 0; at < losses.length; at += 2) {
      const difference = (losses[at]! - losses[at + 1]!) / (2 * radius)
      const dense = (expected[at]! - expected[at + 1]!) / (2 * radius)
      expect(Math.abs(difference - dense)).toBeLessThanOrEqual(5e-4 * Math.max(0.05, Math.abs(dense)))
    }
    expect(new Set(losses).size).toBe(losses.length)
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
    for (const [n, { encoded }] of records.entries())
      for (const [l, logit] of (await reference.logits(encoded, tokens)).entries())
        expect(Math.abs(logits[n * 2 + l]! - logit)).toBeLessThanOrEqual(3e-5 * Math.max(1, Math.abs(logit)))
    await reference.release()
  })

  it('are those of a finished stage, once that is merged and the new factor is zero', async () => {
    const engine = await open(lastLayer)
    const records = recordsOf(engine, 6)
    const factor = factorOf(engine.dimension, 5)
    const before = await engine.losses(records, [factor])
    await engine.setStage(1, [factor])
    const after = await engine.losses(records, [new Float32Array(engine.dimension)])
    for (const [at, loss] of after.entries()) expect(Math.abs(loss - before[at]!)).toBeLessThanOrEqual(1e-5)
    await engine.setStage(0, [])
    expect(await engine.losses(records, [factor])).toEqual(before)
  })

  it('do not depend on how many groups share a call', async () => {
    const engine = await open(lastLayer)
    const records = recordsOf(engine, 3)
    const groups = perturbed(factorOf(engine.dimension, 1), lastLayer, 70, 0.05)
    const together = await engine.losses(records, groups)
    for (const at of [0, 69, 70, 139]) {
      const alone = await engine.losses(records, [groups[at]!])
      for (const [n, loss] of alone.entries())
        expect(Math.abs(loss - together[n * groups.length + at]!)).toBeLessThanOrEqual(1e-5)
    }
  })
})
