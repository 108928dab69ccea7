import { quarterWave } from '../elementary.ts'
import { memo } from '../memo.ts'

/**
 * Relative rounding error of one butterfly, a bound: a complex product by a twiddle within 2.4e-16 of its value, and a
 * complex sum (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 24.1).
 */
const BUTTERFLY_ERROR = 1e-15

/** Largest error of any output of a transform of `size` points, over the sum of magnitudes of its inputs. */
export const transformError = (size: number): number => (31 - Math.clz32(size)) * BUTTERFLY_ERROR

/** In-place complex transforms of one power-of-two size. */
export interface Transform {
  readonly size: number
  /** X_k = sum_j x_j exp(-2 pi i j k / size). */
  forward(re: Float64Array, im: Float64Array): void
  /** x_j = sum_k X_k exp(+2 pi i j k / size): without the factor 1/size. */
  backward(re: Float64Array, im: Float64Array): void
}

/** Pairs of indices below `size` that are each other's bits in reverse, the smaller first. */
const reversals = (size: number): Int32Array => {
  const pairs = new Int32Array(size)
  let length = 0
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1
    for (; j & bit; bit >>= 1) j ^= bit
    j ^= bit
    if (i >= j) continue
    pairs[length++] = i
    pairs[length++] = j
  }
  return pairs.subarray(0, length)
}

const exchange = (values: Float64Array, pairs: Int32Array) => {
  for (let p = 0; p < pairs.length; p += 2) {
    const i = pairs[p]!
    const j = pairs[p + 1]!
    const kept = values[i]!
    values[i] = values[j]!
    values[j] = kept
  }
}

interface Table {
  /** Twiddles of every stage one behind the other, so that memory is read in order: those of `half` at [half, 2 half). */
  readonly cos: Float64Array
  readonly sin: Float64Array
}

/** The first stage of butterflies, whose twiddle is 1. */
const firstStage = (re: Float64Array, im: Float64Array) => {
  for (let i = 0; i < re.length; i += 2) {
    const r = re[i + 1]!
    const s = im[i + 1]!
    re[i + 1] = re[i]! - r
    im[i + 1] = im[i]! - s
    re[i]! += r
    im[i]! += s
  }
}

/**
 * Two stages of butterflies at once, between blocks of `half` and of 2 `half` points: half the traffic of two passes.
 * The second's twiddle at half further is -i times that here.
 */
const twoStages = (re: Float64Array, im: Float64Array, { cos, sin }: Table, half: number) => {
  const size = re.length
  for (let start = 0; start < size; start += 4 * half) {
    for (let k = 0; k < half; k++) {
      const [a, b] = [start + k, start + k + half]
      const [c, d] = [b + half, b + 2 * half]
      const c1 = cos[half + k]!
      const s1 = sin[half + k]!
      const c2 = cos[2 * half + k]!
      const s2 = sin[2 * half + k]!
      const br = re[b]! * c1 + im[b]! * s1
      const bi = im[b]! * c1 - re[b]! * s1
      const dr = re[d]! * c1 + im[d]! * s1
      const di = im[d]! * c1 - re[d]! * s1
      const ar = re[a]! + br
      const ai = im[a]! + bi
      const er = re[a]! - br
      const ei = im[a]! - bi
      const cr = re[c]! + dr
      const ci = im[c]! + di
      const fr = re[c]! - dr
      const fi = im[c]! - di
      const gr = cr * c2 + ci * s2
      const gi = ci * c2 - cr * s2
      const hr = fi * c2 - fr * s2
      const hi = -(fr * c2 + fi * s2)
      re[a] = ar + gr
      im[a] = ai + gi
      re[c] = ar - gr
      im[c] = ai - gi
      re[b] = er + hr
      im[b] = ei + hi
      re[d] = er - hr
      im[d] = ei - hi
    }
  }
}

const tableOf = (size: number): Table => {
  const wave = quarterWave(Math.max(size, 4))
  const cos = new Float64Array(size)
  const sin = new Float64Array(size)
  for (let half = 1; half < size; half *= 2) {
    const stride = wave.cos.length / (2 * half)
    for (let k = 0; k < half; k++) {
      cos[half + k] = wave.cos[k * stride]!
      sin[half + k] = wave.sin[k * stride]!
    }
  }
  return { cos, sin }
}

const plan = (size: number): Transform => {
  const table = tableOf(size)
  const pairs = reversals(size)
  const odd = (31 - Math.clz32(size)) % 2 === 1
  const forward = (re: Float64Array, im: Float64Array) => {
    exchange(re, pairs)
    exchange(im, pairs)
    if (odd) firstStage(re, im)
    for (let half = odd ? 2 : 1; half < size; half *= 4) twoStages(re, im, table, half)
  }
  // Exchanging the parts conjugates up to a factor i, before and behind.
  return { size, forward, backward: (re, im) => forward(im, re) }
}

const plans = memo<Transform>(6)

/** The transform of `size` points, a power of two; the latest few sizes keep their tables. */
export const transformOf = (size: number): Transform => plans(String(size), () => plan(size))
