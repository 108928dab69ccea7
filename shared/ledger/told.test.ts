import { describe, expect, it } from 'vitest'
import { smallSpec } from '../../test/rehearsal/request.ts'
import { unitBoundOf } from '../api/index.ts'
import { drawNoise } from '../privacy/index.ts'
import { lossDeviation, toldOf } from './told.ts'

const random = (length: number) => crypto.getRandomValues(new Uint8Array(length))

const spec = smallSpec(['north', 'south'])
const laplace = smallSpec(['north', 'south'], {
  noise: 'laplace',
  clipping: 'joint-l1',
  budget: { epsilon: 50, delta: 1e-5 },
})

describe('the deviation of a private loss', () => {
  it.each([
    ['gaussian', spec],
    ['laplace', laplace],
    ['clamps', smallSpec(['north', 'south'], { clipping: 'per-direction' })],
  ])('is that of losses which are nothing but noise: %s', (_, own) => {
    const [stage] = own.stages
    const units = [1000, 400]
    const losses = Array.from({ length: 4000 }, () => {
      const reports = units.map((count) => ({
        units: count,
        integers: [...drawNoise({ ...stage!, ...unitBoundOf(own), count: stage!.directions + 1 }, random)],
      }))
      return toldOf(own, stage!, reports).privateLoss!
    })
    const measured = Math.sqrt(losses.reduce((sum, loss) => sum + loss ** 2, 0) / losses.length)
    // Of 4,000 draws the relative deviation is 1.1 % (Gaussian) or 1.8 % (Laplace): seven of them.
    expect(Math.abs(measured / lossDeviation(own, stage!, units)! - 1)).toBeLessThan(0.125)
  })

  it('is unknown where no loss is told, or reports are not averaged', () => {
    expect(lossDeviation(spec, spec.stages[1]!, [1000, 400])).toBeNull()
    expect(lossDeviation(spec, spec.stages[0]!, [])).toBeNull()
    const median = { ...spec, aggregation: { rule: 'median' as const } }
    expect(lossDeviation(median, spec.stages[0]!, [1000, 400])).toBeNull()
  })
})
