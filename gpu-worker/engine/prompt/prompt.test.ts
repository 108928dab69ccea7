import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Task } from '../../../shared/api/spec.ts'
import { EngineError, type EngineErrorCode } from '../error.ts'
import { preparePrompt } from './prompt.ts'
import { loadTokenizer } from './tokenizer.ts'

const modelDir = new URL('../../../demo/model/spam-encoder', import.meta.url).pathname
const task: Task = {
  kind: 'prompt-classification',
  template: 'about {mask} : {text}',
  labels: { ham: 'work', spam: 'money' },
  maxTokens: 32,
  buckets: [16, 32],
}
const tokenizer = loadTokenizer(modelDir)
const prompt = preparePrompt(task, tokenizer)
const vocabulary: Record<string, number> = JSON.parse(readFileSync(join(modelDir, 'tokenizer.json'), 'utf8')).model
  .vocab
const tokens = (...names: string[]): number[] => names.map((name) => vocabulary[name]!)
const [mask, separator] = tokens('[MASK]', '[SEP]') as [number, number]

function codeOf(action: () => unknown): EngineErrorCode | undefined {
  try {
    action()
  } catch (error) {
    return error instanceof EngineError ? error.code : undefined
  }
  return undefined
}

/** A copy of the model folder's texts, changed. */
function changed(change: (folder: string) => void): string {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-tokenizer-'))
  for (const file of ['tokenizer.json', 'tokenizer_config.json', 'config.json'])
    cpSync(join(modelDir, file), join(folder, file))
  change(folder)
  return folder
}

function edited(folder: string, file: string, edit: (value: Record<string, unknown>) => void): void {
  const path = join(folder, file)
  const value = JSON.parse(readFileSync(path, 'utf8'))
  edit(value)
  writeFileSync(path, JSON.stringify(value))
}

describe('a prompt', () => {
  it('puts template, text and special tokens in order', () => {
    const { ids, maskPosition, bucket } = prompt.encode('free money')
    expect([...ids]).toEqual(tokens('[CLS]', 'about', '[MASK]', ':', 'free', 'money', '[SEP]'))
    expect({ maskPosition, bucket }).toEqual({ maskPosition: 2, bucket: 16 })
  })

  it('cuts the end of a long text, never the mask or the special tokens', () => {
    const { ids, maskPosition, bucket } = prompt.encode('money '.repeat(500))
    expect({ length: ids.length, bucket, last: ids.at(-1) }).toEqual({ length: 32, bucket: 32, last: separator })
    expect(ids[maskPosition]).toBe(mask)
  })

  it('keeps a mask that stands behind the text', () => {
    const behind = preparePrompt({ ...task, template: '{text} is about {mask} .' }, tokenizer)
    for (const text of ['money', 'money '.repeat(500), '']) {
      const { ids, maskPosition } = behind.encode(text)
      expect([...ids.slice(-5)]).toEqual(tokens('is', 'about', '[MASK]', '.', '[SEP]'))
      expect(ids[maskPosition]).toBe(mask)
    }
  })

  it('reads special tokens in a text as plain characters', () => {
    const { ids } = prompt.encode('[MASK] money [SEP] [CLS] [PAD]')
    expect(ids.filter((id) => id === mask)).toHaveLength(1)
    expect(ids.filter((id) => id === separator)).toHaveLength(1)
    expect(ids.indexOf(0)).toBe(-1)
  })

  it('takes an empty text, and pads to the smallest bucket that holds a record', () => {
    expect(prompt.encode('').ids).toHaveLength(5)
    for (let words = 0; words < 40; words++) {
      const { ids, bucket } = prompt.encode('money '.repeat(words))
      expect(bucket).toBe(ids.length <= 16 ? 16 : 32)
    }
  })

  it('knows the token of each label word in the order of the labels', () => {
    expect(prompt.labelTokens).toEqual(tokens('work', 'money'))
    expect([prompt.labelIndex('ham'), prompt.labelIndex('spam')]).toEqual([0, 1])
  })

  it('does not repeat a label it does not know', () => {
    expect(() => prompt.labelIndex('PRIVATE-8f1c')).toThrow(expect.objectContaining({ code: 'unknown_label' }))
    expect(() => prompt.labelIndex('PRIVATE-8f1c')).not.toThrow(/PRIVATE/)
  })

  it.each([
    ['label_not_one_token', { labels: { ham: 'work', spam: 'moneymoneyxq' } }],
    ['label_not_one_token', { labels: { ham: 'work', spam: '☃' } }],
    ['labels_share_token', { labels: { ham: 'work', spam: 'Work' } }],
    ['template_too_long', { template: `${'money '.repeat(40)} {mask} {text}` }],
    ['bucket_too_long', { maxTokens: 4096, buckets: [4096] }],
    ['no_mask_token', { template: '[MASK] {mask} {text}' }],
  ] satisfies [EngineErrorCode, Partial<Task>][])('refuses a task with %s', (code, change) => {
    expect(codeOf(() => preparePrompt({ ...task, ...(change as Partial<Task>) }, tokenizer))).toBe(code)
  })
})

describe('a model folder', () => {
  it('needs a tokenizer', () => {
    expect(codeOf(() => loadTokenizer(changed((folder) => rmSync(join(folder, 'tokenizer.json')))))).toBe(
      'missing_tokenizer',
    )
  })

  it('needs a mask token', () => {
    const folder = changed((copy) => {
      edited(copy, 'tokenizer_config.json', (config) => delete config.mask_token)
      edited(copy, 'tokenizer.json', (file) => {
        file.added_tokens = []
      })
    })
    expect(codeOf(() => loadTokenizer(folder))).toBe('no_mask_token')
  })

  it('needs readable files', () => {
    const folder = changed((copy) => writeFileSync(join(copy, 'tokenizer.json'), '{'))
    expect(codeOf(() => loadTokenizer(folder))).toBe('unsupported_tokenizer')
  })

  it('may do without a tokenizer_config.json', () => {
    const folder = changed((copy) => rmSync(join(copy, 'tokenizer_config.json')))
    expect(preparePrompt(task, loadTokenizer(folder)).encode('free money')).toEqual(prompt.encode('free money'))
  })
})
