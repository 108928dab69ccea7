import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadRuntime, type Runtime, SESSION_OPTIONS } from '../../../gpu-worker/engine/ort.ts'
import { writeDecoder, writeEncoder } from './index.ts'

const size = { layers: 2, hidden: 32, heads: 4, intermediate: 64, vocabulary: 200, positions: 64, seed: 7 }
const models = {
  'a BERT sequence classifier': (dir: string, changes = {}) => writeEncoder(dir, { ...size, classes: 3, ...changes }),
  'a BERT masked language model': (dir: string, changes = {}) => writeEncoder(dir, { ...size, ...changes }),
  'a Llama with shared heads': (dir: string, changes = {}) =>
    writeDecoder(dir, { ...size, form: 'rotary', kvHeads: 2, tied: false, ...changes }),
  'an OPT': (dir: string, changes = {}) => writeDecoder(dir, { ...size, form: 'learned', ...changes }),
}
const root = mkdtempSync(join(tmpdir(), 'sotto-build-'))
afterAll(() => rmSync(root, { recursive: true }))
let folders = 0
const folder = () => join(root, String(folders++))

/** One hash over names and bytes of all files of a folder. */
function hashOf(dir: string): string {
  const hash = createHash('sha256')
  for (const name of readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort()) {
    if (statSync(join(dir, name)).isDirectory()) continue
    hash.update(name).update(readFileSync(join(dir, name)))
  }
  return hash.digest('hex')
}

let runtime: Runtime
beforeAll(async () => {
  runtime = await loadRuntime()
})

/** Logits of one batch; every row of `ids` as long as the others. */
async function logits(file: string, ids: readonly (readonly number[])[], present: number): Promise<Float32Array> {
  const session = await runtime.InferenceSession.create(file, SESSION_OPTIONS)
  const dims = [ids.length, ids[0]!.length]
  const rows: Record<string, number[]> = {
    input_ids: ids.flat(),
    attention_mask: ids.flatMap((row) => row.map((_, at) => (at < present ? 1 : 0))),
    token_type_ids: ids.flat().map(() => 0),
  }
  const feeds = Object.fromEntries(
    session.inputNames.map((name) => [
      name,
      new runtime.Tensor('int64', BigInt64Array.from(rows[name]!, BigInt), dims),
    ]),
  )
  const { data } = (await session.run(feeds)).logits!
  await session.release()
  return data as Float32Array
}

describe.each(Object.entries(models))('%s', (_, write) => {
  it('is the same bytes for a seed, others for another', () => {
    const hashes = [{}, {}, { seed: 8 }].map((changes) => {
      const dir = folder()
      write(dir, changes)
      return hashOf(dir)
    })
    expect(hashes[1]).toBe(hashes[0])
    expect(hashes[2]).not.toBe(hashes[0])
  })

  it('runs, with the same logits where the weights lie outside', async () => {
    const ids = [
      [5, 9, 30, 61, 7, 12],
      [5, 8, 44, 199, 0, 1],
    ]
    const inside = await logits(write(folder()), ids, 6)
    const outside = await logits(write(folder(), { externalData: true }), ids, 6)
    expect(outside).toEqual(inside)
    expect(inside.every(Number.isFinite)).toBe(true)
    const mean = inside.reduce((sum, value) => sum + value * value, 0) / inside.length
    expect(mean).toBeGreaterThan(0.05)
    expect(mean).toBeLessThan(4)
  })

  it('reads no padding', async () => {
    const file = write(folder())
    const present = [5, 9, 30, 61]
    const short = await logits(file, [present], 4)
    const padded = await logits(file, [[...present, 17, 18]], 4)
    for (const [at, value] of short.entries()) expect(padded[at]).toBeCloseTo(value, 4)
  })

  it('has a tokenizer within its vocabulary, whose text comes back', () => {
    const dir = folder()
    write(dir)
    const json = (file: string) => JSON.parse(readFileSync(join(dir, file), 'utf8'))
    const tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'))
    const text = 'the dog and a zebra'
    const { ids } = tokenizer.encode(text)
    expect(ids.length).toBeGreaterThan(5)
    expect(Math.max(...ids)).toBeLessThan(json('config.json').vocab_size)
    expect(tokenizer.decode(ids, { skip_special_tokens: true })).toBe(text)
  })
})

it('lets a decoder read the past alone', async () => {
  for (const write of [models['a Llama with shared heads'], models['an OPT']]) {
    const file = write(folder())
    const one = await logits(file, [[5, 9, 30, 61, 7]], 5)
    const other = await logits(file, [[5, 9, 30, 62, 7]], 5)
    const row = (values: Float32Array, at: number) => values.slice(at * size.vocabulary, (at + 1) * size.vocabulary)
    expect(row(other, 2)).toEqual(row(one, 2))
    expect(row(other, 3)).not.toEqual(row(one, 3))
    expect(row(other, 4)).not.toEqual(row(one, 4))
  }
})
