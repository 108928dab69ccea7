import { describe, expect, it } from 'vitest'
import { errorsOf, expectedFloor, expectedNext } from './quadratic.ts'

const BASE = { dimension: 8, directions: 8, learningRate: 0.1, sigma: 0, rounds: 40 }

describe('the quadratic', () => {
  it('is descended as expectation says', async () => {
    const errors = await errorsOf(BASE, '0123456789abcdef')
    let expected = 1
    for (let round = 0; round < BASE.rounds; round++) expected = expectedNext(BASE, expected)
    expect(errors[0]).toBeCloseTo(1, 5)
    expect(Math.log(errors.at(-1)!) / Math.log(expected)).toBeCloseTo(1, 0)
  })

  it('has a floor that expectation leaves alone, and that grows like the square of sigma', () => {
    const noisy = { ...BASE, sigma: 2 }
    expect(expectedNext(noisy, expectedFloor(noisy))).toBeCloseTo(expectedFloor(noisy), 10)
    expect(expectedFloor(noisy) / expectedFloor({ ...BASE, sigma: 1 })).toBeCloseTo(4, 10)
  })
})
