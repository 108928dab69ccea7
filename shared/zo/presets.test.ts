import { describe, expect, it } from 'vitest'
import { expandPreset, type Preset, PresetError } from './presets.ts'

const none = { prox: 0, lossShare: 0, lossBound: 2 }

describe('what a preset stands for', () => {
  it('dp-zoso: rounds double, the rate halves, the radius grows, a prox term, each difference clipped by itself', () => {
    const base = { directions: 1, clip: 30, samplingRate: 0.0625, prox: 5e-4, lossShare: 0, lossBound: 2 }
    const expected = {
      clipping: 'per-direction',
      noise: 'gaussian',
      sides: 'two',
      distribution: 'binomial',
      guarantee: 'approximate',
      stages: [
        { ...base, rounds: 857, learningRate: 2e-5, radius: 0.001 },
        { ...base, rounds: 1714, learningRate: 1e-5, radius: 0.001 * 10 ** 0.5 },
        { ...base, rounds: 3429, learningRate: 5e-6, radius: 0.01 },
      ],
    }
    expect(expandPreset({ name: 'dp-zoso', samplingRate: 0.0625 })).toEqual(expected)
    expect(expandPreset({ name: 'dp-zopo', samplingRate: 0.0625 })).toEqual(expected)
  })

  it('dp-zopo: masks made anew, of one keep rate or of one that grows from the first stage to the last', () => {
    const prune = { score: 'forward', order: 'highest', scope: 'global', queries: 1, radius: 1e-3, tokens: 16 } as const
    const masks = (keep: number | { start: number; end: number }) =>
      expandPreset({ name: 'dp-zopo', samplingRate: 0.0625, prune: { ...prune, keep } }).stages.map((s) => s.prune)
    expect(masks(0.01)).toEqual([undefined, { ...prune, keep: 0.01 }, { ...prune, keep: 0.01 }])
    expect(masks({ start: 0.01, end: 0.04 })).toEqual([undefined, { ...prune, keep: 0.02 }, { ...prune, keep: 0.04 }])
  })

  it('psa: one round of a statistic, each coordinate in the place of a direction, all units in it', () => {
    const space = { kind: 'statistic', activation: 'layer.1', size: 32, token: 'last' } as const
    expect(expandPreset({ name: 'psa', samplingRate: 1, clip: 5, clipShare: 0.1 }, space)).toEqual({
      ...{ clipping: 'joint', noise: 'gaussian', sides: 'one', distribution: 'rademacher', guarantee: 'approximate' },
      stages: [
        {
          ...{ rounds: 1, learningRate: 1, radius: 1, directions: 32, clip: 5, samplingRate: 1 },
          ...{ prox: 0, lossShare: 0, lossBound: 2, clipShare: 0.1 },
        },
      ],
    })
    expect(() => expandPreset({ name: 'psa', samplingRate: 1 })).toThrow(PresetError)
  })

  it('dpzero: one direction on the sphere', () => {
    expect(expandPreset({ name: 'dpzero', samplingRate: 0.01 })).toEqual({
      clipping: 'per-direction',
      noise: 'gaussian',
      sides: 'two',
      distribution: 'sphere',
      guarantee: 'approximate',
      stages: [
        { ...none, rounds: 10_000, learningRate: 1e-6, radius: 1e-3, directions: 1, clip: 200, samplingRate: 0.01 },
      ],
    })
  })

  it('dp-zo: Gaussian, or Laplace for epsilon without delta', () => {
    const stages = [
      { ...none, rounds: 10_000, learningRate: 1e-6, radius: 1e-3, directions: 1, clip: 25, samplingRate: 0.01 },
    ]
    const rest = { clipping: 'per-direction', sides: 'two', distribution: 'binomial', stages }
    expect(expandPreset({ name: 'dp-zo', samplingRate: 0.01 })).toEqual({
      ...rest,
      noise: 'gaussian',
      guarantee: 'approximate',
    })
    expect(expandPreset({ name: 'dp-zo', samplingRate: 0.01, noise: 'laplace' })).toEqual({
      ...rest,
      noise: 'laplace',
      guarantee: 'pure',
    })
  })

  it('dp-aggzo: one clip for the vector, and rate and clip as one knob', () => {
    const expected = {
      clipping: 'joint',
      noise: 'gaussian',
      sides: 'two',
      distribution: 'binomial',
      guarantee: 'approximate',
      stages: [
        { ...none, rounds: 1000, learningRate: 3.2e-5, radius: 1e-3, directions: 64, clip: 12.5, samplingRate: 0.0416 },
      ],
    }
    expect(expandPreset({ name: 'dp-aggzo', samplingRate: 0.0416 })).toEqual(expected)
    // MNLI at epsilon 2: rate 8e-5 and clip 5.
    const [mnli] = expandPreset({ name: 'dp-aggzo', samplingRate: 0.0416, clip: 5 }).stages
    expect(mnli).toMatchObject({ learningRate: 8e-5, clip: 5 })
  })

  it('sotto: one clip, signs, a falling rate, a private loss', () => {
    const base = { radius: 0.01, directions: 64, clip: 0.1, samplingRate: 0.06, prox: 0, lossShare: 0.2, lossBound: 2 }
    expect(expandPreset({ name: 'sotto', samplingRate: 0.06 })).toEqual({
      clipping: 'joint',
      noise: 'gaussian',
      sides: 'two',
      distribution: 'rademacher',
      guarantee: 'approximate',
      stages: [
        { ...base, rounds: 84, learningRate: 0.3 },
        { ...base, rounds: 83, learningRate: 0.09 },
        { ...base, rounds: 83, learningRate: 0.03 },
      ],
    })
  })

  it('takes every number that is given in the place of its default', () => {
    const given = {
      rounds: 7,
      learningRate: 0.5,
      directions: 3,
      clip: 2,
      lossShare: 0.1,
      lossBound: 4,
      samplingRate: 0.2,
    }
    const { stages } = expandPreset({ name: 'dp-zoso', ...given, stages: 3, radius: { start: 1, end: 4 }, prox: 0.25 })
    expect(stages.map(({ rounds, learningRate, radius }) => [rounds, learningRate, radius])).toEqual([
      [1, 0.5, 1],
      [2, 0.25, 2],
      [4, 0.125, 4],
    ])
    for (const stage of stages)
      expect(stage).toMatchObject({
        directions: 3,
        clip: 2,
        lossShare: 0.1,
        lossBound: 4,
        samplingRate: 0.2,
        prox: 0.25,
      })
  })

  it.each<[string, Preset]>([
    ['doubling', { name: 'dp-zoso', samplingRate: 0.1, stages: 4, rounds: 14 }],
    ['equal', { name: 'sotto', samplingRate: 0.1, rounds: 2 }],
  ])('refuses more %s stages than rounds, naming the field', (_, preset) => {
    expect(() => expandPreset(preset)).toThrow(PresetError)
    expect(() => expandPreset(preset)).toThrow(expect.objectContaining({ field: expect.stringMatching(/^rounds/) }))
  })
})
