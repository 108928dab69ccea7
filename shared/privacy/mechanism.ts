/**
 * One word, the mechanism of the event that is charged, decides the norm in which a unit is clipped, the sensitivity
 * that the noise is scaled to, and the noise. Whoever clips and draws by these functions cannot pair a norm with the
 * wrong noise.
 */
import {
  type ClipOptions,
  type Clipping,
  clipWith,
  laplaceScale,
  type NoiseQuestion,
  type Norm,
  noiseDeviation,
} from './clip.ts'
import { PrivacyError } from './error.ts'
import type { Mechanism } from './event.ts'
import { roundedLaplaces } from './laplace.ts'
import { roundedNormals } from './normal.ts'
import type { RandomBytes } from './randomness.ts'

const NORMS: Readonly<Record<Mechanism, Norm>> = { gaussian: 'l2', laplace: 'l1' }

/**
 * The norm whose sensitivity the noise multiplier of such an event refers to.
 * @throws PrivacyError `invalid_noise` for an unknown mechanism
 */
export const normOf = (mechanism: Mechanism): Norm => {
  if (!Object.hasOwn(NORMS, mechanism)) throw new PrivacyError('invalid_noise', 'unknown mechanism')
  return NORMS[mechanism]
}

/**
 * The integers that one unit adds to the sum: `clipJoint` or `clipPerDirection` in the norm of the mechanism.
 * @throws PrivacyError `invalid_noise`, `invalid_clipping`, `invalid_vector`
 */
export const clipUnit = (
  differences: Float64Array,
  options: ClipOptions & { readonly mechanism: Mechanism; readonly clipping: Clipping; readonly norm?: never },
): Int32Array => {
  const { mechanism, clipping, ...rest } = options
  return clipWith(clipping, differences, { ...rest, norm: normOf(mechanism) })
}

/**
 * What the sampler is given, in grid steps: the standard deviation of Gaussian noise, the scale of Laplace noise.
 * @throws PrivacyError `invalid_noise`, `invalid_clipping`, `invalid_vector`
 */
export const noiseScale = (question: NoiseQuestion & { readonly mechanism: Mechanism }): number =>
  normOf(question.mechanism) === 'l1' ? laplaceScale(question) : noiseDeviation(question)

/**
 * Exact noise for one report, drawn before the data are looked at: `roundedNormals` or `roundedLaplaces`.
 *
 * @example drawNoise({ ...stage, mechanism: 'laplace', clipping: 'joint', count: stage.directions + 1 }, random)
 * @param request `count` is the number of coordinates: the directions, and one more with a loss
 * @returns `count` safe integers
 * @throws PrivacyError `invalid_noise`, `invalid_clipping`, `invalid_vector`, `invalid_count`, `noise_out_of_range`,
 *   `rng_failure`
 */
export const drawNoise = (
  request: NoiseQuestion & { readonly mechanism: Mechanism; readonly count: number },
  random: RandomBytes,
): Float64Array => {
  const { mechanism, count } = request
  const size = noiseScale(request)
  return normOf(mechanism) === 'l1'
    ? roundedLaplaces({ count, scale: size }, random)
    : roundedNormals({ count, deviation: size }, random)
}
