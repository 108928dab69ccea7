import { randomFillSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { roundedNormals } from '../../shared/privacy/index.ts'
import { countUnits } from './draw.ts'

const secret = (length: number) => randomFillSync(new Uint8Array(length))

describe('a private count', () => {
  it('is the count and the noise of the mechanism, from the same secret bytes', () => {
    const given: Uint8Array[] = []
    const record = (length: number) => {
      const bytes = secret(length)
      given.push(bytes.slice())
      return bytes
    }
    const counted = countUnits({ units: 5000, noiseMultiplier: 18.5 }, record)
    const [noise] = roundedNormals({ count: 1, deviation: 18.5 * (1 + 2 ** -50) }, () => given.shift()!)
    expect(counted).toBe(5000 + noise!)
    expect(Number.isSafeInteger(counted)).toBe(true)
  })

  it('varies as much as its noise, around the count', () => {
    const counts = Array.from({ length: 2000 }, () => countUnits({ units: 1000, noiseMultiplier: 10 }, secret))
    const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length
    const deviation = Math.sqrt(counts.reduce((sum, count) => sum + (count - 1000) ** 2, 0) / counts.length)
    // Six standard errors.
    expect(Math.abs(mean - 1000)).toBeLessThan((6 * 10) / Math.sqrt(2000))
    expect(Math.abs(deviation - 10)).toBeLessThan((6 * 10) / Math.sqrt(2 * 2000))
  })

  it('is at least 1', () => {
    const counts = Array.from({ length: 50 }, () => countUnits({ units: 1, noiseMultiplier: 100 }, secret))
    expect(Math.min(...counts)).toBe(1)
  })
})
