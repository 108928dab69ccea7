import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Clipping,
  clipJoint,
  clipPerDirection,
  GRID_STEPS_MAX,
  laplaceScale,
  meanDifferences,
  type Norm,
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

/** Whether sum |v| <= clip/grid, in exact integer arithmetic on the doubles' own values. */
const withinExactlyL1 = (vector: Int32Array, { clip, grid }: { clip: number; grid: number }) => {
  const total = vector.reduce((sum, v) => sum + Math.abs(v), 0)
  return withinExactly(Int32Array.of(total), { clip, grid })
}

const clipOf = { joint: clipJoint, 'per-direction': clipPerDirection } as const
const clippings = fc.constantFrom<Clipping>('joint', 'per-direction')
const norms = fc.constantFrom<Norm>('l1', 'l2')
const losses = fc.record({
  lossShare: fc.oneof(
    fc.double({ min: 1e-6, max: 1 - 1e-6, noNaN: true }),
    fc.constantFrom(Number.MIN_VALUE, 1e-300, 2 ** -53, 0.6, 0.8, 1 - 2 ** -53),
  ),
  lossBound: fc.oneof(fc.double({ min: 1e-3, max: 1e3, noNaN: true }), fc.constantFrom(Number.MIN_VALUE, 1e308)),
})

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
    [{ clip: 1, grid: 0.1, clipShare: 0 }],
    [{ clip: 1, grid: 0.1, clipShare: 1 }],
    [{ clip: 1, grid: 0.1, clipShare: 0.8, lossShare: 0.6, lossBound: 1, loss: 1 }],
    [{ clip: 1, grid: 0.1, norm: 'l1', clipShare: 0.5, lossShare: 0.5, lossBound: 1, loss: 1 }],
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

  test('known answers with a loss: what is left of the clamp, and the loss last', () => {
    const options = { clip: 1000, grid: 1, lossShare: 0.6, lossBound: 2 }
    const [l1, l2] = [
      { ...options, norm: 'l1' },
      { ...options, norm: 'l2' },
    ] as const
    const far = Float64Array.of(1e9, -1e9, 400, -4)
    // S = 1000 / sqrt(4) in the L2 norm, entries within 800 / 4; S = 1000 in the L1 norm, entries within 400 / 4.
    expect([...clipPerDirection(far, { ...l2, loss: 99 })]).toEqual([200, -200, 100, -1, 300])
    expect([...clipPerDirection(far, { ...l2, loss: 1 })]).toEqual([200, -200, 100, -1, 150])
    expect([...clipPerDirection(far, { ...l1, loss: 99 })]).toEqual([100, -100, 100, -1, 600])
    expect([...clipPerDirection(far, { ...l1, loss: -1 })]).toEqual([100, -100, 100, -1, 0])
    expect(clipPerDirection(far, { ...options, loss: 1 })).toEqual(clipPerDirection(far, { ...l2, loss: 1 }))
  })

  test('property: without a loss both norms are within at once, and the norm changes nothing', () => {
    fc.assert(
      fc.property(vectors, grids, (differences, grid) => {
        const vector = clipPerDirection(differences, grid)
        expect(withinExactlyL1(vector, grid)).toBe(true)
        expect(clipPerDirection(differences, { ...grid, norm: 'l1' })).toEqual(vector)
      }),
    )
  })

  test('a non-finite loss makes all zero', () => {
    for (const loss of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const options = { clip: 1, grid: 0.01, lossShare: 0.5, lossBound: 2, loss }
      expect([...clipPerDirection(Float64Array.of(1, 1), options)]).toEqual([0, 0, 0])
      expect([...clipPerDirection(Float64Array.of(1, 1), { ...options, norm: 'l1' })]).toEqual([0, 0, 0])
    }
  })

  test('a non-finite entry makes all zero', () => {
    expect([...clipPerDirection(Float64Array.of(1, Number.NaN), { clip: 1, grid: 0.01 })]).toEqual([0, 0])
  })
})

describe('both ways to clip, in both norms', () => {
  const settings = fc.tuple(grids, clippings, norms, losses, fc.option(adversarial))
  /** The options of one setting, with a loss or without. */
  const optionsOf = ([grid, , norm, share, loss]: typeof settings extends fc.Arbitrary<infer T> ? T : never) =>
    loss === null ? { ...grid, norm } : { ...grid, norm, ...share, loss }

  test('property: whatever comes in, the whole vector is within S/g, in exact integers', () => {
    fc.assert(
      fc.property(vectors, settings, (differences, setting) => {
        const [grid, clipping, norm, , loss] = setting
        const vector = clipOf[clipping](differences, optionsOf(setting))
        expect(vector.length).toBe(differences.length + (loss === null ? 0 : 1))
        const divisor = clipping === 'joint' ? 1 : differences.length
        expect(norm === 'l1' ? withinExactlyL1(vector, grid) : withinExactly(vector, grid, divisor)).toBe(true)
      }),
      { numRuns: 5000 },
    )
  })

  test('property: with clipped units told as well, the whole vector and the differences alone are within', () => {
    const shares = fc
      .tuple(fc.double({ min: 1e-9, max: 0.98, noNaN: true }), fc.double({ min: 1e-9, max: 0.98, noNaN: true }))
      .filter(([loss, clipped]) => loss + clipped <= 0.99)
    const square = (value: bigint) => value * value
    const whole = (value: number) => {
      const { mantissa, exponent } = exactDyadic(value)
      return mantissa << BigInt(exponent + 1100)
    }
    fc.assert(
      fc.property(
        vectors,
        grids,
        clippings,
        norms,
        shares,
        fc.option(adversarial),
        (d, grid, clipping, norm, s, loss) => {
          const [lossShare, clipShare] = s
          const told = loss === null ? {} : { lossShare, lossBound: 2, loss }
          const vector = clipOf[clipping](d, { ...grid, norm, clipShare, ...told })
          expect(vector.length).toBe(d.length + (loss === null ? 1 : 2))
          const divisor = clipping === 'joint' ? 1 : d.length
          expect(norm === 'l1' ? withinExactlyL1(vector, grid) : withinExactly(vector, grid, divisor)).toBe(true)
          const [one, ...rhos] = [1, clipShare, ...(loss === null ? [] : [lossShare])].map(whole) as [
            bigint,
            ...bigint[],
          ]
          const taken = rhos.reduce((sum, rho) => sum + (norm === 'l2' ? square(rho) : rho), 0n)
          const rest = norm === 'l2' ? square(one) - taken : square(one - taken)
          const alone = vector.subarray(0, d.length)
          const length =
            norm === 'l2'
              ? alone.reduce((sum, v) => sum + square(BigInt(v)), 0n)
              : square(alone.reduce((sum, v) => sum + BigInt(Math.abs(v)), 0n))
          const count = BigInt(norm === 'l2' ? divisor : 1)
          expect(length * count * square(whole(grid.grid) * one) <= square(whole(grid.clip)) * rest).toBe(true)
        },
      ),
      { numRuns: 3000 },
    )
  })

  test('property: the differences alone are within what the loss leaves, in exact integers', () => {
    const square = (value: bigint) => value * value
    fc.assert(
      fc.property(finiteVectors, settings, losses, finiteAdversarial, (differences, setting, share, loss) => {
        const [grid, clipping, norm] = setting
        const vector = clipOf[clipping](differences, { ...grid, norm, ...share, loss }).subarray(0, -1)
        const count = clipping === 'joint' ? 1n : BigInt(differences.length)
        // All times 2^1100, squared: rho is a whole number then, and so are c and g.
        const whole = (value: number) => {
          const { mantissa, exponent } = exactDyadic(value)
          return mantissa << BigInt(exponent + 1100)
        }
        const [one, rho] = [whole(1), whole(share.lossShare)]
        const rest = norm === 'l2' ? square(one) - square(rho) : square(one - rho)
        const within = (squared: bigint, times: bigint) =>
          expect(squared * square(times * whole(grid.grid) * one) <= square(whole(grid.clip)) * rest).toBe(true)
        if (clipping === 'per-direction') for (const v of vector) within(square(BigInt(v)), count)
        else if (norm === 'l2')
          within(
            vector.reduce((sum, v) => sum + square(BigInt(v)), 0n),
            1n,
          )
        else within(square(vector.reduce((sum, v) => sum + BigInt(Math.abs(v)), 0n)), 1n)
      }),
      { numRuns: 1000 },
    )
  })

  test('property: with one direction both ways are the same', () => {
    fc.assert(
      fc.property(adversarial, settings, (d, setting) => {
        const options = optionsOf(setting)
        expect(clipPerDirection(Float64Array.of(d), options)).toEqual(clipJoint(Float64Array.of(d), options))
      }),
      { numRuns: 3000 },
    )
  })

  test('property: toward zero: no entry is longer than A/g, of another sign, or a step too short', () => {
    const small = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(small, clippings, norms, (list, clipping, norm) => {
        const differences = Float64Array.from(list)
        const options = { clip: 2 ** 6, grid: 2 ** -10, norm, lossShare: 0.25, lossBound: 2, loss: 1.5 }
        const exact = differences.map((d) => Math.trunc((d / differences.length) * 2 ** 10))
        const vector = clipOf[clipping](differences, options).subarray(0, -1)
        // The quotient by K is rounded before the step is taken: at a whole number of steps that may be one of them.
        vector.forEach((v, k) => {
          expect(Math.abs(v - exact[k]!)).toBeLessThanOrEqual(1)
          expect(Math.abs(v)).toBeLessThanOrEqual(
            Math.abs(differences[k]! / differences.length) * 2 ** 10 * (1 + 1e-15),
          )
          expect(v * differences[k]!).toBeGreaterThanOrEqual(0)
        })
      }),
    )
  })

  test('a joint L1 clip scales to the clip, and keeps the direction', () => {
    const options = { clip: 100, grid: 1, norm: 'l1' } as const
    expect([...clipJoint(Float64Array.of(3e6, -1e6), options)]).toEqual([75, -25])
    expect([...clipJoint(Float64Array.of(60, -20), options)]).toEqual([30, -10])
    expect([...clipJoint(Float64Array.of(1.5e308, -1.5e308), options)]).toEqual([50, -50])
    const loss = { lossShare: 0.6, lossBound: 2, loss: 99 }
    expect([...clipJoint(Float64Array.of(3e6, -1e6), { ...options, ...loss })]).toEqual([30, -10, 60])
    expect([...clipJoint(Float64Array.of(1e6), { clip: 1, grid: 0.01, norm: 'l1' })]).toEqual([99])
  })

  test('clips at the boundary exactly, with many equal entries', () => {
    for (const clipping of ['joint', 'per-direction'] as const) {
      for (const steps of [100, 1000, 4096, 12_345]) {
        const grid = { clip: 1, grid: 1 / steps }
        const differences = new Float64Array(steps).fill(1e9)
        const l1 = clipOf[clipping](differences, { ...grid, norm: 'l1' })
        expect(withinExactlyL1(l1, grid)).toBe(true)
      }
    }
  })

  test('clips where both shares are whole numbers of steps, but for the last bit of the clip', () => {
    // Of 0.6 and 0.8 of a thousand steps, all floats are whole; the exact clip is a little less or a little more.
    const differences = Float64Array.of(1e9, -1e9, 1e9, -1e9)
    const loss = { lossShare: 0.6, lossBound: 2, loss: 2 }
    let shortened = 0
    for (let i = 1; i <= 300; i++) {
      const grid = { clip: 1000 * (i / 997), grid: i / 997 }
      const clamped = clipPerDirection(differences, { ...grid, ...loss })
      expect(withinExactly(clamped, grid, 4)).toBe(true)
      expect(withinExactly(clipJoint(differences, { ...grid, ...loss }), grid)).toBe(true)
      for (const clip of Object.values(clipOf)) {
        expect(withinExactlyL1(clip(differences, { ...grid, ...loss, norm: 'l1' }), grid)).toBe(true)
      }
      if (clamped.some((v, k) => Math.abs(v) !== (k < 4 ? 200 : 300))) shortened++
    }
    expect(shortened).toBeGreaterThan(10)
  })

  test('property: the same function each time, and its input is left alone', () => {
    fc.assert(
      fc.property(vectors, settings, (differences, setting) => {
        const copy = differences.slice()
        const clip = clipOf[setting[1]]
        expect(clip(differences, optionsOf(setting))).toEqual(clip(copy, optionsOf(setting)))
        expect(differences).toEqual(copy)
      }),
    )
  })

  test('refuses an unknown norm, and a loss without its share, in both ways', () => {
    for (const clip of Object.values(clipOf)) {
      for (const more of [{ norm: 'l3' }, { loss: 1 }, { lossShare: 0.5, lossBound: 1 }]) {
        // biome-ignore lint/suspicious/noExplicitAny: options that the types refuse too
        const options = { clip: 1, grid: 0.1, ...more } as any
        expect(() => clip(Float64Array.of(1), options)).toThrow(code('invalid_clipping'))
      }
      expect(() => clip(new Float64Array(0), { clip: 1, grid: 0.1 })).toThrow(code('invalid_vector'))
    }
  })
})

describe('sensitivity, noiseDeviation and laplaceScale', () => {
  test('c jointly, c / sqrt(K) per direction', () => {
    expect(sensitivity({ clipping: 'joint', clip: 3, directions: 16 })).toBe(3)
    expect(sensitivity({ clipping: 'per-direction', clip: 3, directions: 16 })).toBe(0.75)
    expect(sensitivity({ clipping: 'joint', clip: 3, directions: 16, norm: 'l2' })).toBe(3)
    expect(sensitivity({ clipping: 'per-direction', clip: 3, directions: 16, norm: 'l2' })).toBe(0.75)
    expect(() => sensitivity({ clipping: 'joint', clip: 0, directions: 1 })).toThrow(code('invalid_clipping'))
    expect(() => sensitivity({ clipping: 'joint', clip: 1, directions: 0 })).toThrow(code('invalid_vector'))
  })

  test('c in the L1 norm, whichever way', () => {
    expect(sensitivity({ clipping: 'joint', clip: 3, directions: 16, norm: 'l1' })).toBe(3)
    expect(sensitivity({ clipping: 'per-direction', clip: 3, directions: 16, norm: 'l1' })).toBe(3)
  })

  test('refuses a clipping or a norm that is none: the smaller sensitivity is no default', () => {
    const question = { clip: 1, grid: 0.1, directions: 4, noiseMultiplier: 1 }
    const wrong = 'round' as unknown as Clipping
    expect(() => sensitivity({ ...question, clipping: wrong })).toThrow(code('invalid_clipping'))
    expect(() => noiseDeviation({ ...question, clipping: wrong })).toThrow(code('invalid_clipping'))
    const norm = 'l3' as unknown as Norm
    expect(() => sensitivity({ ...question, clipping: 'joint', norm })).toThrow(code('invalid_clipping'))
  })

  test('noise takes its own norm, whatever else the question holds', () => {
    const question = { clip: 2, grid: 1, directions: 4, noiseMultiplier: 3, clipping: 'per-direction' } as const
    const raised = 1 + 2 ** -50
    for (const norm of ['l1', 'l2'] as const) {
      expect(noiseDeviation({ ...question, norm } as typeof question)).toBe(3 * raised)
      expect(laplaceScale({ ...question, norm } as typeof question)).toBe(6 * raised)
    }
  })

  test('property: the Laplace scale is never below sigma c / g exactly, and at most 1e-14 above', () => {
    const whole = (value: number) => {
      const { mantissa, exponent } = exactDyadic(value)
      return mantissa << BigInt(exponent + 1200)
    }
    const noise = fc.double({ min: 1e-3, max: 1e6, noNaN: true })
    fc.assert(
      fc.property(grids, noise, clippings, fc.integer({ min: 1, max: 500 }), (grid, noiseMultiplier, clipping, k) => {
        const scale = laplaceScale({ ...grid, noiseMultiplier, clipping, directions: k })
        const given = whole(scale) * whole(grid.grid)
        const needed = whole(noiseMultiplier) * whole(grid.clip)
        expect(given >= needed).toBe(true)
        expect(given * 10n ** 14n <= needed * (10n ** 14n + 1n)).toBe(true)
      }),
    )
  })

  test('property: the deviation is never below sigma S / g exactly, and at most 1e-14 above', () => {
    const square = (value: number) => {
      const { mantissa, exponent } = exactDyadic(value)
      return mantissa ** 2n * 2n ** BigInt(2 * (exponent + 1200))
    }
    const noise = fc.double({ min: 1e-3, max: 1e6, noNaN: true })
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
    expect(() => laplaceScale({ ...question, noiseMultiplier: 0 })).toThrow(code('invalid_noise'))
    expect(() => laplaceScale({ ...question, grid: 2, noiseMultiplier: 1 })).toThrow(code('invalid_clipping'))
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
