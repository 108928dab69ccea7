/**
 * Clipping on the integer grid. One unit's vector of K finite differences becomes K integers (multiples of the grid
 * step g) whose squares sum to at most (S/g)^2, exactly and in integers, S being the sensitivity that the noise is
 * scaled to. No input, hostile or broken, gets past that bound.
 */
import { exactDyadic, shiftLeft } from './dyadic.ts'
import { PrivacyError } from './error.ts'

/** joint: DP-AggZO, one L2 norm over all directions. per-direction: DP-ZOSO, DPZero, DP-ZO, one clamp for each. */
export type Clipping = 'joint' | 'per-direction'

export interface Grid {
  /** Clip c, in the units of a finite difference. */
  readonly clip: number
  /** Grid step g, same units. */
  readonly grid: number
}

/** The extra coordinate for a private mean loss. */
export interface LossCoordinate {
  /** rho in (0,1): the part rho * c of the norm goes to the loss, sqrt(1 - rho^2) * c to the differences. */
  readonly lossShare: number
  /** Losses are clamped to 0..lossBound. */
  readonly lossBound: number
}

/** Largest clip in grid steps: squares then sum below 2^53, where double arithmetic on integers is exact. */
export const GRID_STEPS_MAX = 2 ** 26

const isPositive = (value: number) => Number.isFinite(value) && value > 0

/** Far from overflow and underflow, so that every quotient below keeps its 53 bits. */
const isScale = (value: number) => value >= 2 ** -500 && value <= 2 ** 500

const validateGrid = ({ clip, grid }: Grid) => {
  if (!isScale(clip) || !isScale(grid) || clip < grid || clip / grid > GRID_STEPS_MAX) {
    throw new PrivacyError('invalid_clipping', 'clip and grid must be positive, with 1 to 2^26 grid steps in a clip')
  }
}

const validateDirections = (directions: number) => {
  if (!Number.isSafeInteger(directions) || directions < 1) {
    throw new PrivacyError('invalid_vector', 'there must be at least one direction')
  }
}

const validateLoss = ({ lossShare, lossBound }: LossCoordinate) => {
  if (!(lossShare > 0 && lossShare < 1) || !isPositive(lossBound)) {
    throw new PrivacyError('invalid_clipping', 'the loss share must be between 0 and 1, the loss bound positive')
  }
}

/** floor(c^2 / (g^2 d)) of the doubles c and g taken exactly: what a sum of squares of integers may reach. */
const squareBound = ({ clip, grid }: Grid, divisor = 1): number => {
  const c = exactDyadic(clip)
  const g = exactDyadic(grid)
  const shift = 2 * (c.exponent - g.exponent)
  const numerator = shiftLeft(c.mantissa ** 2n, Math.max(shift, 0))
  const denominator = shiftLeft(g.mantissa ** 2n * BigInt(divisor), Math.max(-shift, 0))
  return Number(numerator / denominator)
}

const sumOfSquares = (vector: Int32Array) => vector.reduce((sum, v) => sum + v * v, 0)

/** Moves the longest entry one step toward zero until the bound holds: float rounding is off by a few steps at most. */
const shrinkWithin = (vector: Int32Array, bound: number) => {
  for (let excess = sumOfSquares(vector) - bound; excess > 0; excess = sumOfSquares(vector) - bound) {
    const longest = vector.reduce((best, v, i) => (Math.abs(v) > Math.abs(vector[best]!) ? i : best), 0)
    vector[longest]! -= Math.sign(vector[longest]!)
  }
  return vector
}

/** Writes trunc(A/g) for A = D/K scaled down to L2 norm `limit`; D finite, of any magnitude. */
const writeJoint = (out: Int32Array, differences: Float64Array, limit: number, grid: number) => {
  const count = differences.length
  const largest = differences.reduce((max, d) => Math.max(max, Math.abs(d)), 0)
  if (largest === 0) return
  // Entries are divided by the largest first: no square overflows, and none of the important ones underflows.
  const length = Math.sqrt(differences.reduce((sum, d) => sum + (d / largest) ** 2, 0))
  const within = (largest / count) * length <= limit
  for (let k = 0; k < count; k++) {
    const d = differences[k]!
    out[k] = Math.trunc(within ? d / count / grid : (d / largest / length) * (limit / grid))
  }
}

const allFinite = (differences: Float64Array) => {
  validateDirections(differences.length)
  return differences.every(Number.isFinite)
}

/**
 * Joint clipping (DP-AggZO): A = D/K, scaled down to L2 norm <= c if longer, then trunc(A/g) toward zero. One
 * non-finite entry (or loss) makes the whole vector zero. With a loss, the last coordinate is
 * trunc(rho c clamp(loss, 0, B)/(B g)) and the differences are clipped to c sqrt(1 - rho^2).
 *
 * @param differences the K finite differences D of one unit
 * @returns K integers (K + 1 with a loss) with sum of squares <= (c/g)^2 exactly, so S = c by adding or removing a unit
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`
 */
export const clipJoint = (
  differences: Float64Array,
  options: Grid &
    ((LossCoordinate & { readonly loss: number }) | { readonly lossShare?: never; readonly loss?: never }),
): Int32Array => {
  validateGrid(options)
  const { clip, grid } = options
  const finite = allFinite(differences)
  if ((options.lossShare === undefined) !== (options.loss === undefined)) {
    throw new PrivacyError('invalid_clipping', 'a loss comes with its share and bound, or not at all')
  }
  if (options.lossShare === undefined) {
    const vector = new Int32Array(differences.length)
    if (finite) writeJoint(vector, differences, clip, grid)
    return shrinkWithin(vector, squareBound(options))
  }
  validateLoss(options)
  const { lossShare, lossBound, loss } = options
  const vector = new Int32Array(differences.length + 1)
  if (!finite || !Number.isFinite(loss)) return vector
  writeJoint(vector.subarray(0, -1), differences, clip * Math.sqrt(1 - lossShare ** 2), grid)
  const part = Math.min(Math.max(loss, 0), lossBound) / lossBound
  vector[differences.length] = Math.trunc(part * lossShare * (clip / grid))
  return shrinkWithin(vector, squareBound(options))
}

/**
 * Per-direction clipping (DP-ZOSO, DPZero, DP-ZO): each |D| clamped to c, A = D/K, then trunc(A/g) toward zero. One
 * non-finite entry makes the whole vector zero.
 *
 * @param differences the K finite differences D of one unit
 * @returns K integers, each with v^2 <= (c/(K g))^2 exactly, so S = c / sqrt(K) by adding or removing a unit
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`
 */
export const clipPerDirection = (differences: Float64Array, options: Grid): Int32Array => {
  validateGrid(options)
  const { clip, grid } = options
  const count = differences.length
  const vector = new Int32Array(count)
  if (!allFinite(differences)) return vector
  const bound = squareBound(options, count ** 2)
  for (let k = 0; k < count; k++) {
    const clamped = Math.min(Math.max(differences[k]!, -clip), clip)
    vector[k] = Math.trunc(clamped / count / grid)
    shrinkWithin(vector.subarray(k, k + 1), bound)
  }
  return vector
}

/**
 * L2 sensitivity S of the sum of clipped vectors to one unit, in the units of the clip: c jointly, c / sqrt(K)
 * per direction.
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`
 */
export const sensitivity = (question: { clipping: Clipping; clip: number; directions: number }): number => {
  const { clipping, clip, directions } = question
  if (!isScale(clip)) throw new PrivacyError('invalid_clipping', 'the clip must be positive')
  validateDirections(directions)
  return clipping === 'joint' ? clip : clip / Math.sqrt(directions)
}

/**
 * Standard deviation of the noise in grid steps, sigma S / g, as a double that is never below the real value: the
 * product is raised by 2^-50 of itself, more than its five roundings (2^-53 each) can take away.
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`, `invalid_noise`
 */
export const noiseDeviation = (
  question: Grid & { clipping: Clipping; directions: number; noiseMultiplier: number },
): number => {
  validateGrid(question)
  if (!isScale(question.noiseMultiplier)) {
    throw new PrivacyError('invalid_noise', 'the noise multiplier must be finite and above 0')
  }
  return (sensitivity(question) / question.grid) * question.noiseMultiplier * (1 + 2 ** -50)
}

/**
 * The unit's vector when a unit has several lines (unit = user): the mean of the lines' difference vectors, before
 * clipping. An overflow gives a non-finite entry, which clipping turns into the zero vector.
 * @throws PrivacyError `invalid_vector` without lines, or with vectors of different lengths
 */
export const meanDifferences = (lines: readonly Float64Array[]): Float64Array => {
  const first = lines[0]
  if (!first || lines.some((line) => line.length !== first.length)) {
    throw new PrivacyError('invalid_vector', 'a unit needs lines, all with the same number of directions')
  }
  return first.map((_, k) => lines.reduce((sum, line) => sum + line[k]!, 0) / lines.length)
}

/**
 * Estimate of the mean loss from the loss coordinate's integers, summed over data sets: unbiased up to the clamp and
 * up to one grid step per unit, and as noisy as the mechanism made it (it can fall below 0).
 * @param sumOfIntegers sum of the last coordinate of all reports of a round
 * @param options `expectedUnits` is the sum over data sets of rate times declared units, q N
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`
 */
export const decodeLoss = (
  sumOfIntegers: number,
  options: Grid & LossCoordinate & { expectedUnits: number },
): number => {
  validateGrid(options)
  validateLoss(options)
  if (!Number.isFinite(sumOfIntegers) || !isPositive(options.expectedUnits)) {
    throw new PrivacyError('invalid_vector', 'a finite sum and a positive number of expected units are needed')
  }
  const { clip, grid, lossShare, lossBound, expectedUnits } = options
  return (((sumOfIntegers * grid) / (lossShare * clip)) * lossBound) / expectedUnits
}
