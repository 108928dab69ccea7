import { describe, expect, it } from 'vitest'
import { smallRequest } from '../../test/rehearsal/request.ts'
import { envelopeOf, leaseSchema, promptClassificationSchema, runRequestSchema, stageSchema } from './index.ts'

const small = smallRequest({ model: 'a'.repeat(64), datasets: ['north'] })
const takes = (change: object) => runRequestSchema.safeParse({ ...small, ...change }).success
const [stage] = small.stages
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
    const whole = { ...runRequestSchema.parse(small).stages[0], grid: 1, noiseMultiplier: 1 }
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
  const { labels: _, ...task } = small.task
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

describe('a lease', () => {
  it('is of a round from 0 on', () => {
    const { round, attempt } = leaseSchema.shape
    for (const schema of [round, attempt]) {
      expect([schema.safeParse(0).success, schema.safeParse(-1).success]).toEqual([true, false])
    }
  })
})

describe('what a run may ever charge', () => {
  const stage = { noiseMultiplier: 1, samplingRate: 0.1, rounds: 60 }
  const counts = (stages: (typeof stage)[], spareCharges: number) =>
    envelopeOf({ stages, spareCharges }).map(({ event, count }) => [event.noiseMultiplier, count])

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
