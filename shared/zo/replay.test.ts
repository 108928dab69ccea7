import { describe, expect, it } from 'vitest'
import vectors from '../../test/vectors/direction.json' with { type: 'json' }
import { direction } from './direction.ts'
import { advance, ReplayError, type ReplaySpec, replay, replayStart } from './replay.ts'
import { reportLength, type Stage, stageOf, totalRounds } from './schedule.ts'
import { type LoraSpace, spaceDimension } from './space.ts'
import { initialState, stateBytes, stateFromBytes, stateHash } from './state.ts'
import { applyUpdate, coefficients } from './update.ts'

const rest = {
  radius: 0.01,
  clip: 1,
  grid: 2 ** -20,
  noiseMultiplier: 1,
  samplingRate: 0.1,
  lossShare: 0,
  lossBound: 1,
}
const stages: Stage[] = vectors.replay.stages.map((stage) => ({ ...rest, ...stage }))
const spec: ReplaySpec & { readonly space: LoraSpace } = {
  seed: vectors.seed,
  space: { ...vectors.space, trained: 'factor' } as LoraSpace,
  stages,
}

const codeOf = (action: () => unknown) => {
  try {
    action()
  } catch (error) {
    return error instanceof ReplayError ? error.code : String(error)
  }
  return 'no error'
}

describe('replay', () => {
  it('meets every state hash of a second implementation, over a stage end and a prox term', () => {
    const end = replay(spec, vectors.replay.rounds)
    expect(end.nextRound).toBe(5)
    expect(stateHash(end.state)).toBe(vectors.replay.rounds.at(-1)?.stateHash)
    expect(end.state.finished).toHaveLength(1)
  })

  const moved: ReplaySpec = {
    ...spec,
    stages: vectors.moved.stages.map((stage) => {
      const { space: other, ...own } = stage as typeof stage & { space?: object }
      return { ...rest, ...own, ...(other ? { space: { ...other, trained: 'factor' } as LoraSpace } : {}) }
    }),
  }

  it('meets every state hash over momentum, averages, and a stage of another rank on the sphere', () => {
    const end = replay(moved, vectors.moved.rounds)
    expect(stateHash(end.state)).toBe(vectors.moved.rounds.at(-1)?.stateHash)
    expect(end.state.finished.map(({ length }) => length)).toEqual([150, 375])
    expect(end.state).not.toHaveProperty('velocity')
    for (let cut = 0; cut <= 8; cut++) {
      const half = replay(moved, vectors.moved.rounds.slice(0, cut))
      const stored = { nextRound: half.nextRound, state: stateFromBytes(stateBytes(half.state)) }
      expect(stored.state).toEqual(half.state)
      expect(replay(moved, vectors.moved.rounds.slice(cut), stored)).toEqual(end)
    }
  })

  it('leads to the same state cold, warm from any round, and through stored bytes', () => {
    const cold = stateHash(replay(spec, vectors.replay.rounds).state)
    for (let cut = 0; cut <= 5; cut++) {
      const half = replay(spec, vectors.replay.rounds.slice(0, cut))
      const stored = { nextRound: half.nextRound, state: stateFromBytes(stateBytes(half.state)) }
      expect(stateHash(replay(spec, vectors.replay.rounds.slice(cut), stored).state)).toBe(cold)
    }
  })

  it('refuses a round that is missing, repeated, of another length or of another state', () => {
    const [first, second] = vectors.replay.rounds
    expect(codeOf(() => replay(spec, [second!]))).toBe('round_out_of_order')
    expect(codeOf(() => replay(spec, [first!, first!]))).toBe('round_out_of_order')
    expect(codeOf(() => replay(spec, [{ ...first!, coefficients: [1] }]))).toBe('wrong_length')
    expect(codeOf(() => replay(spec, [{ ...first!, stateHash: second!.stateHash }]))).toBe('state_mismatch')
    const nudged = first!.coefficients.map((c, k) => (k === 0 ? c + 1e-7 : c))
    expect(codeOf(() => replay(spec, [{ ...first!, coefficients: nudged }]))).toBe('state_mismatch')
  })

  it('refuses a round whose update leaves the finite numbers', () => {
    const [first] = vectors.replay.rounds
    for (const wild of [Number.POSITIVE_INFINITY, Number.NaN, 1e300]) {
      const closed = { ...first!, coefficients: first!.coefficients.map((c, k) => (k === 0 ? wild : c)) }
      expect(codeOf(() => advance(spec, replayStart(spec), closed))).toBe('state_not_finite')
      expect(codeOf(() => replay(spec, [closed]))).toBe('state_not_finite')
    }
  })

  it('leaves the given state untouched', () => {
    const start = replayStart(spec)
    advance(spec, start, vectors.replay.rounds[0]!)
    expect(start.state.current.every((a) => a === 0)).toBe(true)
  })
})

describe('update rule', () => {
  it('divides by the expected batch of the datasets that reported', () => {
    const stage = { directions: 2, grid: 0.5, samplingRate: 0.1 }
    const reports = [
      { integers: [10, -4, 99], units: 100 },
      { integers: [2, 4, 99], units: 300 },
    ]
    expect(coefficients(reports, stage)).toEqual([(0.5 * 12) / 40, 0])
    expect(() => coefficients([], stage)).toThrow(RangeError)
    expect(() => coefficients([{ integers: [2 ** 53, 1], units: 1 }], stage)).toThrow(RangeError)
  })

  it('pulls towards the start of the stage by the prox term alone', () => {
    const state = {
      ...initialState(spaceDimension(spec.space)),
      current: new Float32Array(spaceDimension(spec.space)).fill(2),
    }
    const next = applyUpdate(state, 0, { coefficients: [], learningRate: 0.1, prox: 0.5 }, spec)
    expect(next.current[0]).toBe(Math.fround(2 - 0.1 * (0.5 * 2)))
  })

  it('moves every coordinate along the directions', () => {
    const state = initialState(spaceDimension(spec.space))
    const next = applyUpdate(state, 3, { coefficients: [0.25], learningRate: 1, prox: 0 }, spec)
    const z = direction(spec.seed, { round: 3, k: 0 }, spec.space)
    expect(Array.from(next.current)).toEqual(Array.from(z, (sign) => -0.25 * sign))
  })
})

describe('aggregation', () => {
  const stage = { directions: 2, grid: 0.5, samplingRate: 0.1 }
  const reports = [
    { integers: [10, -4], units: 100 },
    { integers: [12, -6], units: 100 },
    { integers: [20, -6], units: 200 },
    { integers: [1_000_000, 1_000_000], units: 100 },
    { integers: [8, -5], units: 100 },
  ]

  it('takes the middle of the datasets, so that one of them moves a coefficient no further than honest ones', () => {
    // Their own estimates: 0.5, 0.6, 0.5, 50000, 0.4 and -0.2, -0.3, -0.15, 50000, -0.25.
    const [first, second] = coefficients(reports, stage, { rule: 'median' }) as [number, number]
    expect(first).toBeCloseTo(0.5, 12)
    expect(second).toBeCloseTo(-0.2, 12)
    const even = coefficients(reports.slice(0, 4), stage, { rule: 'median' })
    expect(even[0]).toBeCloseTo((0.5 + 0.6) / 2, 12)
    const trimmed = coefficients(reports, stage, { rule: 'trimmed-mean', trim: 1 })
    expect(trimmed[0]).toBeCloseTo((0.5 + 0.5 + 0.6) / 3, 12)
    expect(trimmed[1]).toBeCloseTo((-0.25 - 0.2 - 0.15) / 3, 12)
  })

  it('is the same in any order of the reports', () => {
    for (const aggregation of [{ rule: 'median' }, { rule: 'trimmed-mean', trim: 2 }] as const)
      expect(coefficients(reports.toReversed(), stage, aggregation)).toEqual(coefficients(reports, stage, aggregation))
  })

  it('wants as many reports as its rule needs', () => {
    expect(() => coefficients(reports.slice(0, 2), stage, { rule: 'median' })).toThrow(RangeError)
    expect(() => coefficients(reports.slice(0, 4), stage, { rule: 'trimmed-mean', trim: 2 })).toThrow(RangeError)
  })

  it('normalises what was released to a step of one length', () => {
    const ghat = coefficients([{ integers: [30, -40], units: 100 }], { ...stage, normalise: true })
    expect(ghat[0]).toBeCloseTo(0.6 * Math.SQRT2, 12)
    expect(ghat[1]).toBeCloseTo(-0.8 * Math.SQRT2, 12)
    expect(coefficients([{ integers: [0, 0], units: 100 }], { ...stage, normalise: true })).toEqual([0, 0])
  })
})

describe('a statistic', () => {
  const space = { kind: 'statistic', activation: 'layer.1', size: 3, token: 'last' } as const
  const once: Stage = { ...rest, rounds: 1, learningRate: 1, directions: 3, prox: 0 }
  const statistic: ReplaySpec = { seed: vectors.seed, space, stages: [once] }

  it('is the estimate itself, rounded once', () => {
    const coefficients = [0.1, -2, 1e-12]
    const { state, nextRound } = advance(statistic, replayStart(statistic), { round: 0, coefficients })
    expect(nextRound).toBe(1)
    expect(state).toEqual({ stage: 0, finished: [], current: Float32Array.from(coefficients) })
    const closed = { round: 0, coefficients, stateHash: stateHash(state) }
    expect(replay(statistic, [closed]).state).toEqual(state)
  })

  it('is refused where it is no finite number in float32, or has another length', () => {
    const coded = (coefficients: number[]) =>
      codeOf(() => advance(statistic, replayStart(statistic), { round: 0, coefficients }))
    expect(coded([1e300, 0, 0])).toBe('state_not_finite')
    expect(coded([1, 2])).toBe('wrong_length')
  })
})

describe('momentum', () => {
  it('is the heavy ball, a gradient at a time', () => {
    const run = { seed: spec.seed, space: spec.space }
    let state = initialState(spaceDimension(spec.space))
    const velocity = new Float64Array(state.current.length)
    const point = new Float64Array(state.current.length)
    for (let round = 0; round < 6; round++) {
      const update = { coefficients: [0.3 - round / 10, 0.1], learningRate: 0.2, prox: 0.05, momentum: 0.9 }
      state = applyUpdate(state, round, update, run)
      const z = [0, 1].map((k) => direction(spec.seed, { round, k }, spec.space))
      for (let i = 0; i < point.length; i++) {
        const gradient = update.coefficients.reduce((sum, c, k) => sum + c * z[k]![i]!, 0)
        velocity[i] = 0.9 * velocity[i]! + gradient
        point[i]! -= 0.2 * (velocity[i]! + 0.05 * point[i]!)
      }
    }
    for (const [i, value] of state.current.entries()) expect(value).toBeCloseTo(point[i]!, 5)
  })
})

describe('schedule', () => {
  it('finds the stage of each round and nothing outside', () => {
    expect(totalRounds(stages)).toBe(5)
    expect([0, 2, 3, 4].map((round) => stageOf(stages, round).index)).toEqual([0, 0, 1, 1])
    expect(stageOf(stages, 2).last).toBe(true)
    expect(() => stageOf(stages, 5)).toThrow(RangeError)
    expect(() => stageOf(stages, -1)).toThrow(RangeError)
  })

  it('adds one integer to a report where a private loss rides along', () => {
    expect(reportLength({ ...stages[0]!, lossShare: 0 })).toBe(3)
    expect(reportLength({ ...stages[0]!, lossShare: 0.2 })).toBe(4)
  })
})

describe('state bytes', () => {
  it('refuses bytes of another length', () => {
    const bytes = stateBytes(initialState(3))
    expect(() => stateFromBytes(bytes.slice(0, -1))).toThrow(RangeError)
    expect(() => stateFromBytes(bytes.slice(0, 4))).toThrow(RangeError)
  })
})
