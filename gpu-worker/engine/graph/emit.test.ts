import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { zooModels } from '../../../test/models/zoo.ts'
import { loadRuntime, SESSION_OPTIONS } from '../ort.ts'
import { spill, sweep, writeGraph } from './emit.ts'
import { readGraph } from './file.ts'
import { floatsOf, placeOf } from './tensor.ts'

const root = mkdtempSync(join(tmpdir(), 'sotto-emit-'))
afterAll(() => rmSync(root, { recursive: true }))
const { dir } = zooModels().find(({ name }) => name === 'qwen2-causal-legacy-17')!

describe('a rewritten graph', () => {
  it('is a few kilobytes beside links to the weights, and gone when it is removed', async () => {
    const graph = readGraph(dir)
    expect([...graph.constants.values()].filter((tensor) => placeOf(tensor)).length).toBeGreaterThan(5)
    const written = writeGraph(graph)
    const folder = join(written.path, '..')
    const names = readdirSync(folder)
    expect(names).toContain('model.onnx')
    expect(names.some((name) => statSync(join(folder, name)).nlink > 1)).toBe(true)
    const session = await (await loadRuntime()).InferenceSession.create(written.path, SESSION_OPTIONS)
    written.remove()
    expect(existsSync(folder)).toBe(false)
    expect(session.outputNames).toContain('logits')
    await session.release()
  })

  it('keeps what was made anew in one data file, byte for byte', () => {
    const graph = readGraph(dir)
    const values = Float32Array.from({ length: 3000 }, (_, i) => i / 7)
    graph.addFloats('made', [3000], values)
    spill(graph, join(root, 'spilled'))
    const place = placeOf(graph.constants.get('made')!)
    expect(place).toMatchObject({ path: join(root, 'spilled'), length: 12_000 })
    expect(floatsOf(graph.constants.get('made')!)).toEqual(values)
  })

  it('says what to do where nothing can be written', () => {
    const { TMPDIR } = process.env
    try {
      writeFileSync(join(root, 'file'), '')
      process.env.TMPDIR = join(root, 'file')
      expect(() => writeGraph(readGraph(dir))).toThrow(expect.objectContaining({ code: 'no_room' }))
    } finally {
      if (TMPDIR === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = TMPDIR
    }
  })
})

it('removes what killed processes left behind a day ago, and nothing else', () => {
  const place = join(root, 'place')
  mkdirSync(place)
  const dead = 2 ** 22 + 1
  const [old, fresh, own, other] = [
    `.sotto-graph-${dead}-a`,
    `.sotto-graph-${dead}-b`,
    `.sotto-graph-${process.pid}-c`,
    'else',
  ]
  const before = new Date(Date.now() - 2 * 24 * 3600 * 1000)
  for (const name of [old, fresh, own, other]) {
    mkdirSync(join(place, name!))
    if (name !== fresh) utimesSync(join(place, name!), before, before)
  }
  sweep(place)
  expect(readdirSync(place).sort()).toEqual([fresh, own, other].sort())
})
