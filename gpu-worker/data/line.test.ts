import { describe, expect, it } from 'vitest'
import type { Task } from '../../shared/api/task.ts'
import { type DataLine, formOf, lineFor, sidesOf } from './index.ts'

const lengths = { maxTokens: 16, buckets: [16] }
const causal = { kind: 'causal-lm' as const, maxCompletionTokens: 8, ...lengths }
const tasks = {
  prompt: { kind: 'prompt-classification', template: '{text} {mask}', labels: { a: 'x', b: 'y' }, ...lengths },
  sequence: { kind: 'sequence-classification', labels: { a: 0, b: 1 }, ...lengths },
  completion: { ...causal, format: 'completion', appendEnd: true },
  messages: { ...causal, format: 'messages' },
  pairs: { kind: 'preference-pairs', maxCompletionTokens: 8, ...lengths },
} satisfies Record<string, Task>

const text = { text: 't', label: 'a' }
const completion = { prompt: 'p', completion: 'c' }
const preference = { prompt: 'p', chosen: 'c', rejected: 'r' }
const messages = { messages: [{ role: 'assistant', content: 'm' }] }
const all: DataLine = { ...text, ...completion, ...messages }

describe('a line for a task', () => {
  it.each([
    ['prompt', 'text', text],
    ['sequence', 'text', text],
    ['completion', 'completion', completion],
    ['messages', 'messages', messages],
  ] as const)('of %s is what it has in the form %s', (name, form, line) => {
    expect(formOf(tasks[name])).toBe(form)
    expect(lineFor(tasks[name], all)).toEqual(line)
  })

  it.each([
    ['prompt', { ...completion, ...messages }],
    ['sequence', { ...completion, ...messages }],
    ['completion', { ...text, ...messages }],
    ['messages', { ...text, ...completion }],
  ] as const)('of %s is none where it lacks that form', (name, line) => {
    expect(lineFor(tasks[name], line)).toBe(null)
  })

  it('of pairs is two completions of one prompt', () => {
    expect(formOf(tasks.pairs)).toBe('preference')
    expect(lineFor(tasks.pairs, preference)).toBe(null)
    expect(sidesOf({ ...preference, ...text })).toEqual([
      { prompt: 'p', completion: 'c' },
      { prompt: 'p', completion: 'r' },
    ])
    for (const half of [completion, { prompt: 'p', chosen: 'c' }, { chosen: 'c', rejected: 'r' }, text])
      expect(sidesOf(half)).toBe(null)
  })

  it('may be of empty texts', () => {
    expect(lineFor(tasks.completion, { prompt: '', completion: '' })).toEqual({ prompt: '', completion: '' })
  })
})
