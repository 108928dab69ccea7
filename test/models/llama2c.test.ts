import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Tokenizer } from '@huggingface/tokenizers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadRuntime, SESSION_OPTIONS } from '../../gpu-worker/engine/ort.ts'
import { type Checkpoint, convertLlama2c, readCheckpoint, readPieces, type ScoredPiece } from './llama2c.ts'

const MODELS = fileURLToPath(new URL('../../../shared/models', import.meta.url))
const STORIES = [
  'Once upon a time, there was a little girl named Lily. She loved to play outside in the park.',
  'One day, a boy saw a big red ball. He wanted to play with the ball, but it was too high.',
  'The dog was happy. "Thank you!" said the dog. They played together all day.',
]
const root = mkdtempSync(join(tmpdir(), 'sotto-llama2c-'))
afterAll(() => rmSync(root, { recursive: true }))

type Vector = Float64Array

const product = (weight: Float32Array, x: Vector): Vector => {
  const columns = x.length
  return Float64Array.from({ length: weight.length / columns }, (_, row) => {
    let sum = 0
    for (let c = 0; c < columns; c++) sum += weight[row * columns + c]! * x[c]!
    return sum
  })
}

const rmsNorm = (x: Vector, weight: Float32Array): Vector => {
  const mean = x.reduce((sum, value) => sum + value * value, 0) / x.length
  return x.map((value, i) => (value / Math.sqrt(mean + 1e-5)) * weight[i]!)
}

const softmax = (x: number[]): number[] => {
  const most = Math.max(...x)
  const weights = x.map((value) => Math.exp(value - most))
  const sum = weights.reduce((a, b) => a + b)
  return weights.map((value) => value / sum)
}

/** The pairs (2 i, 2 i + 1) of every head turned by position times frequency, as llama2.c's run.c does. */
function turnPairs(x: Vector, position: number, width: number): Vector {
  const out = x.slice()
  for (let i = 0; i < x.length; i += 2) {
    const angle = position / 10_000 ** ((i % width) / width)
    out[i] = x[i]! * Math.cos(angle) - x[i + 1]! * Math.sin(angle)
    out[i + 1] = x[i]! * Math.sin(angle) + x[i + 1]! * Math.cos(angle)
  }
  return out
}

/** Mean loss of the next token, in double precision, straight from the checkpoint, one position after another. */
function referenceLoss({ size, tensors }: Checkpoint, ids: readonly number[]): number {
  const { dim, layers, heads, kvHeads } = size
  const width = dim / heads
  const of = (name: keyof Checkpoint['tensors'], layer: number) => {
    const length = tensors[name].length / layers
    return tensors[name].subarray(layer * length, (layer + 1) * length)
  }
  const cache = Array.from({ length: layers }, () => ({ keys: [] as Vector[], values: [] as Vector[] }))
  let loss = 0
  ids.slice(0, -1).forEach((id, position) => {
    let x = Float64Array.from(tensors.embedding.subarray(id * dim, (id + 1) * dim))
    for (const [layer, { keys, values }] of cache.entries()) {
      const normed = rmsNorm(x, of('rmsAtt', layer))
      const query = turnPairs(product(of('wq', layer), normed), position, width)
      keys.push(turnPairs(product(of('wk', layer), normed), position, width))
      values.push(product(of('wv', layer), normed))
      const joined = new Float64Array(dim)
      for (let head = 0; head < heads; head++) {
        const shared = Math.floor((head * kvHeads) / heads) * width
        const scores = keys.map((key) => {
          let sum = 0
          for (let i = 0; i < width; i++) sum += query[head * width + i]! * key[shared + i]!
          return sum / Math.sqrt(width)
        })
        softmax(scores).forEach((weight, at) => {
          for (let i = 0; i < width; i++) joined[head * width + i]! += weight * values[at]![shared + i]!
        })
      }
      const attended = product(of('wo', layer), joined)
      x = x.map((value, i) => value + attended[i]!)
      const inner = rmsNorm(x, of('rmsFfn', layer))
      const [gate, up] = [product(of('w1', layer), inner), product(of('w3', layer), inner)]
      const down = product(
        of('w2', layer),
        gate.map((value, i) => (value / (1 + Math.exp(-value))) * up[i]!),
      )
      x = x.map((value, i) => value + down[i]!)
    }
    const logits = product(tensors.embedding, rmsNorm(x, tensors.rmsFinal))
    loss -= Math.log(softmax([...logits])[ids[position + 1]!]!)
  })
  return loss / (ids.length - 1)
}

/** Tokens as llama2.c finds them: characters, then the best-scored joint of neighbours, again and again. */
function referenceTokens(pieces: readonly ScoredPiece[], text: string): number[] {
  const ids = new Map(pieces.map(({ piece }, id) => [piece, id]))
  const parts = [...`\u2581${text.replaceAll(' ', '\u2581')}`]
  for (;;) {
    const joints = parts.slice(1).map((part, at) => ids.get(parts[at]! + part))
    const scores = joints.map((id) => (id === undefined ? Number.NEGATIVE_INFINITY : pieces[id]!.score))
    const best = scores.indexOf(Math.max(...scores))
    if (best < 0 || joints[best] === undefined) return [1, ...parts.map((part) => ids.get(part)!)]
    parts.splice(best, 2, pieces[joints[best]!]!.piece)
  }
}

async function graphLoss(file: string, ids: readonly number[], vocabulary: number): Promise<number> {
  const runtime = await loadRuntime()
  const session = await runtime.InferenceSession.create(file, SESSION_OPTIONS)
  const tensor = (values: readonly number[]) =>
    new runtime.Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length])
  const { logits } = await session.run({ input_ids: tensor(ids), attention_mask: tensor(ids.map(() => 1)) })
  await session.release()
  const rows = logits!.data as Float32Array
  const losses = ids
    .slice(1)
    .map((id, at) => -Math.log(softmax([...rows.subarray(at * vocabulary, (at + 1) * vocabulary)])[id]!))
  return losses.reduce((a, b) => a + b) / losses.length
}

describe.each(['tinystories-llama-260k', 'babyllama-tok105-0.9m'])('%s', (name) => {
  const folder = join(MODELS, name)
  const present = existsSync(folder)
  const missing = present ? '' : ' (skipped: shared/models is not beside the repository)'
  const dir = join(root, name)
  let file: string
  let tokenizer: Tokenizer
  beforeAll(() => {
    if (!present) return
    file = convertLlama2c(folder, dir)
    const json = (part: string) => JSON.parse(readFileSync(join(dir, part), 'utf8'))
    tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'))
  })

  it.skipIf(!present)(`has the tokens of llama2.c, and text comes back from them${missing}`, () => {
    const pieces = readPieces(folder)
    for (const text of STORIES) {
      const { ids } = tokenizer.encode(text)
      expect(ids).toEqual(referenceTokens(pieces, text))
      expect(tokenizer.decode(ids, { skip_special_tokens: true })).toBe(text)
    }
  })

  it.skipIf(!present)(`predicts stories, as the checkpoint does in double precision${missing}`, async () => {
    const checkpoint = readCheckpoint(join(folder, 'checkpoint.bin'))
    const { vocabulary } = checkpoint.size
    for (const text of STORIES) {
      const { ids } = tokenizer.encode(text)
      const loss = await graphLoss(file, ids, vocabulary)
      expect(loss).toBeLessThan(Math.log(vocabulary) / 2)
      expect(Math.abs(loss - referenceLoss(checkpoint, ids))).toBeLessThan(1e-4)
    }
  })
})
