import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import type { RunSpec } from '../shared/api/index.ts'
import type { WorkerEvent } from './log.ts'
import { openSiteEngine } from './site-engine.ts'

const MODEL = fileURLToPath(new URL('../demo/model/spam-encoder', import.meta.url))
const spec = {
  task: {
    kind: 'prompt-classification',
    template: 'about {mask} : {text}',
    labels: { ham: 'work', spam: 'money' },
    maxTokens: 16,
    buckets: [16],
  },
  space: {
    kind: 'lora',
    rank: 1,
    trained: 'factor',
    sites: [{ name: 'head.transform', inputs: 128, outputs: 128, scale: 1 }],
  },
  stages: [{ directions: 1 }],
  seed: '0123456789abcdef',
} as unknown as RunSpec

describe('what a run can not evaluate', () => {
  it('counts as nothing and ends nothing, so that no run can ask by it which labels there are', async () => {
    const data = join(mkdtempSync(join(tmpdir(), 'sotto-data-')), 'mail.jsonl')
    const lines = ['ham', 'phishing', 'spam', '__proto__'].map((label) =>
      JSON.stringify({ text: `free ${label}`, label }),
    )
    writeFileSync(data, lines.join('\n'))
    const said: WorkerEvent[] = []
    const log = (event: WorkerEvent) => said.push(event)
    const engine = await openSiteEngine(spec, MODEL, {
      data,
      unit: 'record',
      labels: null,
      threads: 1,
      device: 'cpu',
      log,
    })
    await engine.setStage(0, [])
    const at = { center: new Float32Array(128), round: 0, directions: 1, radius: 0.01, sides: 'two' } as const
    const losses = await engine.losses(engine.units.flat(), at)
    await engine.close()
    expect(Array.from(losses, Number.isNaN)).toEqual([false, false, true, true, false, false, true, true])
    expect(said).toEqual([{ event: 'engine_open', device: 'cpu' }, { event: 'units_left_out' }])
  })

  it('may be a line of another form', async () => {
    const data = join(mkdtempSync(join(tmpdir(), 'sotto-data-')), 'mixed.jsonl')
    const lines = [
      { text: 'free', label: 'ham' },
      { prompt: 'free', completion: 'ham' },
      { text: 'x', label: 'spam' },
    ]
    writeFileSync(data, lines.map((line) => JSON.stringify(line)).join('\n'))
    const said: WorkerEvent[] = []
    const log = (event: WorkerEvent) => said.push(event)
    const engine = await openSiteEngine(spec, MODEL, {
      data,
      unit: 'record',
      labels: null,
      threads: 1,
      device: 'cpu',
      log,
    })
    await engine.close()
    expect(engine.units.map(([line]) => line === null)).toEqual([false, true, false])
    expect(said).toEqual([{ event: 'engine_open', device: 'cpu' }, { event: 'units_left_out' }])
  })

  it('is refused at the start where the owner says which labels there are', async () => {
    const data = join(mkdtempSync(join(tmpdir(), 'sotto-data-')), 'mail.jsonl')
    writeFileSync(data, '{"text":"x","label":"phishing"}\n')
    const opened = openSiteEngine(spec, MODEL, {
      data,
      unit: 'record',
      labels: ['ham', 'spam'],
      threads: 1,
      device: 'cpu',
      log: () => {},
    })
    await expect(opened).rejects.toMatchObject({ code: 'unknown_label' })
  })
})
