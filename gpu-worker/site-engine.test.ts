import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import type { RunSpec } from '../shared/api/index.ts'
import { insertedInto, TRAINED, WIDTH } from '../test/models/inserted.ts'
import { loadTokenizer, prepareTask } from './engine/task/index.ts'
import type { WorkerEvent } from './log.ts'
import { openTrainingSite } from './site-engine.ts'

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
    const engine = await openTrainingSite(spec, MODEL, {
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
    const engine = await openTrainingSite(spec, MODEL, {
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
    const opened = openTrainingSite(spec, MODEL, {
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

describe('a model that fails on some text', () => {
  const task = { ...spec.task, maxTokens: 32, buckets: [32] }
  const run = {
    ...spec,
    task,
    space: { kind: 'full', directions: { kind: 'dense' }, tensors: [TRAINED] },
    stages: [{ directions: 2 }],
  } as unknown as RunSpec
  const { encode } = prepareTask(task as Parameters<typeof prepareTask>[0], loadTokenizer(MODEL))
  const idsOf = (text: string) => Array.from(encode({ text, label: 'ham' }).ids)
  const secret = idsOf('meeting').find((id, at) => id !== idsOf('money')[at])!

  /** Picks beyond a table of two where the word is there; the node has this name. */
  const pickingOutOfRange = (name: string) =>
    insertedInto({
      nodes: [
        ['Equal', ['input_ids', 'secret'], ['is']],
        ['Cast', ['is'], ['c'], { to: 7 }],
        ['Mul', ['c', 'far'], ['i']],
        ['Gather', ['table', 'i'], ['z']],
        ['Unsqueeze', ['z', 'two'], ['u']],
        ['Add', ['h', 'u'], ['y']],
      ],
      ints: { secret, far: 1000, two: [2] },
      floats: { table: [[2], [0, 0]] },
      name: (at) => (at === 3 ? name : `inserted${at}`),
    })

  async function lossesOf(modelDir: string, texts: readonly string[]) {
    const data = join(mkdtempSync(join(tmpdir(), 'sotto-data-')), 'mail.jsonl')
    writeFileSync(data, texts.map((text) => JSON.stringify({ text, label: 'ham' })).join('\n'))
    const site = { data, unit: 'record', labels: null, threads: 1, device: 'cpu', log: () => {} } as const
    const engine = await openTrainingSite(run, modelDir, site)
    const at = { center: new Float32Array(WIDTH), round: 0, directions: 2, radius: 1e-3, sides: 'two' } as const
    return { engine, losses: () => engine.losses(engine.units.flat(), at) }
  }

  it.each(['Gather7', 'out of memory', 'device lost', 'bad_alloc'])(
    'counts those lines as nothing and ends nothing, whatever the failure is called: %s',
    async (name) => {
      const { engine, losses } = await lossesOf(pickingOutOfRange(name), [
        'free money now',
        'a meeting now',
        'free price',
        'an order',
        'a meeting too',
      ])
      const rows = Array.from(await losses())
      await engine.close()
      const isNothing = [0, 1, 2, 3, 4].map((n) => rows.slice(4 * n, 4 * n + 4).every(Number.isNaN))
      expect(isNothing).toEqual([false, true, false, false, true])
    },
  )

  it('is told from an engine that fails on everything', async () => {
    const threads: Worker[] = []
    const note = (worker: Worker) => threads.push(worker)
    process.on('worker', note)
    const { engine, losses } = await lossesOf(MODEL, ['free money now', 'a meeting now'])
    process.off('worker', note)
    expect(Array.from(await losses()).every(Number.isFinite)).toBe(true)
    // What node says where a thread has no memory left for its own objects.
    threads.at(-1)!.emit('error', new Error('Worker terminated due to reaching memory limit'))
    await expect(losses()).rejects.toMatchObject({ code: 'thread_lost' })
    await engine.close()
  })
})
