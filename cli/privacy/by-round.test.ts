import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { roundsShown, stageEndsOf } from './by-round.ts'

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

test('a stage without rounds ends nowhere', () => {
  expect(stageEndsOf([stage(10), stage(0), stage(5)])).toEqual([10, 15])
})
