import { describe, expect, it } from 'vitest'
import { direction } from './direction.ts'
import { groupAt, groupCount, type Perturbation, perturbationStep, perturbedFactors } from './perturb.ts'
import type { FullSpace } from './space.ts'

const space: FullSpace = {
  kind: 'full',
  directions: { kind: 'low-rank', rank: 3 },
  tensors: [{ name: 'w', shape: [5, 7] }],
}
const run = { seed: '0123456789abcdef', space }
const at: Perturbation = {
  center: Float32Array.from({ length: 35 }, (_, i) => Math.sin(i)),
  round: 2,
  directions: 3,
  radius: 0.01,
  sides: 'two',
}
/** Group g of the perturbed vectors, by the definition. */
const byHand = (k: number, sign: number): Float32Array => {
  const z = direction(run.seed, { round: 2, k }, space)
  const step = sign * Math.fround(0.01 * (1 / Math.sqrt(3)))
  return at.center.map((a, i) => Math.fround(a + Math.fround(step * z[i]!)))
}

describe('perturbed vectors', () => {
  it('are 0+, 0-, 1+, 1-, ... on two sides', () => {
    const expected = [0, 1, 2].flatMap((k) => [byHand(k, 1), byHand(k, -1)])
    expect(groupCount(at)).toBe(6)
    expect([...perturbedFactors(at, run)]).toEqual(expected.flatMap((values) => [...values]))
  })

  it('are the base, 0+, 1+, ... on one side', () => {
    const one = { ...at, sides: 'one' as const }
    const expected = [at.center, byHand(0, 1), byHand(1, 1), byHand(2, 1)]
    expect(groupCount(one)).toBe(4)
    expect([...perturbedFactors(one, run)]).toEqual(expected.flatMap((values) => [...values]))
  })

  it.each(['one', 'two'] as const)('of %s side come in any parts', (sides) => {
    const sided = { ...at, sides }
    const whole = perturbedFactors(sided, run)
    for (let from = 0; from < groupCount(sided); from++)
      for (let to = from; to <= groupCount(sided); to++)
        expect(perturbedFactors(sided, run, { from, to })).toEqual(whole.slice(35 * from, 35 * to))
  })

  it('lie one float32 step away', () => {
    expect(perturbationStep(0.01, space)).toBe(Math.fround(0.01 / Math.sqrt(3)))
    expect([0, 1, 5].map((group) => groupAt(group, 'two'))).toEqual([
      { k: 0, sign: 1 },
      { k: 0, sign: -1 },
      { k: 2, sign: -1 },
    ])
    expect(groupAt(0, 'one').sign).toBe(0)
  })
})
