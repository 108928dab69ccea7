/** The reference is checked before it judges: against its own definition, against tables, and with twice the nodes. */
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { pairOf } from './pair.ts'
import { type Direction, definitionDelta, naiveDelta, naiveEpsilon, profile, type Release } from './quadrature.ts'
import { upperTail } from './tail.ts'

interface Row {
  id: string
  sigma: number
  b: number
  q: number
  T: number
  delta: number
  eps: number
}

const file = new URL('../../../shared/oracle/accounting.json', import.meta.url)
const present = existsSync(file)
const suite = `single releases of the reference tables${present ? '' : ' (skipped: shared/oracle/accounting.json is not beside the repository)'}`

const release = (
  mechanism: Release['mechanism'],
  noiseMultiplier: number,
  samplingRate: number,
  neighbours: Release['neighbours'] = 'add-remove',
): Release => ({ mechanism, noiseMultiplier, samplingRate, neighbours })

const relativeError = (value: number, reference: number) => Math.abs(value / reference - 1)

test('upperTail: values of another library, and the two tails add up to 1', () => {
  // mpmath erfc(t / sqrt(2)) / 2 at 30 digits.
  const values: [number, number][] = [
    [-6, 0.9999999990134123],
    [-1.5, 0.9331927987311419],
    [-0.25, 0.5987063256829237],
    [0.0625, 0.47508233097075275],
    [0.75, 0.2266273523768682],
    [1.375, 0.08456572235133572],
    [1.5, 0.06680720126885807],
    [2.5, 0.006209665325776135],
    [4, 3.1671241833119924e-5],
    [6.5, 4.016000583859118e-11],
    [10, 7.619853024160525e-24],
    [20, 2.7536241186062337e-89],
    [36, 4.182624065797283e-284],
  ]
  for (const [t, value] of values)
    expect(relativeError(upperTail(t), value), String(t)).toBeLessThan(1e-15 * (1 + t * t))
  for (let t = -9; t <= 9; t += 0.01) expect(upperTail(t) + upperTail(-t)).toBeCloseTo(1, 15)
})

describe.skipIf(!present)(suite, () => {
  const tables: { single: Row[]; laplace: Row[] } = present
    ? JSON.parse(readFileSync(file, 'utf8')).tables
    : { single: [], laplace: [] }
  const singles = [
    ...tables.single.map((row) => ({ ...row, release: release('gaussian', row.sigma, row.q) })),
    ...tables.laplace.map((row) => ({ ...row, release: release('laplace', row.b, row.q) })),
  ].filter(({ T }) => T === 1)

  test('there are as many as expected', () => expect(singles.length).toBe(93))

  test('epsilon to the 12 digits stored', () => {
    for (const { id, release, delta, eps } of singles) {
      const epsilon = naiveEpsilon([release], delta)
      expect(Math.abs(epsilon - eps), id).toBeLessThanOrEqual(6e-12 * eps)
    }
  })
})

describe.each<[Release['mechanism'], Direction]>([
  ['gaussian', 'remove'],
  ['gaussian', 'add'],
  ['gaussian', 'replace'],
  ['laplace', 'remove'],
  ['laplace', 'add'],
  ['laplace', 'replace'],
])('%s, direction %s', (mechanism, direction) => {
  const epsilons = [-1, -0.1, -0.0005, 0, 0.01, 0.1, 0.5, 1, 3]
  const releases = [0.5, 0.8, 1, 2, 4].flatMap((noise) =>
    [0.001, 0.01, 0.1, 0.5, 1].map((rate) => release(mechanism, noise, rate)),
  )

  test('the closed form is the integral that defines delta', () => {
    for (const one of releases) {
      for (const epsilon of epsilons) {
        const closed = pairOf(one, direction).delta(epsilon)
        const difference = Math.abs(closed - definitionDelta(one, direction, epsilon))
        expect(difference, JSON.stringify({ one, epsilon })).toBeLessThanOrEqual(1e-12 * closed + 1e-30)
      }
    }
  })
})

/** mpmath at 20 digits: delta of two releases from densities, distribution functions and a root found by bisection. */
const COMPOSED: [Release, Release, Direction, number, number][] = [
  [release('gaussian', 1, 0.5), release('gaussian', 2, 0.2), 'remove', 1, 0.029946215968758516],
  [release('gaussian', 1, 0.5), release('gaussian', 2, 0.2), 'add', 0.3, 0.06541723173568653],
  [release('gaussian', 0.8, 0.1), release('gaussian', 1, 0.3), 'replace', 1.5, 0.007705346055301222],
  [release('laplace', 1, 0.3), release('laplace', 0.7, 0.2), 'remove', 0.5, 0.027999968598863986],
  [release('laplace', 1, 0.3), release('laplace', 0.7, 0.2), 'replace', 0.4, 0.11623395249738945],
  [release('gaussian', 1, 0.25), release('laplace', 1.5, 0.1), 'remove', 0.75, 0.009993413698098171],
]

test.each(COMPOSED)(
  'two releases against 20-digit integrals: %o and %o, %s',
  (first, second, direction, epsilon, delta) => {
    expect(relativeError(profile([first, second], direction)(epsilon), delta)).toBeLessThan(1e-12)
    expect(relativeError(profile([second, first], direction)(epsilon), delta)).toBeLessThan(1e-12)
  },
)

test('unsampled Gaussian releases compose to one with less noise', () => {
  const parts = [2, 3, 1].map((noise) => release('gaussian', noise, 1))
  const whole = release('gaussian', 1 / Math.sqrt(1 / 4 + 1 / 9 + 1), 1)
  for (const epsilon of [0, 0.3, 1.5, 4]) {
    expect(relativeError(naiveDelta(parts, epsilon), naiveDelta([whole], epsilon)), String(epsilon)).toBeLessThan(1e-12)
  }
})

test('replacing a unit without sampling is removing one of twice the size', () => {
  for (const mechanism of ['gaussian', 'laplace'] as const) {
    const once = naiveDelta([release(mechanism, 2, 1, 'replace-one')], 0.7)
    expect(relativeError(once, naiveDelta([release(mechanism, 1, 1)], 0.7))).toBeLessThan(1e-13)
  }
})

test.each<[Direction, number, Release[]]>([
  ['remove', 0.5, [release('gaussian', 1, 0.01), release('gaussian', 1, 0.01), release('gaussian', 1, 0.01)]],
  ['add', 0.1, [release('gaussian', 1, 0.001), release('gaussian', 0.8, 0.2), release('gaussian', 2, 0.1)]],
  ['replace', 1, [release('gaussian', 1, 0.1), release('gaussian', 0.8, 0.2), release('gaussian', 2, 0.1)]],
  ['replace', 0.3, [release('laplace', 1, 0.1), release('laplace', 0.8, 0.2), release('laplace', 2, 0.1)]],
  ['remove', 0.3, [release('laplace', 1, 0.1), release('gaussian', 0.8, 0.2), release('laplace', 2, 0.1)]],
  ['replace', 0.2, [release('gaussian', 4, 0.5), release('laplace', 3, 0.02), release('gaussian', 1.5, 0.3)]],
])(
  'three releases, %s at %d: neither twice the nodes nor another order changes the answer',
  (direction, epsilon, list) => {
    const delta = profile(list, direction)(epsilon)
    expect(relativeError(profile(list, direction, { finer: true })(epsilon), delta)).toBeLessThan(1e-12)
    expect(relativeError(profile([...list].reverse(), direction)(epsilon), delta)).toBeLessThan(1e-12)
  },
)
