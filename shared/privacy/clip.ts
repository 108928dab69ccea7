/**
 * Clipping on the integer grid. One unit's vector of K finite differences becomes K integers (multiples of the grid
 * step g) of length at most S/g, exactly and in integers, S being the sensitivity that the noise is scaled to. Length
 * is the norm that the noise goes by: L2 for Gaussian noise, L1 for Laplace noise. No input, hostile or broken, gets
 * past that bound. `mechanism.ts` chooses the norm by the noise; nobody else should have to.
 */
import { exactDyadic, shiftLeft } from './dyadic.ts'
import { PrivacyError } from './error.ts'

/** joint: DP-AggZO, one L2 norm over all directions. per-direction: DP-ZOSO, DPZero, DP-ZO, one clamp for each. */
export type Clipping = 'joint' | 'per-direction'

/** How long one unit's vector is: l2 is what Gaussian noise hides, l1 what Laplace noise hides. */
export type Norm = 'l1' | 'l2'

export interface Grid {
  /** Clip c, in the units of a finite difference. */
  readonly clip: number
  /** Grid step g, same units. */
  readonly grid: number
}

/** The extra coordinate for a private mean loss. */
export interface LossCoordinate {
  /**
   * rho in (0,1): rho * S of the length goes to the loss, what is left to the differences: sqrt(1 - rho^2) of it in the
   * L2 norm, 1 - rho in the L1 norm.
   */
  readonly lossShare: number
  /** Losses are clamped to 0..lossBound. */
  readonly lossBound: number
}

/** The extra coordinate for the share of clipped units: whether this one was. */
export interface ClippedCoordinate {
  /** rho in (0,1), as `lossShare`. */
  readonly clipShare: number
}

/** Largest clip in grid steps: squares then sum below 2^53, where double arithmetic on integers is exact. */
export const GRID_STEPS_MAX = 2 ** 26

export const isPositive = (value: number) => Number.isFinite(value) && value > 0

/** Far from overflow and underflow, so that every quotient below keeps its 53 bits. */
const isScale = (value: number) => value >= 2 ** -500 && value <= 2 ** 500

export const validateGrid = ({ clip, grid }: Grid) => {
  if (!isScale(clip) || !isScale(grid) || clip < grid || clip / grid > GRID_STEPS_MAX) {
    throw new PrivacyError('invalid_clipping', 'clip and grid must be positive, with 1 to 2^26 grid steps in a clip')
  }
}

const validateDirections = (directions: number) => {
  if (!Number.isSafeInteger(directions) || directions < 1) {
    throw new PrivacyError('invalid_vector', 'there must be at least one direction')
  }
}

export const validateLoss = ({ lossShare, lossBound }: LossCoordinate) => {
  if (!(lossShare > 0 && lossShare < 1) || !isPositive(lossBound)) {
    throw new PrivacyError('invalid_clipping', 'the loss share must be between 0 and 1, the loss bound positive')
  }
}

/** What shares take of the squared length (L2) or of the length (L1), nearly. */
const takenBy = (shares: readonly number[], norm: Norm) =>
  shares.reduce((sum, share) => sum + (norm === 'l2' ? share ** 2 : share), 0)

/** The shares of the extra coordinates, in their order. @throws PrivacyError where they leave the differences nothing */
export const sharesOf = (
  { lossShare, clipShare }: Partial<LossCoordinate & ClippedCoordinate>,
  norm: Norm,
): number[] => {
  const shares = [lossShare, clipShare].filter((share) => share !== undefined)
  const leavesNone = shares.length > 1 && !(takenBy(shares, norm) < 1 - 2 ** -40)
  if (leavesNone || shares.some((share) => !(share > 0 && share < 1))) {
    throw new PrivacyError('invalid_clipping', 'the shares of loss and clipped units leave the differences nothing')
  }
  return shares
}

const validateBound = ({ clipping, norm }: { clipping: Clipping; norm: Norm }) => {
  if (clipping !== 'joint' && clipping !== 'per-direction') {
    throw new PrivacyError('invalid_clipping', 'clipping is joint or per-direction')
  }
  if (norm !== 'l1' && norm !== 'l2') throw new PrivacyError('invalid_clipping', 'the norm is l1 or l2')
}

interface Fraction {
  readonly numerator: bigint
  readonly denominator: bigint
}

const over = (denominator: number): Fraction => ({ numerator: 1n, denominator: BigInt(denominator) })

/** floor(c^2/g^2 times the fraction), c and g being the doubles taken exactly: what a squared length may reach. */
const squareBound = ({ clip, grid }: Grid, of: Fraction): number => {
  const c = exactDyadic(clip)
  const g = exactDyadic(grid)
  const shift = 2 * (c.exponent - g.exponent)
  const numerator = shiftLeft(c.mantissa ** 2n * of.numerator, Math.max(shift, 0))
  const denominator = shiftLeft(g.mantissa ** 2n * of.denominator, Math.max(-shift, 0))
  return Number(numerator / denominator)
}

/** (S/c)^2: only clamps in the L2 norm give a vector shorter than c. */
const squaredSensitivity = (clipping: Clipping, norm: Norm, directions: number) =>
  over(clipping === 'per-direction' && norm === 'l2' ? directions : 1)

/** The squared length that shares leave to the differences: 1 - sum rho^2 or (1 - sum rho)^2 of the doubles rho, exactly. */
const squaredRest = (shares: readonly number[], norm: Norm): Fraction => {
  const dyadics = shares.map(exactDyadic)
  const places = Math.max(0, ...dyadics.map(({ exponent }) => -exponent))
  const one = shiftLeft(1n, places)
  const parts = dyadics.map(({ mantissa, exponent }) => shiftLeft(mantissa, places + exponent))
  const taken = parts.reduce((sum, part) => sum + (norm === 'l2' ? part ** 2n : part), 0n)
  return { numerator: norm === 'l2' ? one ** 2n - taken : (one - taken) ** 2n, denominator: one ** 2n }
}

/** Integers, exact below 2^53. */
const squaredLength = (vector: Int32Array, norm: Norm) =>
  norm === 'l2' ? vector.reduce((sum, v) => sum + v * v, 0) : vector.reduce((sum, v) => sum + Math.abs(v), 0) ** 2

/** Moves the longest entry one step toward zero until the bound holds: float rounding is off by a few steps at most. */
const shrinkWithin = (vector: Int32Array, norm: Norm, bound: number) => {
  while (squaredLength(vector, norm) > bound) {
    const longest = vector.reduce((best, v, i) => (Math.abs(v) > Math.abs(vector[best]!) ? i : best), 0)
    vector[longest]! -= Math.sign(vector[longest]!)
  }
  return vector
}

/** Length of the vector over its largest entry, which is above 0: nothing overflows, nothing important underflows. */
const relativeLength = (vector: Float64Array, largest: number, norm: Norm) =>
  norm === 'l2'
    ? Math.sqrt(vector.reduce((sum, d) => sum + (d / largest) ** 2, 0))
    : vector.reduce((sum, d) => sum + Math.abs(d / largest), 0)

/** What the differences of one unit are held to: (c/g)^2 times `rest`, exactly. */
interface Hold extends Grid {
  readonly norm: Norm
  /** The same length as a double, in the units of the clip: near enough to clamp or scale by. */
  readonly limit: number
  readonly rest: Fraction
}

/**
 * Writes trunc(A/g) for A = D/K scaled down to a length of `limit`; D finite, of any magnitude.
 * @returns 1 where it was longer, else 0
 */
const writeJoint = (out: Int32Array, differences: Float64Array, hold: Hold): number => {
  const { norm, grid, limit } = hold
  const count = differences.length
  const largest = differences.reduce((max, d) => Math.max(max, Math.abs(d)), 0)
  if (largest === 0) return 0
  const length = relativeLength(differences, largest, norm)
  const within = (largest / count) * length <= limit
  for (let k = 0; k < count; k++) {
    const d = differences[k]!
    out[k] = Math.trunc(within ? d / count / grid : (d / largest / length) * (limit / grid))
  }
  shrinkWithin(out, norm, squareBound(hold, hold.rest))
  return within ? 0 : 1
}

/**
 * Writes trunc(A/g) for A = D/K with each |D| clamped to `limit`; D finite, of any magnitude.
 * @returns the share of entries that were beyond it
 */
const writeClamped = (out: Int32Array, differences: Float64Array, hold: Hold): number => {
  const { grid, limit, rest } = hold
  const count = differences.length
  const entry = { ...rest, denominator: rest.denominator * BigInt(count) ** 2n }
  // The root of an integer of at most 52 bits: its floor is exact.
  const reach = Math.floor(Math.sqrt(squareBound(hold, entry)))
  for (let k = 0; k < count; k++) {
    const clamped = Math.min(Math.max(differences[k]!, -limit), limit)
    out[k] = Math.min(Math.max(Math.trunc(clamped / count / grid), -reach), reach)
  }
  return differences.reduce((beyond, d) => beyond + (Math.abs(d) > limit ? 1 : 0), 0) / count
}

const allFinite = (differences: Float64Array) => {
  validateDirections(differences.length)
  return differences.every(Number.isFinite)
}

/** What clipping asks for: a loss comes with its share and its bound, or not at all. */
export type ClipOptions = Grid &
  Partial<ClippedCoordinate> & {
    /** `l2` if absent. */
    readonly norm?: Norm
  } & ((LossCoordinate & { readonly loss: number }) | { readonly lossShare?: never; readonly loss?: never })

/** @returns the shares of the extra coordinates */
const validateOptions = (clipping: Clipping, options: ClipOptions): number[] => {
  const { norm = 'l2' } = options
  validateGrid(options)
  validateBound({ clipping, norm })
  if ((options.lossShare === undefined) !== (options.loss === undefined)) {
    throw new PrivacyError('invalid_clipping', 'a loss comes with its share and bound, or not at all')
  }
  if (options.lossShare !== undefined) validateLoss(options)
  return sharesOf(options, norm)
}

const lossSteps = (options: LossCoordinate & { loss: number; grid: number }, length: number) => {
  const { loss, lossBound, lossShare, grid } = options
  const part = Math.min(Math.max(loss, 0), lossBound) / lossBound
  return Math.trunc(part * lossShare * (length / grid))
}

const holdOf = ({ clip, grid, norm = 'l2' }: ClipOptions, shares: readonly number[]): Hold => {
  const taken = takenBy(shares, norm)
  const limit = clip * (norm === 'l2' ? Math.sqrt(1 - taken) : 1 - taken)
  return { clip, grid, norm, limit, rest: squaredRest(shares, norm) }
}

/**
 * Clips in either way, in either norm. The differences are held to their share of the length, exactly, and then the
 * whole vector to S/g: whatever a float rounding has added is taken off again, in integers.
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`
 */
export const clipWith = (clipping: Clipping, differences: Float64Array, options: ClipOptions): Int32Array => {
  const shares = validateOptions(clipping, options)
  const { clip, grid, clipShare, norm = 'l2' } = options
  const directions = differences.length
  const vector = new Int32Array(directions + shares.length)
  if (!allFinite(differences) || !Number.isFinite(options.loss ?? 0)) return vector
  const write = clipping === 'joint' ? writeJoint : writeClamped
  const clipped = write(vector.subarray(0, directions), differences, holdOf(options, shares))
  const length = sensitivity({ clipping, clip, directions, norm })
  if (options.lossShare !== undefined) vector[directions] = lossSteps(options, length)
  if (clipShare !== undefined) vector[vector.length - 1] = Math.trunc(clipped * clipShare * (length / grid))
  return shrinkWithin(vector, norm, squareBound(options, squaredSensitivity(clipping, norm, directions)))
}

/**
 * Joint clipping (DP-AggZO): A = D/K, scaled down to a length of at most c, then trunc(A/g) toward zero. One non-finite
 * entry (or loss) makes the whole vector zero. With a loss, the next coordinate is
 * trunc(rho c clamp(loss, 0, B)/(B g)), and A is scaled down to c sqrt(1 - rho^2) in the L2 norm, c (1 - rho) in the L1 norm.
 * With a share for clipped units, the last is trunc(rho' c / g) where A was scaled down, else 0, and rho'^2 or rho' is taken
 * off in the same way.
 *
 * @param differences the K finite differences D of one unit
 * @returns K integers, and one for each extra coordinate, of length at most c/g exactly, so S = c by adding or removing a unit
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`
 */
export const clipJoint = (differences: Float64Array, options: ClipOptions): Int32Array =>
  clipWith('joint', differences, options)

/**
 * Per-direction clipping (DP-ZOSO, DPZero, DP-ZO): each |D| clamped to c, A = D/K, then trunc(A/g) toward zero. One
 * non-finite entry (or loss) makes the whole vector zero. With a loss, the next coordinate is
 * trunc(rho S clamp(loss, 0, B)/(B g)), and D is clamped to c sqrt(1 - rho^2) in the L2 norm, c (1 - rho) in the L1
 * norm. With a share for clipped units, the last is trunc(rho' S / g) times the share of entries that were clamped.
 *
 * @param differences the K finite differences D of one unit
 * @returns K integers and one for each extra coordinate, those of the differences each with v^2 <= (c/(K g))^2 exactly, and all of
 *   length at most S/g exactly: S = c / sqrt(K) in the L2 norm, S = c in the L1 norm, by adding or removing a unit
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`
 */
export const clipPerDirection = (differences: Float64Array, options: ClipOptions): Int32Array =>
  clipWith('per-direction', differences, options)

/**
 * Sensitivity S of the sum of clipped vectors to one unit, in the units of the clip: c, but c / sqrt(K) for clamps in
 * the L2 norm.
 * @param question `norm` is `l2` if absent
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`
 */
export const sensitivity = (question: {
  clipping: Clipping
  clip: number
  directions: number
  norm?: Norm
}): number => {
  const { clipping, clip, directions, norm = 'l2' } = question
  if (!isScale(clip)) throw new PrivacyError('invalid_clipping', 'the clip must be positive')
  validateDirections(directions)
  validateBound({ clipping, norm })
  return clipping === 'per-direction' && norm === 'l2' ? clip / Math.sqrt(directions) : clip
}

/** What noise is sized by. */
export type NoiseQuestion = Grid & { clipping: Clipping; directions: number; noiseMultiplier: number }

/** sigma S / g, raised by 2^-50 of itself: more than its five roundings (2^-53 each) can take away. */
const noiseInSteps = (question: NoiseQuestion, norm: Norm): number => {
  validateGrid(question)
  const { clipping, clip, directions, grid, noiseMultiplier } = question
  if (!isScale(noiseMultiplier)) {
    throw new PrivacyError('invalid_noise', 'the noise multiplier must be finite and above 0')
  }
  return (sensitivity({ clipping, clip, directions, norm }) / grid) * noiseMultiplier * (1 + 2 ** -50)
}

/**
 * Standard deviation of Gaussian noise in grid steps, sigma S / g with S in the L2 norm, as a double that is never
 * below the real value.
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`, `invalid_noise`
 */
export const noiseDeviation = (question: NoiseQuestion): number => noiseInSteps(question, 'l2')

/**
 * Scale b of Laplace noise in grid steps, sigma S / g with S in the L1 norm, as a double that is never below the real
 * value.
 * @throws PrivacyError `invalid_clipping`, `invalid_vector`, `invalid_noise`
 */
export const laplaceScale = (question: NoiseQuestion): number => noiseInSteps(question, 'l1')

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
