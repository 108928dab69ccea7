import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { afterAll, describe, expect, it } from 'vitest'
import type { Space } from '../../../shared/zo/index.ts'
import { changedEncoder, insertedInto, TRAINED, WIDTH } from '../../../test/models/inserted.ts'
import { zooModels } from '../../../test/models/zoo.ts'
import { inspectModel, openEngine } from '../index.ts'
import { makeNode } from '../normalise/node.ts'
import { ModelProtoSchema } from '../onnx/onnx_pb.ts'
import { readGraph } from './file.ts'
import { floatsOf, floatTensor, intTensor } from './tensor.ts'

const seed = '0123456789abcdef'
const root = mkdtempSync(join(tmpdir(), 'sotto-head-'))
afterAll(() => rmSync(root, { recursive: true }))

async function logitsOf(
  modelDir: string,
  made: { space: Space; labels: Record<string, string>; text: string; center: Float32Array },
): Promise<number[]> {
  const task = {
    kind: 'prompt-classification' as const,
    template: 'about {mask} : {text}',
    labels: made.labels,
    maxTokens: 32,
    buckets: [32],
  }
  const engine = await openEngine({ modelDir, task, space: made.space, seed })
  const record = engine.encode({ text: made.text, label: Object.keys(made.labels)[0]! })
  const logits = await engine.logits([record], made.center)
  await engine.close()
  return Array.from(logits)
}

/** A copy of a model with one of its weights moved. */
function moved(dir: string, name: string, shape: readonly number[], by: Float32Array): string {
  const copy = mkdtempSync(join(root, 'moved-'))
  cpSync(dir, copy, { recursive: true })
  const path = join(copy, 'onnx', 'model.onnx')
  const model = fromBinary(ModelProtoSchema, readFileSync(path))
  const values = floatsOf(readGraph(dir).constants.get(name)!)
  for (const [i, change] of by.entries()) values[i]! += change
  const at = model.graph!.initializer.findIndex((tensor) => tensor.name === name)
  model.graph!.initializer[at] = floatTensor(name, shape, values)
  writeFileSync(path, toBinary(ModelProtoSchema, model))
  return copy
}

describe('label words, where the head itself is trained', () => {
  const model = zooModels().find(({ name }) => name === 'bert-masked-optimum-14')!
  const vocabulary = Object.keys(JSON.parse(readFileSync(join(model.dir, 'tokenizer.json'), 'utf8')).model.vocab)
  const words = vocabulary.filter((word) => /^[a-z]+$/.test(word))
  const labels = { one: words[0]!, two: words[1]! }
  const text = words.slice(2, 7).join(' ')

  it.each(['bert.embeddings.word_embeddings.weight', 'cls.predictions.bias'])(
    'have the logits of the model that has the trained weight: %s',
    async (name) => {
      const { shape, parameters } = (await inspectModel(model.dir)).weights.find((weight) => weight.name === name)!
      const space: Space = { kind: 'full', directions: { kind: 'dense' }, tensors: [{ name, shape }] }
      const change = Float32Array.from({ length: parameters }, (_, i) => 0.05 * Math.sin(i * 1.3))
      const none = new Float32Array(parameters)
      const before = await logitsOf(model.dir, { space, labels, text, center: none })
      const trained = await logitsOf(model.dir, { space, labels, text, center: change })
      const written = moved(model.dir, name, shape, change)
      const expected = await logitsOf(written, { space, labels, text, center: none })
      for (const [i, logit] of trained.entries()) expect(logit).toBeCloseTo(expected[i]!, 4)
      expect(Math.abs(trained[0]! - before[0]!)).toBeGreaterThan(1e-3)
    },
  )
})

describe('what stands behind the head', () => {
  const space: Space = { kind: 'full', directions: { kind: 'dense' }, tensors: [TRAINED] }
  const labels = { ham: 'work', spam: 'money' }
  const made = { space, labels, text: 'free price today', center: new Float32Array(WIDTH) }

  it('is not skipped where it changes which logit is which', async () => {
    const turned = (...behind: readonly (readonly [string, string, string])[]) =>
      changedEncoder((graph) => {
        graph.node.at(-1)!.output = ['raw']
        const tokens = 6144
        graph.initializer.push(
          intTensor(
            'turned',
            Array.from({ length: tokens }, (_, token) => tokens - 1 - token),
          ),
        )
        const last = behind.length === 0 ? 'logits' : 'picked'
        graph.node.push(makeNode('Gather', ['raw', 'turned'], [last], { name: 'pick', attributes: { axis: 2 } }))
        for (const [operator, from, to] of behind) graph.node.push(makeNode(operator, [from], [to], { name: to }))
      })
    const plain = await logitsOf(insertedInto({ nodes: [['Identity', ['h'], ['y']]] }), made)
    const direct = await logitsOf(turned(), made)
    // The same numbers, in a form that no shortcut is taken for.
    const around = await logitsOf(turned(['Neg', 'picked', 'negative'], ['Neg', 'negative', 'logits']), made)
    for (const [i, logit] of direct.entries()) expect(logit).toBeCloseTo(around[i]!, 5)
    expect(Math.abs(direct[0]! - plain[0]!)).toBeGreaterThan(0.1)
  })

  it('and before it, a size that depends on the text is refused by the node that makes it', async () => {
    const counted = insertedInto({
      nodes: [
        ['NonZero', ['attention_mask'], ['z']],
        ['Shape', ['z'], ['n'], { start: 1, end: 2 }],
        ['Cast', ['n'], ['f'], { to: 1 }],
        ['Mul', ['f', 'k'], ['g']],
        ['Mul', ['h', 'g'], ['y']],
      ],
      floats: { k: [[], [1 / 32]] },
    })
    await expect(logitsOf(counted, made)).rejects.toMatchObject({
      code: 'unsupported_graph',
      message: expect.stringMatching(/inserted0 \(NonZero\).*size/),
    })
  })
})
