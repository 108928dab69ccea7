import { noiseDeviation } from '../../shared/privacy/index.ts'
import type { Stage } from '../../shared/zo/index.ts'

/** Standard deviations of noise that a report must have room for: never met. */
const NOISE_REACH = 40

/**
 * Largest magnitude of an integer in an honest report: every unit at its clip, all of one sign, and noise that is never met.
 * @throws PrivacyError where clip, grid or noise are none that clipping takes
 */
export function reportReach(stage: Stage, dataset: { units: number; clipping: 'joint' }): number {
  const { units, clipping } = dataset
  return units * Math.ceil(stage.clip / stage.grid) + NOISE_REACH * noiseDeviation({ ...stage, clipping })
}
