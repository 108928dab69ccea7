import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { roundUp } from '../../shared/api/index.ts'
import { epsilonBounds, spend } from '../../shared/privacy/index.ts'
import { smallRequest } from '../../test/rehearsal/request.ts'
import { factsOf, planRun, spendOf, workOf } from './plan.ts'
import { PlanError } from './plan-error.ts'
import { reportReach } from './reach.ts'
import { fitsRound } from './round.ts'

const datasets = [{ id: 'north', units: 1000, unit: 'record' as const }]
const given = { datasets, seed: '0'.repeat(16) }
const stage = { rounds: 20, learningRate: 0.1, radius: 0.01, directions: 4, clip: 1, samplingRate: 0.05 }
const plan = (change: object) =>
  planRun({ ...smallRequest({ model: 'a'.repeat(64), datasets: ['north'] }), ...change }, given)

describe('the chosen noise', () => {
  it('pays for all rounds and spares, with little left over', () => {
    const stages = [stage, { ...stage, rounds: 30, samplingRate: 0.1 }]
    const { spec, epsilon, epsilonWithSpares } = plan({ stages, budget: { epsilon: 2, delta: 1e-5 } })
    expect(spec.spareCharges).toBe(4)
    expect(epsilonWithSpares.epsilon).toBeLessThanOrEqual(2)
    expect(epsilonWithSpares.epsilon).toBeGreaterThan(1.995)
    expect(epsilon.epsilon).toBeLessThan(epsilonWithSpares.lower)
    expect(spec.stages[0]?.noiseMultiplier).toBe(spec.stages[1]?.noiseMultiplier)
  })

  it('is rounded up, never down', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-3, max: 1e6, noNaN: true }), (value) => {
        const rounded = roundUp(value, 5)
        expect(rounded).toBeGreaterThanOrEqual(value)
        expect(rounded).toBeLessThanOrEqual(value * 1.0002)
        expect(rounded.toPrecision(5)).toBe(Number(rounded).toPrecision(5))
        expect(Number(rounded.toPrecision(5))).toBe(rounded)
      }),
    )
  })
})

describe('the spend', () => {
  it('is the certified interval of the whole schedule, below what Renyi divergences give', () => {
    const planned = plan({ stages: [stage, { ...stage, rounds: 5 }] })
    const { epsilon, epsilonLower, epsilonRdp } = spendOf(planned)
    expect({ epsilon, lower: epsilonLower }).toEqual(epsilonBounds(planned.events, 1e-5))
    expect(epsilonRdp).toBe(spend(planned.events, 1e-5).epsilon)
    expect(epsilon).toBeLessThan(epsilonRdp)
  })

  it('by round ends at the whole, never falls, and is thinned to 50 points', () => {
    const planned = plan({ stages: [stage, { ...stage, rounds: 80 }] })
    const { epsilon, epsilonByRound } = spendOf(planned)
    expect(epsilonByRound).toHaveLength(50)
    expect(epsilonByRound.at(-1)).toEqual({ round: 100, epsilon })
    const values = epsilonByRound.map((point) => point.epsilon)
    expect(values).toEqual([...values].sort((a, b) => a - b))
    const { round, epsilon: half } = epsilonByRound[24]!
    const { event } = planned.events[0]!
    expect(round).toBe(50)
    const bounds = epsilonBounds([{ event, count: 50 }], 1e-5)
    expect(half).toBeLessThanOrEqual(bounds.epsilon)
    expect(half).toBeGreaterThanOrEqual(bounds.lower)
  })
})

describe('a method', () => {
  const pruned = {
    kind: 'pruned' as const,
    mask: 'b'.repeat(64),
    tensors: [{ name: 'w', shape: [8, 8], kept: 6 }],
  }
  const refusal = (change: object): string => {
    try {
      plan(change)
    } catch (error) {
      if (error instanceof PlanError) return `${error.code}: ${error.fields}`
      throw error
    }
    return 'planned'
  }
  const small = { samplingRate: 0.05, rounds: 20 }

  it.each([
    [
      'Laplace noise under an L2 clip of several directions',
      { noise: 'laplace', stages: [stage] },
      /^bad_request: clipping$/,
    ],
    ['Gaussian noise under an L1 clip', { clipping: 'joint-l1', stages: [stage] }, /^bad_request: clipping$/],
    ['pure epsilon with Gaussian noise', { guarantee: 'pure', stages: [stage] }, /guarantee/],
    ['a median of one dataset', { aggregation: { rule: 'median' }, stages: [stage] }, /aggregation/],
    ['a trimmed mean of too few', { aggregation: { rule: 'trimmed-mean', trim: 1 }, stages: [stage] }, /aggregation/],
    ['dp-zopo in another space', { stages: undefined, preset: { name: 'dp-zopo', ...small } }, /space\.kind/],
    [
      'more stages than rounds',
      { stages: undefined, preset: { name: 'sotto', samplingRate: 0.1, rounds: 2 } },
      /preset\.rounds/,
    ],
    [
      'a mask that keeps nothing',
      { space: { ...pruned, tensors: [{ ...pruned.tensors[0], kept: 0 }] }, stages: [stage] },
      /space/,
    ],
    [
      'a new mask for the first stage',
      { space: pruned, stages: [{ ...stage, prune: { keep: 0.5 } }] },
      /stages\.prune/,
    ],
    ['a new mask in another space', { stages: [stage, { ...stage, prune: { keep: 0.5 } }] }, /stages\.prune/],
    [
      'a new mask beside a space',
      { space: pruned, stages: [stage, { ...stage, space: pruned, prune: { keep: 0.5 } }] },
      /stages\.prune/,
    ],
    [
      'a new mask that keeps nothing',
      { space: pruned, stages: [stage, { ...stage, prune: { keep: 0 } }] },
      /stages\.1\.prune\.keep/,
    ],
    [
      'an evaluation that never comes',
      { stages: [stage], evaluation: { data: 'e'.repeat(64), every: 0 } },
      /evaluation/,
    ],
    ['stages that train other tensors', { stages: [stage, { ...stage, space: pruned }] }, /stages\.space/],
    ['momentum of 1', { stages: [{ ...stage, momentum: 1 }] }, /momentum/],
    ['no stages and no preset', { stages: undefined }, /stages/],
    ['both', { stages: [stage], preset: { name: 'sotto', samplingRate: 0.1 } }, /stages/],
  ])('refuses %s, naming the field', (_, change, fields) => {
    expect(refusal(change)).toMatch(fields)
  })

  it.each([
    ['guarantee', { guarantee: 'pure' }, { name: 'dp-zo' }],
    ['noise', { noise: 'laplace' }, { name: 'dp-aggzo' }],
    ['clipping', { clipping: 'per-direction' }, { name: 'sotto' }],
    ['sides', { sides: 'one' }, { name: 'dpzero' }],
  ])('refuses a %s that the preset does not have, and takes the one that it has', (field, given, preset) => {
    const asked = { stages: undefined, preset: { ...preset, ...small } }
    expect(refusal({ ...asked, ...given })).toMatch(new RegExp(`^bad_request: ${field}: the preset`))
    const own = plan(asked).spec
    const same = field === 'guarantee' ? { guarantee: 'approximate' } : { [field]: own[field as 'noise'] }
    expect(refusal({ ...asked, ...same })).toBe('planned')
  })

  it('keeps a distribution other than signs that the space names', () => {
    const { space } = smallRequest({ model: 'a'.repeat(64), datasets: ['north'] })
    const named = plan({
      stages: undefined,
      space: { ...space, distribution: 'sphere' },
      preset: { name: 'sotto', ...small },
    })
    expect(named.spec.space).toMatchObject({ distribution: 'sphere' })
  })

  it.each([
    ['a rate that is too large', { name: 'dp-aggzo', step: 1e3, clip: 1e-4 }],
    ['a radius that is nothing', { name: 'dp-zoso', radius: { start: 1e-320, end: 1 } }],
    ['a rate that falls to nothing', { name: 'sotto', learningRate: 5e-324 }],
  ])('refuses a preset that comes to %s', (_, preset) => {
    expect(refusal({ stages: undefined, preset: { ...preset, ...small } })).toMatch(/^bad_request: preset/)
  })

  it('has the noise that one stage needs, whatever its ratio of the common one', () => {
    for (const noise of ['gaussian', 'laplace'])
      for (const guarantee of noise === 'laplace' ? ['pure', 'approximate'] : ['approximate']) {
        const at = (noiseRatio: number) =>
          plan({
            ...{ noise, guarantee, clipping: 'per-direction', budget: { epsilon: 100, delta: 1e-5 }, spareCharges: 0 },
            stages: [{ ...stage, rounds: 1, samplingRate: 1, noiseRatio }],
          }).spec.stages[0]?.noiseMultiplier
        expect(at(0.01)).toBe(at(1))
        expect(at(100)).toBe(at(1))
      }
  })

  it('refuses a ratio of a noise that is given', () => {
    expect(refusal({ stages: [{ ...stage, noiseMultiplier: 20, noiseRatio: 5 }] })).toMatch(/noiseRatio/)
  })

  it('has a coarser grid where a finer one would not hold the report', () => {
    const many = planRun(
      { ...smallRequest({ model: 'a'.repeat(64), datasets: ['north'] }), stages: [stage] },
      { ...given, datasets: [{ id: 'north', units: 50_000_000, unit: 'record' }] },
    )
    const { clip, grid } = many.spec.stages[0]!
    expect(clip / grid).toBeLessThan(2 ** 20)
    expect(Number.isInteger(Math.log2(clip / grid))).toBe(true)
  })

  it('may have Laplace noise of one direction under any clip, of several under an L1 bound', () => {
    const one = { ...stage, directions: 1, lossShare: 0 }
    const greedy = { ...stage, lossShare: 0.6, clipShare: 0.5 }
    expect(() => plan({ stages: [greedy] })).toThrow(expect.objectContaining({ code: 'bad_request' }))
    const oneTold = { ...one, clipShare: 0.1 }
    expect(() => plan({ noise: 'laplace', stages: [oneTold] })).toThrow(
      expect.objectContaining({ code: 'bad_request' }),
    )
    expect(refusal({ noise: 'laplace', stages: [one] })).toBe('planned')
    for (const clipping of ['per-direction', 'joint-l1'])
      expect(refusal({ noise: 'laplace', clipping, stages: [stage] })).toBe('planned')
  })

  it('by name is written out: stages, clip, noise, sides and distribution', () => {
    const { spec } = plan({ stages: undefined, preset: { name: 'dp-zo', ...small, noise: 'laplace', directions: 2 } })
    expect(spec).toMatchObject({ clipping: 'per-direction', noise: 'laplace', sides: 'two' })
    expect(spec.space).toMatchObject({ distribution: 'binomial' })
    expect(spec.stages).toHaveLength(1)
    expect(spec.stages[0]).toMatchObject({ rounds: 20, directions: 2, clip: 25, momentum: 0, average: false })
    expect(spec).not.toHaveProperty('preset')
    const zopo = plan({ stages: undefined, space: pruned, preset: { name: 'dp-zopo', ...small } })
    expect(zopo.spec.space).toEqual({ ...pruned, weighted: false, distribution: 'binomial' })
    expect(zopo.spec.stages.map(({ rounds }) => rounds)).toEqual([2, 4, 14])
  })

  it('knows the dimension of masks that are not made yet, and counts evaluations', () => {
    const prune = { keep: 0.3, scope: 'layer' as const }
    const { spec } = plan({
      space: { ...pruned, tensors: [...pruned.tensors, { name: 'v', shape: [7], kept: 1 }] },
      stages: [stage, { ...stage, prune }],
      evaluation: { data: 'e'.repeat(64), every: 4 },
    })
    const elements = pruned.tensors.map(({ shape }) => shape.reduce((a, b) => a * b, 1))
    const kept = [...elements, 7].reduce((sum, count) => sum + Math.ceil(0.3 * count), 0)
    expect(workOf(spec)).toMatchObject({ dimension: kept, rounds: 2 * stage.rounds })
    expect(workOf(spec).evaluations).toBe(Math.ceil((2 * stage.rounds) / 4) + 1)
    expect(spec.stages[1]?.prune).toEqual({
      ...{ score: 'forward', order: 'highest', weighted: false, queries: 1, radius: 1e-3, tokens: 16 },
      ...prune,
    })
  })

  describe('of a statistic', () => {
    const space = { kind: 'statistic', activation: 'layer.1', size: 32 }
    const task = { kind: 'preference-pairs', maxTokens: 16, maxCompletionTokens: 8, buckets: [16] }
    const preset = { name: 'psa', clip: 2 }
    const asked = { space, task, stages: undefined, preset }

    it('is one round in which every unit takes part', () => {
      const planned = plan(asked)
      const { spec } = planned
      expect(spec.stages).toHaveLength(1)
      expect(spec.stages[0]).toMatchObject({ rounds: 1, directions: 32, clip: 2, samplingRate: 1 })
      expect(workOf(spec)).toMatchObject({ job: 'statistic', dimension: 32, forwardPasses: 2 * 1000, rounds: 1 })
      // The budget pays for the spare charges too: with all of them the plain Gaussian mechanism, five times.
      expect(planned.epsilonWithSpares.epsilon).toBeLessThanOrEqual(4)
      expect(planned.eventsWithSpares.reduce((sum, { count }) => sum + count, 0)).toBe(5)
    })

    it('may be written out, and be hidden by Laplace noise', () => {
      const stages = [
        {
          rounds: 1,
          learningRate: 1,
          radius: 1,
          directions: 32,
          clip: 2,
          samplingRate: 0.5,
          lossShare: 0,
          clipShare: 0.1,
        },
      ]
      expect(plan({ space, task, stages }).spec.stages[0]).toMatchObject({ samplingRate: 0.5, clipShare: 0.1 })
      expect(refusal({ space, task, stages, noise: 'laplace', clipping: 'joint-l1' })).toBe('planned')
    })

    const written = { rounds: 1, learningRate: 1, radius: 1, directions: 32, clip: 2, samplingRate: 1, lossShare: 0 }
    it.each<[string, object, RegExp]>([
      [
        'another task',
        { ...asked, task: smallRequest({ model: 'a'.repeat(64), datasets: ['north'] }).task },
        /space\.kind/,
      ],
      ['its task in a space that is trained', { task, stages: [stage] }, /space\.kind/],
      ['two rounds', { space, task, stages: [{ ...written, rounds: 2 }] }, /space\.kind/],
      ['two stages', { space, task, stages: [written, written] }, /space\.kind/],
      ['other directions than coordinates', { space, task, stages: [{ ...written, directions: 31 }] }, /space\.kind/],
      ['a rate', { space, task, stages: [{ ...written, learningRate: 0.1 }] }, /space\.kind/],
      ['momentum', { space, task, stages: [{ ...written, momentum: 0.9 }] }, /space\.kind/],
      ['a private loss', { space, task, stages: [{ ...written, lossShare: 0.2 }] }, /space\.kind/],
      ['a clip for each coordinate', { space, task, stages: [written], clipping: 'per-direction' }, /space\.kind/],
      ['an evaluation', { ...asked, evaluation: { data: 'e'.repeat(64), every: 1 } }, /space\.kind/],
      ['a preset that trains', { ...asked, preset: { name: 'sotto', ...small } }, /space\.kind/],
      ['psa where something is trained', { stages: undefined, preset }, /preset\.name/],
      ['no layer', { ...asked, space: { ...space, activation: 'head' } }, /space\.activation/],
      ['too many coordinates', { ...asked, space: { ...space, size: 4097 } }, /space\.size/],
    ])('is refused with %s', (_, change, fields) => {
      expect(refusal(change)).toMatch(fields)
    })
  })

  it('refuses more directions than memory holds for its batches', () => {
    const many = [{ id: 'north', units: 40_000, unit: 'record' as const }]
    const asked = (samplingRate: number) => {
      const stages = [{ ...stage, directions: 4096, samplingRate, noiseMultiplier: 1e4 }]
      return { ...smallRequest({ model: 'a'.repeat(64), datasets: ['north'] }), stages }
    }
    const given = { datasets: many, seed: '0'.repeat(16) }
    // 40,000 units, 8,192 forwards, 4 bytes each: 1.22 GiB where all take part.
    expect(() => planRun(asked(1), given)).toThrow(
      expect.objectContaining({ fields: expect.stringMatching(/^stages\.directions/) }),
    )
    expect(planRun(asked(0.8), given).spec.stages[0]?.directions).toBe(4096)
  })

  it('leaves room in a report for more units than a private count says', () => {
    const counted = factsOf({ id: 'north', units: 1000, unit: 'record', count: { noiseMultiplier: 20 } })
    expect(counted).toEqual({ id: 'north', units: 1000, unit: 'record', mostUnits: 1800 })
    expect(factsOf({ id: 'north', units: 1000, unit: 'record' })).toEqual(datasets[0])
    const asked = {
      ...smallRequest({ model: 'a'.repeat(64), datasets: ['north'] }),
      stages: [{ ...stage, noiseMultiplier: 2 }],
    }
    const { spec } = planRun(asked, { ...given, datasets: [counted] })
    const reaching = { ...spec.stages[0]! }
    const own = reportReach(reaching, { units: 1800, method: spec })
    const report = { round: 0, dataset: 'north', integers: [own, 0, 0, 0, 0] }
    expect(fitsRound(spec, report)).toBe(true)
    expect(fitsRound(spec, { ...report, integers: [own + 1, 0, 0, 0, 0] })).toBe(false)
    expect(fitsRound(plan({ stages: asked.stages }).spec, report)).toBe(false)
  })

  it('of one side counts one forward pass for each direction and one for all', () => {
    const passes = (sides: 'one' | 'two') => workOf(plan({ sides, stages: [stage] }).spec).forwardPasses
    expect(passes('two') / passes('one')).toBeCloseTo(8 / 5, 12)
  })

  it('may train another rank in each stage', () => {
    const { space } = smallRequest({ model: 'a'.repeat(64), datasets: ['north'] })
    const { spec } = plan({ stages: [stage, { ...stage, space: { ...space, rank: 5 } }] })
    expect(workOf(spec).dimension).toBe(5 * 16)
    expect(spec.stages[1]?.space).toMatchObject({ rank: 5, distribution: 'rademacher' })
  })
})
