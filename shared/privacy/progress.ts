/** What the extra coordinates of released vectors say, all reports of a round together. */
import {
  type ClippedCoordinate,
  type Clipping,
  type Grid,
  isPositive,
  type LossCoordinate,
  type Norm,
  sensitivity,
  sharesOf,
  validateGrid,
  validateLoss,
} from './clip.ts'
import { PrivacyError } from './error.ts'

/** How the vectors were clipped: jointly in the L2 norm if absent. Only clamps need the number of directions. */
export type Clipped = { readonly norm?: Norm } & (
  | { readonly clipping?: 'joint'; readonly directions?: number }
  | { readonly clipping: Clipping; readonly directions: number }
)

/** What the sum of an extra coordinate is, as a part of the whole length of the expected units. */
const shareOfLength = (sumOfIntegers: number, share: number, question: Grid & Clipped & { expectedUnits: number }) => {
  validateGrid(question)
  if (!Number.isFinite(sumOfIntegers) || !isPositive(question.expectedUnits)) {
    throw new PrivacyError('invalid_vector', 'a finite sum and a positive number of expected units are needed')
  }
  const { clip, grid, clipping = 'joint', directions = clipping === 'joint' ? 1 : 0, norm = 'l2' } = question
  const length = sensitivity({ clipping, clip, directions, norm })
  return (sumOfIntegers * grid) / (share * length)
}

/**
 * Estimate of the share of clipped units (of clamped entries, per direction) from the coordinate's integers, as `decodeLoss`:
 * as noisy as the mechanism made it, so that it can lie outside 0 to 1.
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`
 */
export const decodeClipped = (
  sumOfIntegers: number,
  options: Grid & ClippedCoordinate & Clipped & { expectedUnits: number },
): number => {
  sharesOf({ clipShare: options.clipShare }, options.norm ?? 'l2')
  return shareOfLength(sumOfIntegers, options.clipShare, options) / options.expectedUnits
}

/**
 * Estimate of the mean loss from the loss coordinate's integers, summed over data sets: unbiased up to the clamp and
 * up to one grid step per unit, and as noisy as the mechanism made it (it can fall below 0).
 * @param sumOfIntegers sum of the loss coordinate of all reports of a round
 * @param options as given to clipping; `expectedUnits` is the sum over data sets of rate times declared units, q N
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`
 */
export const decodeLoss = (
  sumOfIntegers: number,
  options: Grid & LossCoordinate & Clipped & { expectedUnits: number },
): number => {
  validateLoss(options)
  return (shareOfLength(sumOfIntegers, options.lossShare, options) * options.lossBound) / options.expectedUnits
}
