import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FACTOR_STEP, keptIndices, maskHash } from '../mask.ts'
import { elementsOf, type WeightTensor } from '../space.ts'
import {
  type Keep,
  keepRateAt,
  maskFromScores,
  type Order,
  overlapShare,
  PRUNING_ROUNDS,
  pruningDirection,
  randomScores,
  rankWeights,
} from './index.ts'

const refused = (code: string) => expect.objectContaining({ name: 'PruningError', code })
const tensorsOf = (scores: readonly Float32Array[]): WeightTensor[] =>
  scores.map(({ length }, t) => ({ name: `w${t}`, shape: [length] }))

interface Entry {
  readonly tensor: number
  readonly index: number
  readonly size: number
}

/** Entries by rank, the plainest way: objects and a stable sort. */
function rankedEntries(scores: readonly Float32Array[], order: Order): Entry[] {
  const entries = scores.flatMap((part, tensor) =>
    [...part].map((score, index) => ({ tensor, index, size: Math.abs(score) })),
  )
  return entries.sort((a, b) => (order === 'highest' ? b.size - a.size : a.size - b.size))
}

/** Indices that a naive implementation keeps, for each tensor. */
function naive(scores: readonly Float32Array[], { keep, order, scope }: Keep): number[][] {
  const kept = scores.map((): number[] => [])
  const groups = scope === 'global' ? [scores.map((_, t) => t)] : scores.map((_, t) => [t])
  for (const group of groups) {
    const part = rankedEntries(scores, order).filter(({ tensor }) => group.includes(tensor))
    for (const { tensor, index } of part.slice(0, Math.ceil(keep * part.length))) kept[tensor]!.push(index)
  }
  return kept.map((indices) => indices.sort((a, b) => a - b))
}

/** Few distinct numbers, so that ties are common, beside any float32 at all. */
const score = fc.oneof(
  fc.constantFrom(0, -0, 1, -1, 0.5, 2 ** -149, -(2 ** -149)),
  fc.float({ noNaN: true, noDefaultInfinity: true }),
)
const scoreLists = fc.array(
  fc.array(score, { minLength: 1, maxLength: 40 }).map((values) => Float32Array.from(values)),
  {
    minLength: 1,
    maxLength: 4,
  },
)
const keeps = fc.record({
  keep: fc.double({ min: 0, max: 1, minExcluded: true, noNaN: true }),
  order: fc.constantFrom('highest' as const, 'lowest' as const),
  scope: fc.constantFrom('global' as const, 'layer' as const),
})

describe('masks of scores', () => {
  it('keep what a stable sort keeps: exactly ceil(keep n) entries, ties by index', () => {
    fc.assert(
      fc.property(scoreLists, keeps, (scores, keep) => {
        const tensors = tensorsOf(scores)
        const { mask, space } = maskFromScores(scores, tensors, keep)
        const wanted = naive(scores, keep)
        expect(keptIndices(mask, space).map((indices) => [...indices])).toEqual(wanted)
        expect(space).toEqual({
          kind: 'pruned',
          mask: maskHash(mask),
          tensors: tensors.map((tensor, t) => ({ ...tensor, kept: wanted[t]!.length })),
        })
      }),
      { seed: 7, numRuns: 400 },
    )
  })

  it('of equal scores are the first entries, across tensors', () => {
    const scores = [new Float32Array(3).fill(2), Float32Array.of(2, -2, 9, 2)]
    const tensors = tensorsOf(scores)
    const kept = (keep: Keep) => {
      const { mask, space } = maskFromScores(scores, tensors, keep)
      return keptIndices(mask, space).map((indices) => [...indices])
    }
    expect(kept({ keep: 5 / 7, order: 'highest', scope: 'global' })).toEqual([
      [0, 1, 2],
      [0, 2],
    ])
    expect(kept({ keep: 5 / 7, order: 'lowest', scope: 'global' })).toEqual([
      [0, 1, 2],
      [0, 1],
    ])
    expect(kept({ keep: 0.5, order: 'lowest', scope: 'layer' })).toEqual([
      [0, 1],
      [0, 1],
    ])
  })

  it('find the cut among many scores that share their upper bits', () => {
    const scores = [Float32Array.from({ length: 70_000 }, (_, i) => 1 + (((i * 48_271) % 65_521) % 60_000) * 2 ** -23)]
    const { mask, space } = maskFromScores(scores, tensorsOf(scores), { keep: 0.3, order: 'lowest', scope: 'global' })
    expect([...keptIndices(mask, space)[0]!]).toEqual(naive(scores, { keep: 0.3, order: 'lowest', scope: 'global' })[0])
  })

  it.each([0, -0.1, 1.0000001, Number.NaN, Number.POSITIVE_INFINITY])('refuse a keep rate of %d', (keep) => {
    const make = () =>
      maskFromScores([Float32Array.of(1)], [{ name: 'w', shape: [1] }], { keep, order: 'highest', scope: 'global' })
    expect(make).toThrow(refused('keep_out_of_range'))
  })

  it('refuse scores that are not finite, that do not fit, or of one tensor twice', () => {
    const keep: Keep = { keep: 1, order: 'highest', scope: 'global' }
    const make = (values: number[], tensors: WeightTensor[]) => () =>
      maskFromScores(
        tensors.map(() => Float32Array.from(values)),
        tensors,
        keep,
      )
    const [w, v] = [{ name: 'w', shape: [2] } as const, { name: 'v', shape: [3] } as const]
    for (const odd of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      expect(make([1, odd], [w])).toThrow(refused('not_finite'))
    expect(make([1], [w])).toThrow(refused('wrong_length'))
    expect(make([1, 2], [w, v])).toThrow(refused('wrong_length'))
    expect(make([1, 2], [w, w])).toThrow(refused('named_twice'))
    expect(make([], [])).toThrow(refused('nothing_to_prune'))
  })
})

describe('rank weights', () => {
  it('fall from 1.2 to 0.8 with the rank, in steps that are exact', () => {
    fc.assert(
      fc.property(scoreLists, keeps, (scores, keep) => {
        const made = maskFromScores(scores, tensorsOf(scores), keep)
        const weights = rankWeights(scores, made, keep)
        const kept = naive(scores, keep)
        const all = rankedEntries(scores, keep.order).filter(({ tensor, index }) => kept[tensor]!.includes(index))
        const wanted = kept.flatMap((indices, tensor) =>
          indices.map((index) => {
            const rivals = all.filter((entry) => keep.scope === 'global' || entry.tensor === tensor)
            const rank = rivals.findIndex((entry) => entry.tensor === tensor && entry.index === index)
            return rivals.length === 1 ? 1 : Math.round(64 * (1.2 - 0.4 * (rank / (rivals.length - 1)))) / 64
          }),
        )
        expect([...weights]).toEqual(wanted)
      }),
      { seed: 11, numRuns: 200 },
    )
  })

  it('are few multiples of 1/64 with mean 1, whatever the scores', () => {
    const scores = randomScores('00c0ffee00c0ffee', 0, [{ name: 'w', shape: [100, 100] }])
    const keep: Keep = { keep: 0.5, order: 'lowest', scope: 'global' }
    const weights = rankWeights(scores, maskFromScores(scores, [{ name: 'w', shape: [100, 100] }], keep), keep)
    const levels = [...new Set(weights)].sort((a, b) => a - b)
    expect([levels.length, levels[0], levels.at(-1)]).toEqual([27, 51 / 64, 77 / 64])
    expect(levels.every((level) => Number.isInteger(level / FACTOR_STEP))).toBe(true)
    expect(weights.reduce((sum, weight) => sum + weight, 0) / weights.length).toBeCloseTo(1, 3)
  })
})

describe('keep rates of stages', () => {
  const rates = (growth: 'geometric' | 'linear', stages: number) =>
    Array.from({ length: stages }, (_, stage) => keepRateAt({ start: 0.01, end: 0.08, stages, growth }, stage))

  it('grow by a factor or by a step, and meet both ends', () => {
    expect(rates('geometric', 4)).toEqual([0.01, 0.02, 0.04, 0.08])
    expect(rates('linear', 3)).toEqual([0.01, 0.045, 0.08])
    expect(rates('geometric', 1)).toEqual([0.01])
  })

  it('refuse rates and stages that are none', () => {
    const at = (start: number, stage: number) => () => keepRateAt({ start, end: 1, stages: 2, growth: 'linear' }, stage)
    expect(at(0, 0)).toThrow(refused('keep_out_of_range'))
    expect(at(1.1, 0)).toThrow(refused('keep_out_of_range'))
    for (const stage of [-1, 2, 0.5]) expect(at(0.5, stage)).toThrow(refused('stage_out_of_range'))
  })
})

describe('public randomness of pruning', () => {
  it('makes random scores that are the same everywhere', () => {
    const tensors = [
      { name: 'a', shape: [3, 3] },
      { name: 'b', shape: [5] },
    ]
    const scores = randomScores('0123456789abcdef', 0, tensors)
    const { space } = maskFromScores(scores, tensors, { keep: 0.5, order: 'highest', scope: 'global' })
    expect(scores.map((part) => [...part.subarray(0, 2)].map((value) => value * 2 ** 24))).toEqual([
      [13192313, 7424476],
      [3523302, 4775047],
    ])
    expect(space.tensors.map(({ kept }) => kept)).toEqual([4, 3])
    expect(randomScores('0123456789abcdef', 1, tensors)).not.toEqual(scores)
    expect(scores.flatMap((part) => [...part]).every((value) => value >= 0 && value < 1)).toBe(true)
  })

  it('has directions in rounds that no run reaches, and others at each stage', () => {
    // A spec holds at most 64 stages of a million rounds; see shared/api/spec.ts.
    expect(Math.min(...Object.values(PRUNING_ROUNDS))).toBeGreaterThan(2 ** 31)
    expect(Math.max(...Object.values(PRUNING_ROUNDS))).toBeLessThan(2 ** 32)
    const ks = [0, 1, 2].flatMap((stage) => [0, 1023].map((query) => pruningDirection(stage, query)))
    expect(new Set(ks).size).toBe(ks.length)
    expect(() => pruningDirection(0, 1024)).toThrow(refused('queries_out_of_range'))
    expect(() => pruningDirection(2 ** 20, 0)).toThrow(refused('stage_out_of_range'))
  })
})

it('tells how much two masks have in common', () => {
  expect(overlapShare(Uint8Array.of(0b1111, 0), Uint8Array.of(0b0111, 1))).toBe(0.75)
  expect(overlapShare(Uint8Array.of(3), Uint8Array.of(1))).toBe(0.5)
  expect(overlapShare(new Uint8Array(2), new Uint8Array(2))).toBe(1)
  expect(() => overlapShare(new Uint8Array(1), new Uint8Array(2))).toThrow(refused('wrong_length'))
})

it('sees every entry of a space once', () => {
  const tensors = [
    { name: 'w', shape: [7, 3] },
    { name: 'v', shape: [10] },
  ]
  const { mask, space } = maskFromScores(
    tensors.map((tensor) => new Float32Array(elementsOf(tensor))),
    tensors,
    { keep: 1, order: 'highest', scope: 'global' },
  )
  expect(mask).toEqual(Uint8Array.of(255, 255, 255, 127))
  expect(space.tensors.map(({ kept }) => kept)).toEqual([21, 10])
})
