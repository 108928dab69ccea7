import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Clipping,
  clipJoint,
  clipPerDirection,
  decodeLoss,
  GRID_STEPS_MAX,
  meanDifferences,
  noiseDeviation,
  sensitivity,
} from './clip.ts'
import { exactDyadic } from './dyadic.ts'

const code = (name: string) => expect.objectContaining({ code: name })

/** Whether sum v^2 * divisor <= (clip/grid)^2, in exact integer arithmetic on the doubles' own values. */
const withinExactly = (vector: Int32Array, { clip, grid }: { clip: number; grid: number }, divisor = 1) => {
  const c = exactDyadic(clip)
  const g = exactDyadic(grid)
  const squares = vector.reduce((sum, v) => sum + BigInt(v) ** 2n, 0n) * BigInt(divisor)
  const shift = (exponent: number) => 2n ** BigInt(2 * (exponent + 2000))
  return squares * g.mantissa ** 2n * shift(g.exponent) <= c.mantissa ** 2n * shift(c.exponent)
}

const adversarial = fc.oneof(
  fc.double(),
  fc.constantFrom(
    1e308,
    -1.7976931348623157e308,
    5e-324,
    -5e-324,
    2.2e-308,
    0,
    -0,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ),
  fc.double({ min: -10, max: 10, noNaN: true }),
  fc.constantFrom(1, -1, 0.1, 0.5, 1 / 3),
)
const finiteAdversarial = adversarial.filter(Number.isFinite)
const grids = fc
  .tuple(
    fc.oneof(fc.constantFrom(1, 0.1, 1e-3, 7, 1e100, 1e-100), fc.double({ min: 1e-6, max: 1e6, noNaN: true })),
    fc.oneof(
      fc.constantFrom(1, 2, 3, 10, 1000, 2 ** 16, 2 ** 20, 2 ** 26),
      fc.double({ min: 1, max: 2 ** 26, noNaN: true }),
    ),
  )
  .map(([clip, steps]) => ({ clip, grid: clip / steps }))
  .filter(({ clip, grid }) => clip >= grid && clip / grid <= GRID_STEPS_MAX)
const vectors = fc.array(adversarial, { minLength: 1, maxLength: 70 }).map((list) => Float64Array.from(list))
const finiteVectors = fc
  .array(finiteAdversarial, { minLength: 1, maxLength: 70 })
  .map((list) => Float64Array.from(list))

describe('clipJoint', () => {
  test('known answer: short vectors are only divided by K and cut to the grid, toward zero', () => {
    expect([...clipJoint(Float64Array.of(0.5, -0.5, 0.26, -0.26), { clip: 1, grid: 1 / 16 })]).toEqual([2, -2, 1, -1])
  })

  test('known answer: a long vector is scaled to the clip', () => {
    expect([...clipJoint(Float64Array.of(3e6, -4e6), { clip: 100, grid: 1 })]).toEqual([60, -80])
  })

  test('the bound is that of the doubles themselves: 0.01 is above a hundredth, so 1 holds less than 100 of it', () => {
    expect([...clipJoint(Float64Array.of(1e6), { clip: 1, grid: 0.01 })]).toEqual([99])
    expect([...clipJoint(Float64Array.of(3e6, -4e6), { clip: 1, grid: 0.01 })]).toEqual([60, -79])
    expect([...clipPerDirection(Float64Array.of(9, -9, 9, 9), { clip: 1, grid: 0.01 })]).toEqual([24, -24, 24, 24])
  })

  test('property: whatever comes in, the squares sum to at most (c/g)^2 in exact integers', () => {
    fc.assert(
      fc.property(vectors, grids, (differences, grid) => {
        const vector = clipJoint(differences, grid)
        expect(vector.length).toBe(differences.length)
        expect(withinExactly(vector, grid)).toBe(true)
      }),
      { numRuns: 3000 },
    )
  })

  test('property: with a loss, the whole vector keeps the same bound', () => {
    const share = fc.double({ min: 1e-6, max: 1 - 1e-6, noNaN: true })
    const bound = fc.double({ min: 1e-3, max: 1e3, noNaN: true })
    fc.assert(
      fc.property(vectors, grids, share, bound, adversarial, (differences, grid, lossShare, lossBound, loss) => {
        const vector = clipJoint(differences, { ...grid, lossShare, lossBound, loss })
        expect(vector.length).toBe(differences.length + 1)
        expect(withinExactly(vector, grid)).toBe(true)
      }),
      { numRuns: 3000 },
    )
  })

  test('vectors that sit on the boundary exactly, or one rounding beside it', () => {
    for (const steps of [1, 5, 25, 1000, 2 ** 20, 2 ** 26]) {
      for (const scale of [1, 1 + 2 ** -52, 1 - 2 ** -53, 1e300]) {
        const grid = { clip: 0.1, grid: 0.1 / steps }
        if (grid.clip / grid.grid > GRID_STEPS_MAX) continue
        for (const direction of [[3, 4], [1, 1, 1, 1], [1], [5, 12], [2, 3, 6]]) {
          const differences = Float64Array.from(direction, (d) => d * 0.1 * scale)
          expect(withinExactly(clipJoint(differences, grid), grid)).toBe(true)
        }
      }
    }
  })

  test('property: no entry is off the exact A/g by more than 1 step, and none grows', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: 1, maxLength: 20 }), (list) => {
        const differences = Float64Array.from(list)
        const norm = Math.hypot(...differences) / differences.length
        const scale = Math.min(1, 0.3 / norm) / differences.length
        clipJoint(differences, { clip: 0.3, grid: 0.3 / 4096 }).forEach((v, k) => {
          const exact = (differences[k]! * scale) / (0.3 / 4096)
          expect(Math.abs(v)).toBeLessThanOrEqual(Math.abs(exact) + 1e-6)
          expect(Math.abs(v - exact)).toBeLessThan(1 + 1e-6)
        })
      }),
    )
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'one entry of %d makes all zero',
    (bad) => {
      const options = { clip: 1, grid: 0.01 }
      expect([...clipJoint(Float64Array.of(1, bad, 1), options)]).toEqual([0, 0, 0])
      const loss = { lossShare: 0.5, lossBound: 2 }
      expect([...clipJoint(Float64Array.of(1, bad), { ...options, ...loss, loss: 1 })]).toEqual([0, 0, 0])
      expect([...clipJoint(Float64Array.of(1, 1), { ...options, ...loss, loss: bad })]).toEqual([0, 0, 0])
    },
  )

  test('a loss takes its share: clamped, scaled, last', () => {
    const options = { clip: 1000, grid: 1, lossShare: 0.6, lossBound: 2 }
    expect(clipJoint(Float64Array.of(0), { ...options, loss: 1 }).at(-1)).toBe(300)
    expect(clipJoint(Float64Array.of(0), { ...options, loss: 99 }).at(-1)).toBe(600)
    expect(clipJoint(Float64Array.of(0), { ...options, loss: -3 }).at(-1)).toBe(0)
    expect([...clipJoint(Float64Array.of(5e4), { ...options, loss: 99 })]).toEqual([800, 600])
  })

  test.each([
    [{ clip: 0, grid: 1 }],
    [{ clip: 1, grid: 0 }],
    [{ clip: 1, grid: 2 }],
    [{ clip: 1, grid: 2 ** -27 }],
    [{ clip: Number.POSITIVE_INFINITY, grid: 1 }],
    [{ clip: Number.NaN, grid: 1 }],
    [{ clip: 1e-320, grid: 1e-320 }],
    [{ clip: 1, grid: 0.1, loss: 1 }],
    [{ clip: 1, grid: 0.1, lossShare: 0.5, lossBound: 1 }],
    [{ clip: 1, grid: 0.1, lossShare: 1, lossBound: 1, loss: 1 }],
    [{ clip: 1, grid: 0.1, lossShare: 0.5, lossBound: 0, loss: 1 }],
  ])('refuses %j', (options) => {
    // biome-ignore lint/suspicious/noExplicitAny: options that the types refuse too
    expect(() => clipJoint(Float64Array.of(1), options as any)).toThrow(code('invalid_clipping'))
  })

  test('refuses a vector without directions', () => {
    expect(() => clipJoint(new Float64Array(0), { clip: 1, grid: 0.1 })).toThrow(code('invalid_vector'))
  })
})

describe('clipPerDirection', () => {
  test('known answer', () => {
    expect([...clipPerDirection(Float64Array.of(900, -900, 50, -2), { clip: 100, grid: 1 })]).toEqual([25, -25, 12, 0])
  })

  test('property: each entry within c/(K g), so the squares sum to at most (S/g)^2, exactly', () => {
    fc.assert(
      fc.property(vectors, grids, (differences, grid) => {
        const vector = clipPerDirection(differences, grid)
        const count = differences.length
        for (let k = 0; k < count; k++) expect(withinExactly(vector.subarray(k, k + 1), grid, count ** 2)).toBe(true)
        expect(withinExactly(vector, grid, count)).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  test('property: with one direction it is the joint clip', () => {
    fc.assert(
      fc.property(finiteAdversarial, grids, (d, grid) => {
        const joint = clipJoint(Float64Array.of(d), grid)[0]!
        const single = clipPerDirection(Float64Array.of(d), grid)[0]!
        expect(Math.abs(joint - single)).toBeLessThanOrEqual(1)
        expect(Math.sign(joint) * Math.sign(single)).toBeGreaterThanOrEqual(0)
      }),
    )
  })

  test('a non-finite entry makes all zero', () => {
    expect([...clipPerDirection(Float64Array.of(1, Number.NaN), { clip: 1, grid: 0.01 })]).toEqual([0, 0])
  })
})

test('property: clipping is the same function each time and leaves its input alone', () => {
  fc.assert(
    fc.property(finiteVectors, grids, (differences, grid) => {
      const copy = differences.slice()
      expect(clipJoint(differences, grid)).toEqual(clipJoint(copy, grid))
      expect(clipPerDirection(differences, grid)).toEqual(clipPerDirection(copy, grid))
      expect(differences).toEqual(copy)
    }),
  )
})

describe('sensitivity and noiseDeviation', () => {
  test('c jointly, c / sqrt(K) per direction', () => {
    expect(sensitivity({ clipping: 'joint', clip: 3, directions: 16 })).toBe(3)
    expect(sensitivity({ clipping: 'per-direction', clip: 3, directions: 16 })).toBe(0.75)
    expect(() => sensitivity({ clipping: 'joint', clip: 0, directions: 1 })).toThrow(code('invalid_clipping'))
    expect(() => sensitivity({ clipping: 'joint', clip: 1, directions: 0 })).toThrow(code('invalid_vector'))
  })

  test('property: the deviation is never below sigma S / g exactly, and at most 1e-14 above', () => {
    const square = (value: number) => {
      const { mantissa, exponent } = exactDyadic(value)
      return mantissa ** 2n * 2n ** BigInt(2 * (exponent + 1200))
    }
    const noise = fc.double({ min: 1e-3, max: 1e6, noNaN: true })
    const clippings = fc.constantFrom<Clipping>('joint', 'per-direction')
    fc.assert(
      fc.property(
        grids,
        noise,
        clippings,
        fc.integer({ min: 1, max: 500 }),
        (grid, noiseMultiplier, clipping, directions) => {
          const deviation = noiseDeviation({ ...grid, noiseMultiplier, clipping, directions })
          const divisor = clipping === 'joint' ? 1n : BigInt(directions)
          const given = square(deviation) * square(grid.grid) * divisor
          const needed = square(noiseMultiplier) * square(grid.clip)
          expect(given >= needed).toBe(true)
          expect(given * 10n ** 14n <= needed * (10n ** 14n + 2n)).toBe(true)
        },
      ),
    )
  })

  test('refuses noise that is none', () => {
    const question = { clip: 1, grid: 0.1, clipping: 'joint', directions: 1 } as const
    expect(() => noiseDeviation({ ...question, noiseMultiplier: 0 })).toThrow(code('invalid_noise'))
    expect(() => noiseDeviation({ ...question, noiseMultiplier: Number.POSITIVE_INFINITY })).toThrow(
      code('invalid_noise'),
    )
  })
})

describe('meanDifferences', () => {
  test('is the mean by direction', () => {
    expect([...meanDifferences([Float64Array.of(1, 2), Float64Array.of(3, -4)])]).toEqual([2, -1])
    expect([...meanDifferences([Float64Array.of(0.1)])]).toEqual([0.1])
  })

  test('an overflow or a NaN of one line ends as the zero vector of the unit', () => {
    for (const bad of [1e308, Number.NaN]) {
      const mean = meanDifferences([Float64Array.of(bad, 1), Float64Array.of(bad, 1)])
      expect([...clipJoint(mean, { clip: 1, grid: 0.01 })]).toEqual([0, 0])
    }
  })

  test('refuses no lines and unequal lines', () => {
    expect(() => meanDifferences([])).toThrow(code('invalid_vector'))
    expect(() => meanDifferences([Float64Array.of(1), Float64Array.of(1, 2)])).toThrow(code('invalid_vector'))
  })
})

describe('decodeLoss', () => {
  const options = { clip: 0.5, grid: 0.5 / 2 ** 20, lossShare: 0.3, lossBound: 4 }

  test('gives the mean loss back, to a grid step per unit', () => {
    const losses = [0.3, 1.7, 3.9, 2.2]
    const sum = losses.reduce((all, loss) => all + clipJoint(Float64Array.of(0), { ...options, loss }).at(-1)!, 0)
    expect(decodeLoss(sum, { ...options, expectedUnits: 4 })).toBeCloseTo(2.025, 4)
  })

  test('refuses bad sums and no units', () => {
    expect(() => decodeLoss(Number.NaN, { ...options, expectedUnits: 4 })).toThrow(code('invalid_vector'))
    expect(() => decodeLoss(1, { ...options, expectedUnits: 0 })).toThrow(code('invalid_vector'))
  })
})
