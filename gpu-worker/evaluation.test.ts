import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import type { RunSpec, Task } from '../shared/api/index.ts'
import { zooModels } from '../test/models/zoo.ts'
import { inspectModel, openEngine } from './engine/index.ts'
import { evaluateRecords, publicRecords } from './evaluation.ts'
import { openTrainingSite } from './site-engine.ts'

const folder = mkdtempSync(join(tmpdir(), 'sotto-evaluation-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const jsonl = (lines: readonly object[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join('')

/** A model with a public file beside it. @returns the folder, and the hash by which a run names the file. */
function withPublic(modelDir: string, lines: readonly object[]): { dir: string; data: string } {
  const dir = mkdtempSync(join(folder, 'model-'))
  cpSync(modelDir, dir, { recursive: true })
  mkdirSync(join(dir, 'evaluation'))
  const text = jsonl(lines)
  writeFileSync(join(dir, 'evaluation', 'public.jsonl'), text)
  return { dir, data: createHash('sha256').update(text).digest('hex') }
}

const MODEL = fileURLToPath(new URL('../demo/model/spam-encoder', import.meta.url))
const task: Task = {
  kind: 'prompt-classification',
  template: 'about {mask} : {text}',
  labels: { ham: 'work', spam: 'money' },
  maxTokens: 16,
  buckets: [16],
}
const space = {
  kind: 'lora',
  rank: 1,
  trained: 'factor',
  sites: [{ name: 'head.transform', inputs: 128, outputs: 128, scale: 1 }],
} as const
const seed = '0123456789abcdef'
const mails = ['free money', 'a meeting at noon', 'click here', 'the patch builds', 'offer'].map((text, i) => {
  return { text, label: i % 2 === 0 ? 'spam' : 'ham' }
})
const center = Float32Array.from({ length: 128 }, (_, i) => 0.2 * Math.sin(i))

describe('evaluation on public data', () => {
  it('counts labels found and means the loss, over lines that fit the task', async () => {
    const { dir, data } = withPublic(MODEL, [...mails, { text: 'x', label: 'other' }, { prompt: 'a', completion: 'b' }])
    const engine = await openEngine({ modelDir: dir, task, space, seed })
    const records = await publicRecords({ task, evaluation: { data, every: 1 } }, dir, engine)
    expect(records).toHaveLength(mails.length)
    const found = await evaluateRecords(engine, records, { task, center })
    const at = { center, round: 0, directions: 1, radius: 0.01, sides: 'one' } as const
    const losses = (await engine.losses(records, at)).filter((_, i) => i % 2 === 0)
    await engine.close()
    // With two classes the label is found where its loss is below that of a coin.
    expect(found.correct).toBe(losses.filter((loss) => loss < Math.log(2)).length)
    expect(found.loss! / 1e6).toBeCloseTo(losses.reduce((sum, loss) => sum + loss, 0) / mails.length, 5)
    expect(found.records).toBe(mails.length)
  })

  it('has no labels to find in a causal task, and no loss where no line fits', async () => {
    const { dir: modelDir } = zooModels().find(({ name }) => name === 'llama-causal-dynamo-23')!
    const lengths = { maxTokens: 16, buckets: [16], maxCompletionTokens: 8 }
    const causal: Task = { kind: 'causal-lm', format: 'completion', appendEnd: true, ...lengths }
    const { dir, data } = withPublic(modelDir, [{ prompt: 'a', completion: 'b' }])
    const { sites } = await inspectModel(dir)
    const { name, inputs, outputs } = sites[0]!
    const lora = { ...space, sites: [{ name, inputs, outputs, scale: 1 }] }
    const engine = await openEngine({ modelDir: dir, task: causal, space: lora, seed })
    const at = { task: causal, center: new Float32Array(engine.dimension) }
    const records = await publicRecords({ task: causal, evaluation: { data, every: 1 } }, dir, engine)
    expect(await evaluateRecords(engine, records, at)).toEqual({
      records: 1,
      correct: null,
      loss: Math.round(1e6 * (await engine.centerLosses(records, at.center))[0]!),
    })
    expect(await evaluateRecords(engine, [], at)).toEqual({ records: 0, correct: null, loss: null })
    await engine.close()
  })

  it('says the same beside whatever private data, and reads none of them', async () => {
    const { dir, data } = withPublic(MODEL, mails)
    const spec = {
      task,
      space,
      stages: [{ directions: 1 }],
      seed,
      evaluation: { data, every: 1 },
    } as unknown as RunSpec
    const said = []
    for (const lines of [[{ text: 'one', label: 'ham' }], mails.toReversed()]) {
      const file = join(folder, `private-${said.length}.jsonl`)
      writeFileSync(file, jsonl(lines))
      const site = { data: file, unit: 'record', labels: null, threads: 1, device: 'cpu', log: () => {} } as const
      const engine = await openTrainingSite(spec, dir, site)
      await engine.losses(engine.units.flat(), { center, round: 0, directions: 1, radius: 0.01, sides: 'two' })
      said.push(await engine.evaluate(center))
      await engine.close()
    }
    expect(said[1]).toEqual(said[0])
  })

  it('is refused where the model has no such file under evaluation/', async () => {
    const { dir } = withPublic(MODEL, mails)
    const engine = await openEngine({ modelDir: dir, task, space, seed })
    const missing = { task, evaluation: { data: 'f'.repeat(64), every: 1 } }
    await expect(publicRecords(missing, dir, engine)).rejects.toMatchObject({ code: 'wrong_evaluation' })
    await engine.close()
  })
})
