import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PromptClassification, SequenceClassification } from '../../../shared/api/task.ts'
import { type EngineErrorCode, isLineFault } from '../error.ts'
import type { EncodedRecord } from './record.ts'
import { prepareTask } from './task.ts'
import { codeOf, decoderFiles, folderOf, idsOf } from './test-models.ts'
import { loadTokenizer } from './tokenizer.ts'

const modelDir = new URL('../../../demo/model/spam-encoder', import.meta.url).pathname
const task: PromptClassification = {
  kind: 'prompt-classification',
  template: 'about {mask} : {text}',
  labels: { ham: 'work', spam: 'money' },
  maxTokens: 32,
  buckets: [16, 32],
}
const tokenizer = loadTokenizer(modelDir)
const prompt = prepareTask(task, tokenizer)
const vocabulary: Record<string, number> = JSON.parse(readFileSync(join(modelDir, 'tokenizer.json'), 'utf8')).model
  .vocab
const tokens = (...names: string[]): number[] => names.map((name) => vocabulary[name]!)
const [mask, separator] = tokens('[MASK]', '[SEP]') as [number, number]
const maskPosition = ({ positions }: EncodedRecord): number => positions[0]!

describe('a prompt', () => {
  it('puts template, text and special tokens in order', () => {
    const record = prompt.encode({ text: 'free money', label: 'spam' })
    const { ids, bucket, targets, weights } = record
    expect([...ids]).toEqual(tokens('[CLS]', 'about', '[MASK]', ':', 'free', 'money', '[SEP]'))
    expect({ at: maskPosition(record), bucket }).toEqual({ at: 2, bucket: 16 })
    expect([[...targets], [...weights]]).toEqual([[1], [1]])
  })

  it('cuts the end of a long text, never the mask or the special tokens', () => {
    const record = prompt.encode({ text: 'money '.repeat(500) })
    const { ids, bucket } = record
    expect({ length: ids.length, bucket, last: ids.at(-1) }).toEqual({ length: 32, bucket: 32, last: separator })
    expect(ids[maskPosition(record)]).toBe(mask)
  })

  it('keeps a mask that stands behind the text', () => {
    const behind = prepareTask({ ...task, template: '{text} is about {mask} .' }, tokenizer)
    for (const text of ['money', 'money '.repeat(500), '']) {
      const record = behind.encode({ text })
      const { ids } = record
      expect([...ids.slice(-5)]).toEqual(tokens('is', 'about', '[MASK]', '.', '[SEP]'))
      expect(ids[maskPosition(record)]).toBe(mask)
    }
  })

  it('reads special tokens in a text as plain characters', () => {
    const { ids } = prompt.encode({ text: '[MASK] money [SEP] [CLS] [PAD]' })
    expect(ids.filter((id) => id === mask)).toHaveLength(1)
    expect(ids.filter((id) => id === separator)).toHaveLength(1)
    expect(ids.indexOf(0)).toBe(-1)
  })

  it('takes an empty text, and pads to the smallest bucket that holds a record', () => {
    expect(prompt.encode({ text: '' }).ids).toHaveLength(5)
    for (let words = 0; words < 40; words++) {
      const { ids, bucket } = prompt.encode({ text: 'money '.repeat(words) })
      expect(bucket).toBe(ids.length <= 16 ? 16 : 32)
    }
  })

  it('knows the token of each label word in the order of the labels', () => {
    expect(prompt.outputs).toEqual({ kind: 'rows', tokens: tokens('work', 'money') })
    expect(['ham', 'spam'].map((label) => prompt.encode({ text: '', label }).targets[0])).toEqual([0, 1])
    expect(prompt.positionsOf(16)).toBe(1)
  })

  it('makes of a text without label a loss that is no number', () => {
    expect(prompt.encode({ text: 'free money' }).weights).toEqual(Float32Array.of(Number.NaN))
  })

  it.each(['PRIVATE-8f1c', '__proto__', 'constructor'])('knows no label %s and does not repeat it', (label) => {
    const encode = () => prompt.encode({ text: 'x', label })
    expect(codeOf(encode)).toBe('unknown_label')
    expect(encode).not.toThrow(label)
    expect(encode).toThrow(expect.toSatisfy(isLineFault))
  })

  it('takes no line of another form', () => {
    expect(codeOf(() => prompt.encode({ prompt: 'a', completion: 'b' }))).toBe('wrong_form')
  })

  it.each([
    ['label_not_one_token', { labels: { ham: 'work', spam: 'moneymoneyxq' } }],
    ['label_not_one_token', { labels: { ham: 'work', spam: '☃' } }],
    ['labels_share_token', { labels: { ham: 'work', spam: 'Work' } }],
    ['template_too_long', { template: `${'money '.repeat(40)} {mask} {text}` }],
    ['bucket_too_long', { maxTokens: 4096, buckets: [4096] }],
    ['no_mask_token', { template: '[MASK] {mask} {text}' }],
  ] satisfies [EngineErrorCode, Partial<PromptClassification>][])('refuses a task with %s', (code, change) => {
    expect(codeOf(() => prepareTask({ ...task, ...(change as Partial<PromptClassification>) }, tokenizer))).toBe(code)
  })
})

describe('a text to classify', () => {
  const sequence: SequenceClassification = {
    kind: 'sequence-classification',
    labels: { ham: 1, spam: 0 },
    maxTokens: 16,
    buckets: [8, 16],
  }
  const { encode, outputs, positionsOf } = prepareTask(sequence, tokenizer)

  it('stands between the special tokens, cut at its end', () => {
    expect([...encode({ text: 'free money' }).ids]).toEqual(tokens('[CLS]', 'free', 'money', '[SEP]'))
    const { ids, bucket } = encode({ text: 'money '.repeat(500) })
    expect({ length: ids.length, bucket, first: ids[0], last: ids.at(-1) }).toEqual({
      length: 16,
      bucket: 16,
      first: vocabulary['[CLS]'],
      last: separator,
    })
  })

  it('has the class of its label at the one row there is', () => {
    const { positions, targets, weights } = encode({ text: 'free', label: 'ham' })
    expect([positions, targets, weights]).toEqual([Int32Array.of(0), Int32Array.of(1), Float32Array.of(1)])
    expect(positionsOf(16)).toBe(1)
    expect(codeOf(() => encode({ text: 'free', label: 'other' }))).toBe('unknown_label')
  })

  it('holds no special token of its own', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('[MASK]', '[SEP]', '[CLS]', '[PAD]', ' ', 'a', '[', ']')), (parts) => {
        const [, ...body] = encode({ text: parts.join('') }).ids.slice(0, -1)
        expect(body.filter((id) => [mask, separator, vocabulary['[CLS]'], vocabulary['[PAD]']].includes(id))).toEqual(
          [],
        )
      }),
    )
  })

  const folder = (config: object) => {
    const files = decoderFiles()
    return loadTokenizer(folderOf({ ...files, 'config.json': { ...files['config.json'], ...config } }))
  }
  const three = { id2label: { 0: 'a', 1: 'b', 2: 'c' }, pad_token_id: 1 }

  it('has as many classes as the model says', () => {
    expect(outputs).toEqual({ kind: 'classes', count: 2 })
    expect(prepareTask(sequence, folder(three)).outputs).toEqual({ kind: 'classes', count: 3 })
  })

  it('is refused where the head lacks a class, or the model can not find its end', () => {
    const wide = { ...sequence, labels: { ham: 0, spam: 3 } }
    expect(codeOf(() => prepareTask(wide, folder(three)))).toBe('class_out_of_range')
    expect(codeOf(() => prepareTask(sequence, folder({ pad_token_id: null })))).toBe('no_pad_token')
  })

  it('is nothing where it has no token', () => {
    const files = decoderFiles()
    const bare = { ...files['tokenizer.json'], post_processor: null }
    const model = loadTokenizer(
      folderOf({ ...files, 'tokenizer.json': bare, 'config.json': { ...files['config.json'], ...three } }),
    )
    const prepared = prepareTask(sequence, model)
    expect(codeOf(() => prepared.encode({ text: '' }))).toBe('empty_text')
    expect([...prepared.encode({ text: 'c' }).ids]).toEqual(idsOf('c'))
  })
})
