import { type Method, unitBoundOf } from '../../shared/api/index.ts'
import { noiseScale } from '../../shared/privacy/index.ts'
import type { Stage } from '../../shared/zo/index.ts'

/** Standard deviations of Gaussian noise, and scales of Laplace noise, that a report must have room for: never met. */
const NOISE_REACH = { gaussian: 40, laplace: 80 } as const

/** Standard deviations that the noise of a count may be off by: never met. */
const COUNT_REACH = 40

/** What the number of units is below where it was counted with noise; undefined where it was declared. */
export function mostUnitsOf({ units, count }: { units: number; count?: { noiseMultiplier: number } | undefined }) {
  return count && units + Math.ceil(COUNT_REACH * count.noiseMultiplier)
}

/** Units that a report may stand for, at most. */
export const reachOf = ({ units, mostUnits }: { units: number; mostUnits?: number | undefined }): number =>
  mostUnits ?? units

/**
 * Largest magnitude of an integer in an honest report: every unit at its clip, all of one sign, and noise that is never met.
 * @throws PrivacyError where clip, grid or noise are none that clipping takes
 */
export function reportReach(
  stage: Stage,
  dataset: { units: number; method: Pick<Method, 'clipping' | 'noise'> },
): number {
  const { units, method } = dataset
  const size = noiseScale({ ...stage, ...unitBoundOf(method) })
  return units * Math.ceil(stage.clip / stage.grid) + NOISE_REACH[method.noise] * size
}
