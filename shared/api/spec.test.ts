import { describe, expect, it } from 'vitest'
import { smallRequest } from '../../test/rehearsal/request.ts'
import {
  envelopeOf,
  type PromptClassification,
  promptClassificationSchema,
  roundLeaseSchema,
  runRequestSchema,
  stageSchema,
  taskSchema,
} from './index.ts'

const small = smallRequest({ model: 'a'.repeat(64), datasets: ['north'] })
const takes = (change: object) => runRequestSchema.safeParse({ ...small, ...change }).success
const [stage] = small.stages!
const site = { name: 'one', inputs: 8, outputs: 8, scale: 1 }

describe('the numbers of a request', () => {
  it.each([
    ['learningRate', [1e6], [1e6 + 1, 0, Number.POSITIVE_INFINITY]],
    ['radius', [1e6], [1e6 + 1, 0, Number.POSITIVE_INFINITY]],
    ['clip', [1e6], [1e6 + 1, 0, Number.POSITIVE_INFINITY]],
    ['grid', [1e6], [1e6 + 1, 0, Number.POSITIVE_INFINITY]],
    ['prox', [0, 1e6], [1e6 + 1, -1, Number.POSITIVE_INFINITY]],
    ['noiseMultiplier', [1e6], [1e6 + 1, 0, Number.POSITIVE_INFINITY]],
    ['lossBound', [1000], [1001, 0, Number.POSITIVE_INFINITY]],
    ['lossShare', [0, 0.01, 0.99], [0.009, 0.991, -0.1, 1, 5e-324]],
  ])('%s: takes %j and refuses %j', (name, good, bad) => {
    const whole = { ...runRequestSchema.parse(small).stages![0], grid: 1, noiseMultiplier: 1 }
    for (const [values, expected] of [[good, true] as const, [bad, false] as const]) {
      for (const value of values) {
        expect(takes({ stages: [{ ...stage, [name]: value }] }), `asked ${value}`).toBe(expected)
        expect(stageSchema.safeParse({ ...whole, [name]: value }).success, `planned ${value}`).toBe(expected)
      }
    }
  })

  it('takes a delta of at most one in a hundred', () => {
    expect(takes({ budget: { epsilon: 1, delta: 0.01 } })).toBe(true)
    expect(takes({ budget: { epsilon: 1, delta: 0.011 } })).toBe(false)
  })

  it('takes a scale of a site up to 1e6', () => {
    expect(takes({ space: { kind: 'lora', rank: 1, sites: [{ ...site, scale: 1e6 }] } })).toBe(true)
    expect(takes({ space: { kind: 'lora', rank: 1, sites: [{ ...site, scale: 1e7 }] } })).toBe(false)
  })

  it('takes 2^27 trained coordinates and no more', () => {
    const wide = [1, 2].map((n) => ({ ...site, name: `wide.${n}`, inputs: 2 ** 20 }))
    expect(takes({ space: { kind: 'lora', rank: 64, sites: wide } })).toBe(true)
    expect(takes({ space: { kind: 'lora', rank: 64, sites: [...wide, { ...site, inputs: 1 }] } })).toBe(false)
  })
})

describe('labels', () => {
  const { labels: _, ...task } = small.task as PromptClassification
  const parse = (labels: string) =>
    promptClassificationSchema.safeParse({ ...task, labels: JSON.parse(labels) as unknown })

  it('are taken as they are', () => {
    expect(parse('{"a":"x","constructor":"y"}').data?.labels).toEqual({ a: 'x', constructor: 'y' })
  })

  it('may not be named __proto__, which would vanish', () => {
    expect(parse('{"a":"x","b":"y","__proto__":"z"}').error?.issues[0]?.path).toEqual(['labels'])
  })

  it.each(['{"a":"x"}', '{"a":"x","b":1}', '{"a":"x","":"y"}', 'null', '3', '[]'])('are refused as %s', (labels) => {
    expect(parse(labels).success).toBe(false)
  })
})

describe('a task', () => {
  const lengths = { maxTokens: 32, buckets: [16, 32] }
  const sequence = { kind: 'sequence-classification', labels: { a: 0, b: 2 }, ...lengths }
  const completion = { kind: 'causal-lm', format: 'completion', maxCompletionTokens: 8, appendEnd: false, ...lengths }
  const { appendEnd: _, ...messages } = { ...completion, format: 'messages' }
  const accepts = (task: object) => taskSchema.safeParse(task).success && takes({ task })

  it.each([
    ['sequence classification', sequence],
    ['completions', completion],
    ['messages', messages],
  ])('may be of %s, as it is', (_, task) => {
    expect(taskSchema.parse(task)).toEqual(task)
    expect(takes({ task })).toBe(true)
  })

  it('of completions ends them, where it does not say otherwise', () => {
    const { appendEnd: _, ...silent } = completion
    expect(taskSchema.parse(silent)).toEqual({ ...silent, appendEnd: true })
  })

  it.each([
    ['two labels of one class', { ...sequence, labels: { a: 1, b: 1 } }],
    ['a class below 0', { ...sequence, labels: { a: -1, b: 1 } }],
    ['a word for a class', { ...sequence, labels: { a: 'x', b: 'y' } }],
    ['one label', { ...sequence, labels: { a: 0 } }],
    ['labels that vanish', { ...sequence, labels: JSON.parse('{"a":0,"b":1,"__proto__":2}') }],
    ['buckets that do not ascend', { ...completion, buckets: [16, 16, 32] }],
    ['buckets that end elsewhere', { ...messages, buckets: [16] }],
    ['no room for a prompt', { ...messages, maxCompletionTokens: 32 }],
    ['messages with an end of their own', { ...messages, appendEnd: true }],
    ['no format', { ...completion, format: undefined }],
    ['a format of another kind', { ...sequence, format: 'messages' }],
    ['an unknown kind', { ...sequence, kind: 'regression' }],
    ['a field of another kind', { ...messages, labels: { a: 0, b: 1 } }],
  ])('may not have %s', (_, task) => {
    expect(accepts(task)).toBe(false)
  })
})

describe('a lease', () => {
  it('is of a round from 0 on', () => {
    const { round, attempt } = roundLeaseSchema.shape
    for (const schema of [round, attempt]) {
      expect([schema.safeParse(0).success, schema.safeParse(-1).success]).toEqual([true, false])
    }
  })
})

describe('what a run may ever charge', () => {
  const stage = { noiseMultiplier: 1, samplingRate: 0.1, rounds: 60 }
  const counts = (stages: (typeof stage)[], spareCharges: number) =>
    envelopeOf({ noise: 'gaussian', stages, spareCharges }).map(({ event, count }) => [event.noiseMultiplier, count])

  it('is its schedule and all spares, where its stages release by one mechanism', () => {
    expect(counts([stage, { ...stage, rounds: 40 }], 7)).toEqual([[1, 107]])
    expect(counts([stage], 0)).toEqual([[1, 60]])
  })

  it('shares the spares out by rounds among several, a few for each', () => {
    const [most, least] = [
      { ...stage, rounds: 180 },
      { ...stage, noiseMultiplier: 2, rounds: 20 },
    ]
    expect(counts([most, least], 30)).toEqual([
      [1, 207],
      [2, 24],
    ])
    expect(counts([most, least], 2)).toEqual([
      [1, 182],
      [2, 22],
    ])
  })
})
