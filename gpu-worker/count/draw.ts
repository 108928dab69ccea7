import { drawNoise, type RandomBytes } from '../../shared/privacy/index.ts'

/**
 * A private count of units: the count plus exact Gaussian noise, rounded once. One unit more or less changes the count by 1, which
 * is the sensitivity; the noise is drawn before the count is looked at.
 * @param question `noiseMultiplier` is the standard deviation of the noise, in units.
 * @returns at least 1: what is cut follows from the noised count alone, and costs nothing.
 * @throws PrivacyError `invalid_noise`, `noise_out_of_range`, `rng_failure`
 */
export function countUnits(question: { units: number; noiseMultiplier: number }, random: RandomBytes): number {
  const { units, noiseMultiplier } = question
  const one = { mechanism: 'gaussian', clipping: 'joint', clip: 1, grid: 1, directions: 1 } as const
  const [noise] = drawNoise({ ...one, noiseMultiplier, count: 1 }, random) as Float64Array & { 0: number }
  return Math.max(1, units + noise)
}
