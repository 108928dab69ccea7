/**
 * exp, expm1, log, log1p, the normal upper tail and circle points, from IEEE 754 double arithmetic alone.
 *
 * ECMAScript leaves the last bits of Math.exp and its kin to the engine, so two sites could publish different epsilons
 * for the same run. It does fix + - * / and Math.floor, and forbids fusing them: what is written here, in this order,
 * gives the same bits everywhere. Reordering an expression changes bits; the pinned checksum in the tests says so.
 *
 * Series are Taylor series, so their coefficients need no source; the tail's come from test/vectors/make-elementary.py.
 * Long ones are summed as two interleaved chains, which shortens the wait between dependent multiplications.
 */
import { PrivacyError } from './error.ts'

/**
 * Largest relative error of exp, expm1, log and log1p. Below 2^-1022 results are subnormal: half a unit of 5e-324 is
 * added to it there.
 */
export const ELEMENTARY_ERROR = 4e-16
/** Largest relative error of normalTail up to t = 37.5; beyond, results are subnormal (see ELEMENTARY_ERROR). */
export const TAIL_ERROR = 1e-15
/** Largest absolute error of a coordinate of quarterWave. */
export const WAVE_ERROR = 2e-16

/** ln 2 in two parts: the first has 40 bits, so its product with any exponent of a double is exact. */
const LN2_HIGH = 0.6931471805592082
const LN2_LOW = 7.371002565167799e-13
const INVERSE_LN2 = 1 / LN2_HIGH

/** 2^k at k + 1024 for -1024 <= k <= 1023: looking one up is faster than assembling its bits. */
const POWERS = (() => {
  const table = new Float64Array(2048).fill(1)
  for (let i = 1025; i < 2048; i++) table[i] = table[i - 1]! * 2
  for (let i = 1023; i >= 0; i--) table[i] = table[i + 1]! / 2
  return table
})()
const powerOfTwo = (k: number) => POWERS[k + 1024]!
const LEAST_NORMAL = powerOfTwo(-1022)

const scratch = Float64Array.of(1)
const words = new Uint32Array(scratch.buffer)
/** Where this machine's byte order puts the word with the exponent; the low word of 1 is zero. */
const HIGH = words[0] === 0 ? 1 : 0

/** y 2^k, rounded once: a result below 2^-1022 must not be rounded on the way there. */
const scale = (y: number, k: number) => {
  if (k > 1023) return y * 2 * powerOfTwo(k - 1)
  return k < -1022 ? y * powerOfTwo(k + 256) * powerOfTwo(-256) : y * powerOfTwo(k)
}

/** exp(r + rest) - 1 - r for |r| <= 0.35, rest below an ulp of r. */
const expBeyondLinear = (r: number, rest: number) => {
  const z = r * r
  const even = 1 / 2 + z * (1 / 24 + z * (1 / 720 + z * (1 / 40320 + z * (1 / 3628800 + z * (1 / 479001600)))))
  const odd = 1 / 6 + z * (1 / 120 + z * (1 / 5040 + z * (1 / 362880 + z * (1 / 39916800 + z * (1 / 6227020800)))))
  return rest + z * (even + r * odd)
}

/** factor exp(high + low) for -1e3 < high < 711 and |low| below 1e-9; the factor keeps subnormals to one rounding. */
const expOfSum = (high: number, low: number, factor: number) => {
  const k = Math.floor(high * INVERSE_LN2 + 0.5)
  const near = high - k * LN2_HIGH
  const off = k * LN2_LOW - low
  const r = near - off
  return scale((1 + (r + expBeyondLinear(r, near - r - off))) * factor, k)
}

/**
 * e^x, as Math.exp but with the same bits in every engine.
 * @returns within ELEMENTARY_ERROR; Infinity above 709.79, 0 below -745.14, NaN for NaN
 */
export const exp = (x: number): number => {
  if (x > 710) return Number.POSITIVE_INFINITY
  if (x < -746) return 0
  return Number.isNaN(x) ? x : expOfSum(x, 0, 1)
}

/**
 * e^x - 1 without cancellation, as Math.expm1 but with the same bits in every engine.
 * @returns within ELEMENTARY_ERROR; keeps the sign of 0; -1 at -Infinity, NaN for NaN
 */
export const expm1 = (x: number): number => {
  if (x > 40) return exp(x)
  if (x < -40) return -1
  if (x === 0 || Number.isNaN(x)) return x
  const k = Math.floor(x * INVERSE_LN2 + 0.5)
  const near = x - k * LN2_HIGH
  const off = k * LN2_LOW
  const r = near - off
  const power = powerOfTwo(k)
  const whole = power - 1
  const linear = power * r
  // whole and linear cancel for k = 1, so the rounding of their sum is recovered (Knuth's two-sum).
  const sum = whole + linear
  const shift = sum - whole
  const lost = whole - (sum - shift) + (linear - shift)
  return sum + (lost + power * expBeyondLinear(r, near - r - off))
}

/**
 * k ln 2 + log(1 + f) + rest for -0.3 < f < 0.42. With s = f/(2+f), log(1+f) = 2 atanh(s) = f - f^2/2 + s (f^2/2 + R):
 * f stays exact and only small terms are rounded.
 */
const logNearOne = (f: number, k: number, rest: number) => {
  const s = f / (2 + f)
  const z = s * s
  const w = z * z
  const odd = z * (2 / 3 + w * (2 / 7 + w * (2 / 11 + w * (2 / 15 + w * (2 / 19)))))
  const even = w * (2 / 5 + w * (2 / 9 + w * (2 / 13 + w * (2 / 17 + w * (2 / 21)))))
  const half = 0.5 * f * f
  return k * LN2_HIGH - (half - (s * (half + (odd + even)) + (k * LN2_LOW + rest)) - f)
}

/** The upper word of sqrt(1/2), whose exponent field holds -1. */
const ROOT_WORD = 0x3fe6a09e

/** shift ln 2 + log(u) + rest for a positive normal u: splits u = 2^k m with m from sqrt(1/2) up to sqrt(2). */
const logOfNormal = (u: number, shift: number, rest: number) => {
  scratch[0] = u
  const k = (words[HIGH]! - ROOT_WORD) >> 20
  return logNearOne(u * powerOfTwo(-k) - 1, k + shift, rest)
}

/**
 * Natural logarithm, as Math.log but with the same bits in every engine.
 * @returns within ELEMENTARY_ERROR; -Infinity at 0 and -0, NaN below 0 and for NaN, Infinity at Infinity
 */
export const log = (x: number): number => {
  if (x >= LEAST_NORMAL && x < Number.POSITIVE_INFINITY) return logOfNormal(x, 0, 0)
  if (x === 0) return Number.NEGATIVE_INFINITY
  if (x < 0) return Number.NaN
  // What is left and not subnormal is NaN or Infinity, its own logarithm.
  return x < 1 ? logOfNormal(x * powerOfTwo(54), -54, 0) : x
}

/**
 * log(1 + x) without cancellation, as Math.log1p but with the same bits in every engine.
 * @returns within ELEMENTARY_ERROR; keeps the sign of 0; -Infinity at -1, NaN below -1 and for NaN
 */
export const log1p = (x: number): number => {
  if (Math.abs(x) < 1e-17) return x
  if (x > -0.29 && x < 0.41) return logNearOne(x, 0, 0)
  if (!(x > -1 && x < Number.POSITIVE_INFINITY)) return log(1 + x)
  const u = 1 + x
  const lost = x < 1 ? x - (u - 1) : 1 - (u - x)
  return logOfNormal(u, 0, lost / u)
}

/**
 * normalTail(t) exp(t^2/2) for 0 <= t < 40: a polynomial in z = 1.25 - 11.25/(t + 5), which runs from -1 to 1, divided
 * by 1 + t. That product varies by a fifth only, so its rounding stays near one ulp of the result. Coefficients:
 * Chebyshev interpolation at 48 nodes with 60 digits, cut after degree 24, where 4e-19 is left.
 */
const scaledTail = (t: number) => {
  const z = 1.25 - 11.25 / (t + 5)
  const w = z * z
  let even = 1.0823226921427118e-10 + w * -9.02434877404898e-12
  even = 4.980319353570199e-9 + w * (-7.731382720371167e-10 + w * even)
  even = 4.056435744685688e-7 + w * (-3.826347345832407e-8 + w * even)
  even = 7.276571910578792e-5 + w * (-5.409272109884767e-6 + w * even)
  even = -0.010268468766168312 + w * (-0.0006124351015126175 + w * even)
  even = 0.020043017086171153 + w * (-0.026952676501643968 + w * even)
  let odd = 2.8771992478033804e-10 + w * -1.8655885659089828e-11
  odd = 2.4397859464045497e-8 + w * (-2.8279267497360938e-9 + w * odd)
  odd = 1.6111012837203223e-6 + w * (-2.0398714776477346e-7 + w * odd)
  odd = -7.872436104277269e-5 + w * (-8.740202031636847e-6 + w * odd)
  odd = 0.020238004449739482 + w * (0.0035001388405133576 + w * odd)
  odd = -0.08703312959387319 + w * (0.0177113932737389 + w * odd)
  return (0.47205320650984467 + (z * odd + w * even)) / (1 + t)
}

/**
 * P(N(0,1) > t), the standard normal's upper tail.
 * @param t any real, in standard deviations; infinities are allowed
 * @returns within TAIL_ERROR; 0 once the value is below 2.5e-324 (t above 38.5), NaN for NaN
 */
export const normalTail = (t: number): number => {
  if (t < 0) return 1 - normalTail(-t)
  if (t === 0) return 0.5
  if (!(t < 40)) return Number.isNaN(t) ? t : 0
  // The exponent reaches 700, so an ulp of t^2 would cost 1e-13: its rounding is recovered (Dekker's product).
  const square = t * t
  const wide = t * 134217729
  const top = wide - (wide - t)
  const rest = t - top
  const lost = top * top - square + 2 * top * rest + rest * rest
  return expOfSum(-0.5 * square, -0.5 * lost, scaledTail(t))
}

/** The points of a regular polygon on the unit circle, from (1, 0) counterclockwise. */
export interface Wave {
  /** Horizontal coordinates. */
  readonly cos: Float64Array
  /** Vertical coordinates. */
  readonly sin: Float64Array
}

/** 2 pi in two parts: the first has 30 bits, so its product with an eighth of WAVE_POINTS_MAX is exact. */
const TURN_HIGH = 6.283185303211212
const TURN_LOW = 3.968374318722162e-9
/** Most points of a wave. */
export const WAVE_POINTS_MAX = 67_108_864

/** sin(angle + rest) for 0 <= angle <= 0.79, rest below an ulp of it. */
const sinInOctant = (angle: number, rest: number) => {
  const z = angle * angle
  const w = z * z
  const even = -1 / 6 + w * (-1 / 5040 + w * (-1 / 39916800 + w * (-1 / 1307674368000)))
  const odd = 1 / 120 + w * (1 / 362880 + w * (1 / 6227020800 + w * (1 / 355687428096000)))
  return angle + (rest * (1 - 0.5 * z) + angle * z * (even + z * odd))
}

/** cos(angle + rest) for 0 <= angle <= 0.79, rest below an ulp of it. */
const cosInOctant = (angle: number, rest: number) => {
  const z = angle * angle
  const w = z * z
  const even = 1 / 24 + w * (1 / 40320 + w * (1 / 479001600 + w * (1 / 20922789888000)))
  const odd = -1 / 720 + w * (-1 / 3628800 + w * (-1 / 87178291200))
  const half = 0.5 * z
  const start = 1 - half
  return start + (1 - start - half + (w * (even + z * odd) - angle * rest))
}

/** Writes the point at step k of the first quadrant, 0 <= k < n/4, and its turns by 90, 180 and 270 degrees. */
const writeTurns = ({ cos, sin }: Wave, k: number, x: number, y: number) => {
  const quarter = cos.length / 4
  for (let turn = 0; turn < 4; turn++) {
    const point = k + turn * quarter
    cos[point] = turn === 0 ? x : turn === 1 ? 0 - y : turn === 2 ? 0 - x : y
    sin[point] = turn === 0 ? y : turn === 1 ? x : turn === 2 ? 0 - y : 0 - x
  }
}

/**
 * cos and sin of 2 pi k/n for k = 0..n-1: the factors of a Fourier transform of n points. Exactly symmetric: every
 * coordinate comes from the first octant, with the sign of 0 always +.
 * @param n a power of two from 4 to WAVE_POINTS_MAX
 * @returns two arrays of length n, each coordinate within WAVE_ERROR
 * @throws PrivacyError `invalid_count`
 * @example quarterWave(4) // { cos: [1, 0, -1, 0], sin: [0, 1, 0, -1] }
 */
export const quarterWave = (n: number): Wave => {
  if (!(Number.isInteger(n) && n >= 4 && n <= WAVE_POINTS_MAX && (n & (n - 1)) === 0)) {
    throw new PrivacyError('invalid_count', 'the number of wave points must be a power of two, 4 to 2^26')
  }
  const wave = { cos: new Float64Array(n), sin: new Float64Array(n) }
  writeTurns(wave, 0, 1, 0)
  if (n >= 8) writeTurns(wave, n / 8, Math.sqrt(0.5), Math.sqrt(0.5))
  for (let k = 1; k < n / 8; k++) {
    const high = (k * TURN_HIGH) / n
    const low = (k * TURN_LOW) / n
    const angle = high + low
    const rest = high - angle + low
    const x = cosInOctant(angle, rest)
    const y = sinInOctant(angle, rest)
    writeTurns(wave, k, x, y)
    writeTurns(wave, n / 4 - k, y, x)
  }
  return wave
}

/** pi/2 in two parts: the first has 33 bits, so its product with any quarter turn up to ROTATION_MAX is exact. */
const QUARTER_HIGH = 1.5707963267341256
const QUARTER_LOW = 6.077100506506192e-11
const QUARTERS = 1 / (QUARTER_HIGH + QUARTER_LOW)
/** Largest angle of rotation, either way, in radians. */
export const ROTATION_MAX = 1e5
/** Largest absolute error of a coordinate of rotation. */
export const ROTATION_ERROR = 4e-16

/**
 * The point of the unit circle at an angle: point[0] = cos(angle), point[1] = sin(angle), within ROTATION_ERROR. It is
 * written into an array of the caller's because transforms ask for many.
 * @param angle radians, at most ROTATION_MAX either way; NaN is written for any other
 */
export const rotation = (angle: number, point: Float64Array): void => {
  const k = Math.abs(angle) <= ROTATION_MAX ? Math.floor(angle * QUARTERS + 0.5) : Number.NaN
  const near = angle - k * QUARTER_HIGH
  const off = k * QUARTER_LOW
  const r = near - off
  const rest = near - r - off
  const x = cosInOctant(r, rest)
  const y = sinInOctant(r, rest)
  const odd = (k & 1) === 1
  point[0] = (k & 2) === 0 ? (odd ? -y : x) : odd ? y : -x
  point[1] = (k & 2) === 0 ? (odd ? x : y) : odd ? -x : -y
}
