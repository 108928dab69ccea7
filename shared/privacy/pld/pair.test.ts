import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type MechanismEvent, mechanismEvent } from '../event.ts'
import { type DominatingPair, dominatingPairs } from './pair.ts'

const logUniform = (min: number, max: number) =>
  fc.double({ min: Math.log(min), max: Math.log(max), noNaN: true }).map(Math.exp)
const rate = fc.oneof(
  fc.constant(1),
  logUniform(1e-5, 1),
  logUniform(1e-9, 0.5).map((x) => 1 - x),
)

const eventOf = (least: number) =>
  fc
    .record({
      mechanism: fc.constantFrom('gaussian' as const, 'laplace' as const),
      noiseMultiplier: logUniform(least, 50),
      samplingRate: rate,
      neighbours: fc.constantFrom('add-remove' as const, 'replace-one' as const),
    })
    .map(mechanismEvent)

const massesAt = ({ masses }: DominatingPair, loss: number) => {
  const into = new Float64Array(5)
  masses(loss, into)
  return { p: into[0]!, q: into[1]!, pLow: into[2]!, qLow: into[3]!, error: into[4]! }
}

const atomsOf = ({ atoms }: DominatingPair) => ({
  p: atoms.reduce((sum, atom) => sum + atom.p, 0),
  q: atoms.reduce((sum, atom) => sum + atom.p * Math.exp(-atom.loss), 0),
})

/** The pair from its definition: densities of the mixtures and the loss as a function of the noisy value. */
const definition = (
  { mechanism, noiseMultiplier: s, samplingRate: q, neighbours }: MechanismEvent,
  direction: number,
) => {
  const density = (x: number, centre: number) =>
    mechanism === 'gaussian'
      ? Math.exp((-(x - centre) * (x - centre)) / (2 * s * s)) / (s * Math.sqrt(2 * Math.PI))
      : Math.exp(-Math.abs(x - centre) / s) / (2 * s)
  const ratio = (x: number) =>
    mechanism === 'gaussian' ? (2 * x - 1) / (2 * s * s) : (Math.abs(x) - Math.abs(x - 1)) / s
  const logA = (x: number) => {
    const gain = q * Math.expm1(ratio(x))
    return gain > -0.5 ? Math.log1p(gain) : Math.log(1 - q + q * Math.exp(ratio(x)))
  }
  const mixed = (centre: number) => (x: number) => (1 - q) * density(x, 0) + q * density(x, centre)
  const still = (x: number) => density(x, 0)
  if (neighbours === 'replace-one')
    return { p: mixed(-1), q: mixed(1), loss: (x: number) => logA(-x) - logA(x), rises: false }
  if (direction === 0) return { p: mixed(1), q: still, loss: logA, rises: true }
  return { p: still, q: mixed(1), loss: (x: number) => -logA(x), rises: false }
}

/** Simpson's rule between points where the integrands are smooth. */
const integral = (f: (x: number) => number, from: number, to: number, pieces = 4000) => {
  const h = (to - from) / pieces
  let sum = f(from) + f(to)
  for (let i = 1; i < pieces; i++) sum += (i % 2 === 1 ? 4 : 2) * f(from + i * h)
  return (sum * h) / 3
}

const across = (f: (x: number) => number, points: number[]) =>
  points.slice(1).reduce((sum, to, i) => sum + integral(f, points[i]!, to), 0)

describe('dominating pairs', () => {
  test('property: masses beyond a loss are integrals of the densities that define the pair', () => {
    fc.assert(
      fc.property(eventOf(0.1), fc.double({ min: 0.02, max: 0.98, noNaN: true }), (event, place) => {
        const { mechanism, noiseMultiplier: s, samplingRate: q, neighbours } = event
        const low = neighbours === 'replace-one' ? -1 : 0
        const reach = mechanism === 'gaussian' ? 5 * s : 0
        const x = low - reach + place * (1 - low + 2 * reach)
        // Where hardly anything is added to 1 - q, a loss does not tell x to seven digits.
        const tellable = (at: number) =>
          q * Math.exp(mechanism === 'gaussian' ? (2 * at - 1) / (2 * s * s) : (Math.abs(at) - Math.abs(at - 1)) / s)
        fc.pre(q === 1 || Math.max(tellable(x), neighbours === 'replace-one' ? tellable(-x) : 0) > 1e-5)
        fc.pre(Math.abs(x) > 1e-4)
        for (const [direction, pair] of dominatingPairs(event).entries()) {
          const exact = definition(event, direction)
          const far = mechanism === 'gaussian' ? 14 * s : 0
          const kinks = mechanism === 'laplace' && low < 0 ? [0] : []
          // Far from a centre the densities fall steeply, so they are taken more finely near x.
          const near = mechanism === 'gaussian' ? [3 * s] : []
          const below = [low - far, ...kinks.filter((kink) => kink < x), ...near.map((reached) => x - reached), x]
          const above = [x, ...near.map((reached) => x + reached), ...kinks.filter((kink) => kink > x), 1 + far]
          const [upper, lower] = exact.rises ? [above, below] : [below, above]
          const found = massesAt(pair, exact.loss(x))
          const close = (value: number, wanted: number) => expect(Math.abs(value / wanted - 1)).toBeLessThan(2e-7)
          close(found.p, across(exact.p, upper))
          close(found.q, across(exact.q, upper))
          close(found.pLow, across(exact.p, lower))
          close(found.qLow, across(exact.q, lower))
        }
      }),
      { numRuns: 150 },
    )
  })

  test('property: the whole of P and of Q is 1, at every loss', () => {
    fc.assert(
      fc.property(eventOf(0.15), fc.double({ min: -30, max: 30, noNaN: true }), (event, loss) => {
        for (const pair of dominatingPairs(event)) {
          const { p, q, pLow, qLow } = massesAt(pair, loss)
          const atoms = atomsOf(pair)
          expect(Math.abs(p + pLow + atoms.p - 1)).toBeLessThan(1e-13)
          expect(Math.abs(q + qLow + atoms.q - 1)).toBeLessThan(1e-12)
        }
      }),
    )
  })

  test('property: between two losses, the ratio of P-mass to Q-mass lies between their exponentials', () => {
    fc.assert(
      fc.property(
        eventOf(0.15),
        fc.double({ min: -1, max: 1, noNaN: true }),
        logUniform(1e-4, 0.5),
        (event, place, width) => {
          const { noiseMultiplier: s, samplingRate: q } = event
          const scale = Math.log1p(q * Math.expm1(1 / s))
          const [from, to] = [place * scale, place * scale + width * scale]
          for (const pair of dominatingPairs(event)) {
            const [a, b] = [massesAt(pair, from), massesAt(pair, to)]
            const upper = a.p < a.pLow
            const p = upper ? a.p - b.p : b.pLow - a.pLow
            const other = upper ? a.q - b.q : b.qLow - a.qLow
            const noise = 1e-13 * (upper ? a.p + a.q : b.pLow + b.qLow)
            expect(p).toBeGreaterThanOrEqual(-noise)
            expect(p - Math.exp(from) * other).toBeGreaterThanOrEqual(-noise * (1 + Math.exp(from)))
            expect(Math.exp(to) * other - p).toBeGreaterThanOrEqual(-noise * (1 + Math.exp(to)))
          }
        },
      ),
    )
  })

  test('property: a replacement is its own mirror image, and adding mirrors removing', () => {
    fc.assert(
      fc.property(eventOf(0.15), fc.double({ min: -20, max: 20, noNaN: true }), (event, loss) => {
        const pairs = dominatingPairs(event)
        const [here, there] = [massesAt(pairs[0]!, loss), massesAt(pairs.at(-1)!, -loss)]
        // Bit by bit but at loss 0, which a replacement's halves reach from either side.
        const near = (a: number, b: number) => Math.abs(a - b) <= (loss === 0 ? 1e-14 * b : 0)
        expect(near(here.p, there.qLow)).toBe(true)
        expect(near(here.q, there.pLow)).toBe(true)
      }),
    )
  })

  test('unsampled Gaussian noise: a normal loss', () => {
    // P(L > 0) for mean 1/2 and standard deviation 1, and at its mean.
    const [remove] = dominatingPairs(mechanismEvent({ noiseMultiplier: 1, samplingRate: 1 }))
    expect(massesAt(remove!, 0).p).toBeCloseTo(0.691462461274013, 14)
    expect(massesAt(remove!, 0.5).p).toBeCloseTo(0.5, 14)
    expect(massesAt(remove!, 0).q).toBeCloseTo(0.308537538725987, 14)
  })

  test('Laplace noise: atoms at both ends, of the losses and masses of the closed form', () => {
    const [remove, add] = dominatingPairs(
      mechanismEvent({ mechanism: 'laplace', noiseMultiplier: 2, samplingRate: 0.25 }),
    )
    const [low, high] = [Math.log(0.75 + 0.25 * Math.exp(-0.5)), Math.log(0.75 + 0.25 * Math.exp(0.5))]
    expect(remove!.atoms.map(({ loss }) => loss)).toEqual([expect.closeTo(low, 14), expect.closeTo(high, 14)])
    expect(add!.atoms.map(({ loss }) => loss)).toEqual([expect.closeTo(-high, 14), expect.closeTo(-low, 14)])
    expect(remove!.atoms[1]!.p).toBeCloseTo(0.75 * 0.5 * Math.exp(-0.5) + 0.25 * 0.5, 14)
    expect(add!.atoms[1]!.p).toBe(0.5)
  })

  test('little Laplace noise: the atoms of rate 1 are at 1/b, and at twice that for a replacement', () => {
    for (const scale of [0.1, 0.03, 0.02, 0.001]) {
      const losses = (neighbours: 'add-remove' | 'replace-one') =>
        dominatingPairs(
          mechanismEvent({ mechanism: 'laplace', noiseMultiplier: scale, samplingRate: 1, neighbours }),
        )[0]!.atoms.map(({ loss }) => loss * scale)
      for (const [found, wanted] of [
        [losses('add-remove'), [-1, 1]],
        [losses('replace-one'), [-2, 2]],
      ] as const) {
        expect(Math.abs(found[0]! - wanted[0]!)).toBeLessThan(1e-13)
        expect(Math.abs(found[1]! - wanted[1]!)).toBeLessThan(1e-13)
      }
    }
  })

  test('extremes: probabilities at every loss, which fall as it rises', () => {
    const losses = [-1e5, -700, -1, -1e-300, 0, 1e-300, 1e-12, 1, 700, 1e5]
    for (const mechanism of ['gaussian', 'laplace'] as const) {
      for (const neighbours of ['add-remove', 'replace-one'] as const) {
        for (const noiseMultiplier of [1e-3, 0.3, 1e6]) {
          for (const samplingRate of [1e-12, 0.5, 1 - 2 ** -53, 1]) {
            const event = mechanismEvent({ mechanism, neighbours, noiseMultiplier, samplingRate })
            for (const pair of dominatingPairs(event)) {
              const found = losses.map((loss) => massesAt(pair, loss))
              for (const { p, q, pLow, qLow, error } of found) {
                for (const mass of [p, q, pLow, qLow]) expect(mass).toBeGreaterThanOrEqual(0)
                for (const mass of [p, q, pLow, qLow]) expect(mass).toBeLessThanOrEqual(1 + 1e-15)
                expect(error).toBeGreaterThan(0)
                // Where a mass is 0, its relative error says nothing.
                if (Math.min(p, q, pLow, qLow) > 0) expect(error).toBeLessThan(5e-9)
              }
              for (const [i, { p }] of found.slice(1).entries())
                expect(p).toBeLessThanOrEqual(found[i]!.p * (1 + 1e-12))
            }
          }
        }
      }
    }
  })
})
