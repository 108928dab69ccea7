import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { releasedBy, rising, spendCurve } from './curve.ts'
import { type EventCount, gaussianEvent } from './event.ts'
import { epsilonBounds } from './pld/bounds.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const lengths = fc.array(fc.nat(400), { maxLength: 8 })
const event = gaussianEvent({ noiseMultiplier: 1.1, samplingRate: 0.06 })

describe('spendCurve', () => {
  const other = gaussianEvent({ noiseMultiplier: 2, samplingRate: 0.1 })
  const stages: EventCount[] = [
    { event, count: 5 },
    { event: other, count: 3 },
    { event, count: 2 },
  ]

  test('encloses the spend of each prefix, and never falls', () => {
    const curve = spendCurve(stages, 1e-5)
    expect(curve.map(({ round }) => round)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    const rounds = stages.flatMap((entry) => Array.from({ length: entry.count }, () => ({ ...entry, count: 1 })))
    for (const { round, epsilon, lower } of curve) {
      const exact = epsilonBounds(rounds.slice(0, round), 1e-5, { tolerance: 1e-5 })
      expect(epsilon).toBeGreaterThanOrEqual(exact.lower)
      expect(epsilon).toBeLessThanOrEqual(exact.epsilon * 1.002)
      expect(lower).toBeLessThanOrEqual(exact.epsilon)
    }
    expect(curve.every(({ epsilon }, i) => i === 0 || epsilon >= curve[i - 1]!.epsilon)).toBe(true)
    expect(curve.at(-1)).toMatchObject({ round: 10 })
  })

  test('is thinned evenly, and empty without rounds', () => {
    const long = spendCurve([{ event, count: 1000 }], 1e-5, 4)
    expect(long.map(({ round }) => round)).toEqual([250, 500, 750, 1000])
    expect(spendCurve([], 1e-5)).toEqual([])
    expect(() => spendCurve(stages, 1e-5, 0)).toThrow(code('invalid_stages'))
  })
})

test('property: the releases of some rounds are so many, in the order of the stages', () => {
  fc.assert(
    fc.property(lengths, fc.nat(4000), (list, rounds) => {
      const history = list.map((count, i) => ({
        event: gaussianEvent({ noiseMultiplier: i + 1, samplingRate: 0.1 }),
        count,
      }))
      const flat = history.flatMap(({ event, count }) => Array.from({ length: count }, () => event))
      const released = releasedBy(history, rounds).flatMap(({ event, count }) =>
        Array.from({ length: count }, () => event),
      )
      expect(released).toEqual(flat.slice(0, rounds))
    }),
    { numRuns: 30 },
  )
})

test('bounds that cross from point to point are tightened by their neighbours, never loosened', () => {
  const point = (round: number, epsilon: number, lower: number) => ({ round, epsilon, lower, rdp: 9 })
  const points = [point(1, 1.05, 1), point(2, 1.04, 0.99), point(3, 1.2, 1.1)]
  expect(rising(points)).toEqual([point(1, 1.04, 1), point(2, 1.04, 1), point(3, 1.2, 1.1)])
})
