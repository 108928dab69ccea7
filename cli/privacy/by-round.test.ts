import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { gaussianEvent } from '../../shared/privacy/index.ts'
import { releasedBy, rising, roundsShown, stageEndsOf } from './by-round.ts'

const stage = (rounds: number) => ({ mechanism: 'gaussian' as const, noiseMultiplier: 1, samplingRate: 0.1, rounds })
const lengths = fc.array(fc.nat(400), { maxLength: 8 })

describe('roundsShown', () => {
  test('property: within the limit, increasing, from round 1 on, up to the last round', () => {
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 60 }), (list, limit) => {
        const ends = stageEndsOf(list.map(stage))
        const shown = roundsShown(ends, limit)
        const total = list.reduce((sum, rounds) => sum + rounds, 0)
        expect(shown.length).toBeLessThanOrEqual(limit)
        expect(shown.at(-1)).toBe(total === 0 ? undefined : total)
        expect(shown.every((round, i) => Number.isInteger(round) && round > (shown[i - 1] ?? 0))).toBe(true)
      }),
    )
  })

  test('shows every round where there is room, and the ends of stages where there is not', () => {
    expect(roundsShown([4], 50)).toEqual([1, 2, 3, 4])
    expect(roundsShown([7, 1000], 5)).toEqual([7, 250, 500, 750, 1000])
    expect(roundsShown([1, 2, 3, 900], 4)).toEqual([225, 450, 675, 900])
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

test('a stage without rounds ends nowhere', () => {
  expect(stageEndsOf([stage(10), stage(0), stage(5)])).toEqual([10, 15])
})

test('bounds that cross from point to point are tightened by their neighbours, never loosened', () => {
  const point = (round: number, epsilon: number, lower: number) => ({ round, epsilon, lower, rdp: 9 })
  const points = [point(1, 1.05, 1), point(2, 1.04, 0.99), point(3, 1.2, 1.1)]
  expect(rising(points)).toEqual([point(1, 1.04, 1), point(2, 1.04, 1), point(3, 1.2, 1.1)])
})
