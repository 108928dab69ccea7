import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { StatisticSpace } from '../shared/zo/index.ts'
import { zooModels } from '../test/models/zoo.ts'
import { openEngine } from './engine/index.ts'
import type { WorkerEvent } from './log.ts'
import { openStatisticSite } from './site-statistic.ts'

const { dir } = zooModels().find(({ name }) => name === 'gpt2-past-optimum-13')!
const task = { kind: 'preference-pairs', maxTokens: 16, maxCompletionTokens: 8, buckets: [8, 16] } as const
const spec = { task: { ...task, buckets: [...task.buckets] }, seed: '0123456789abcdef' }
const space: StatisticSpace = { kind: 'statistic', activation: 'layer.1', size: 32, token: 'last' }
const PAIRS = [
  { prompt: 'a b c', chosen: ' d', rejected: ' e f' },
  { prompt: 'b', chosen: ' a b c d e f', rejected: ' c' },
]
const OTHERS = [
  { prompt: 'a', chosen: '', rejected: ' b' },
  { prompt: 'a', completion: 'b' },
  { text: 'x', label: 'y' },
]

async function siteOf(lines: readonly object[], more: Partial<StatisticSpace> = {}) {
  const data = join(mkdtempSync(join(tmpdir(), 'sotto-pairs-')), 'pairs.jsonl')
  writeFileSync(data, lines.map((line) => JSON.stringify(line)).join('\n'))
  const said: WorkerEvent[] = []
  const log = (event: WorkerEvent) => said.push(event)
  const site = { data, unit: 'record', labels: null, threads: 2, device: 'cpu', log } as const
  return { said, engine: await openStatisticSite({ ...spec, space: { ...space, ...more } }, dir, site) }
}

describe('the engine of a statistic', () => {
  it('says how the sides of each pair differ at their last tokens', async () => {
    const { engine, said } = await siteOf(PAIRS)
    const made = await engine.differences(engine.units.flat())
    await engine.close()
    const plain = await openEngine({ modelDir: dir, ...spec, space })
    for (const [at, { prompt, chosen, rejected }] of PAIRS.entries()) {
      const sides = [chosen, rejected].map((completion) => plain.encode({ prompt, completion }))
      const [a, b] = [await plain.activations([sides[0]!]), await plain.activations([sides[1]!])]
      expect(made.subarray(32 * at, 32 * (at + 1))).toEqual(a.map((value, i) => value - b[i]!))
      expect(a.some((value, i) => value !== b[i])).toBe(true)
    }
    await plain.close()
    expect(said).toEqual([{ event: 'engine_open', device: 'cpu' }])
  })

  it('reads the last token, whatever the padding behind it and whoever is in the call', async () => {
    const engine = await openEngine({ modelDir: dir, ...spec, space, threads: 2 })
    const record = engine.encode({ prompt: 'a b', completion: ' c' })
    const longer = engine.encode({ prompt: 'a b', completion: ' c d' })
    const alone = await engine.activations([record])
    expect((await engine.activations([longer, record, longer])).subarray(32, 64)).toEqual(alone)
    const padded = await engine.activations([{ ...record, bucket: 16 }])
    expect(Math.max(...padded.map((value, i) => Math.abs(value - alone[i]!)))).toBeLessThan(1e-5)
    expect(await engine.activations([longer])).not.toEqual(alone)
    await engine.close()
  })

  it('makes no numbers of lines that do not fit, and tells nobody else', async () => {
    const { engine, said } = await siteOf([OTHERS[0]!, PAIRS[0]!, OTHERS[1]!, OTHERS[2]!])
    const made = await engine.differences(engine.units.flat())
    await engine.close()
    const rows = [0, 1, 2, 3].map((at) => Array.from(made.subarray(32 * at, 32 * (at + 1))))
    expect(rows.map((row) => row.every(Number.isNaN))).toEqual([true, false, true, true])
    expect(rows[1]!.every(Number.isFinite)).toBe(true)
    expect(said).toEqual([{ event: 'engine_open', device: 'cpu' }, { event: 'units_left_out' }])
  })

  it.each([
    ['a layer that the model lacks', { activation: 'layer.2' }, 'unknown_site'],
    ['another width', { size: 31 }, 'site_mismatch'],
  ])('refuses %s', async (_, more, code) => {
    await expect(siteOf(PAIRS, more)).rejects.toMatchObject({ code })
  })

  it('is no engine of a run that trains', async () => {
    const { engine } = await siteOf(PAIRS)
    await expect(engine.evaluate(new Float32Array())).rejects.toMatchObject({ code: 'wrong_stage' })
    await engine.close()
    const lora = { kind: 'lora', rank: 1, trained: 'factor', sites: [] } as const
    const sites = [{ name: 'layer.0.ffn.up', inputs: 32, outputs: 64, scale: 1 }]
    const trains = await openEngine({ modelDir: dir, ...spec, space: { ...lora, sites } })
    await expect(trains.activations([])).rejects.toMatchObject({ code: 'wrong_stage' })
    await trains.close()
  })
})
