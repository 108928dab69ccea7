import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { inspectModel, openEngine } from '../../gpu-worker/engine/index.ts'
import type { LoraSpace } from '../../shared/zo/index.ts'
import { convertLlama2c } from './llama2c.ts'
import { descend } from './training.ts'

const SHARED = fileURLToPath(new URL('../../../shared', import.meta.url))
const TEXT = join(SHARED, 'data/tinyshakespeare/input.txt')
const seed = '00c0ffee00c0ffee'
const root = mkdtempSync(join(tmpdir(), 'sotto-training-'))
afterAll(() => rmSync(root, { recursive: true }))

/** Speeches of the play as prompts with completions. */
function speeches(count: number): { prompt: string; completion: string }[] {
  const parts = readFileSync(TEXT, 'utf8')
    .split('\n\n')
    .map((part) => part.split(':\n'))
  return parts
    .filter((part) => part.length === 2 && part[1]!.length > 20)
    .slice(0, count)
    .map(([who, what]) => ({ prompt: `${who}: `, completion: what!.replaceAll('\n', ' ').slice(0, 60) }))
}

const task = {
  kind: 'causal-lm',
  format: 'completion',
  appendEnd: false,
  maxTokens: 96,
  maxCompletionTokens: 64,
  buckets: [48, 96],
} as const

describe.each([
  ['tinystories-llama-260k', 0.03],
  ['babyllama-tok105-0.9m', 0.005],
])('%s', (name, learningRate) => {
  const checkpoint = join(SHARED, 'models', name)
  const isThere = existsSync(checkpoint) && existsSync(TEXT)

  it.skipIf(!isThere)(`learns lines it never saw (needs ../shared/models/${name} and its data)`, async () => {
    const modelDir = join(root, name)
    convertLlama2c(checkpoint, modelDir)
    const { sites } = await inspectModel(modelDir)
    const space: LoraSpace = {
      kind: 'lora',
      rank: 4,
      trained: 'factor',
      sites: sites.map(({ name, inputs, outputs }) => ({ name, inputs, outputs, scale: 1 / Math.sqrt(inputs) })),
    }
    const engine = await openEngine({
      modelDir,
      task: { ...task, buckets: [...task.buckets] },
      space,
      seed,
      threads: 2,
    })
    try {
      const records = speeches(12).map((line) => engine.encode(line))
      const run = { seed, space, rounds: 12, directions: 8, radius: 0.01, learningRate }
      const { before, after } = await descend(engine, records, run)
      expect(before).toBeGreaterThan(1.5)
      expect(after).toBeLessThan(before - 0.1)
    } finally {
      await engine.close()
    }
  })
})
