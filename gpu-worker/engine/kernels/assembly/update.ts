// AssemblyScript, not TypeScript: see zo.ts.
import { SIGNS, SPREAD, spreadDoubles, turnTo, WORDS, words } from './threefry'

/** Sums <- 0. */
export function clear(sums: usize, count: u32): void {
  memory.fill(sums, 0, (count as usize) << 3)
}

/** sum + coefficient * z for the two entries whose signs `shift` brings up. */
// @ts-ignore: decorator
@inline
function addSigned(sum: v128, word: v128, shift: i32, coefficient: v128): v128 {
  const negative = v128.and(i64x2.shl(word, shift), i64x2.splat(0x8000000000000000))
  return f64x2.add(sum, v128.xor(coefficient, negative))
}

/** Sixteen sums over `held` directions, in registers; `shift` brings up the signs of the first two. */
// @ts-ignore: decorator
@inline
function sumSixteen(sums: usize, spread: usize, shift: i32, coefficients: usize, held: u32): void {
  let s0 = v128.load(sums)
  let s1 = v128.load(sums, 16)
  let s2 = v128.load(sums, 32)
  let s3 = v128.load(sums, 48)
  let s4 = v128.load(sums, 64)
  let s5 = v128.load(sums, 80)
  let s6 = v128.load(sums, 96)
  let s7 = v128.load(sums, 112)
  for (let k: u32 = 0; k < held; k++) {
    const word = v128.load(spread + (k as usize) * SPREAD)
    const coefficient = v128.load64_splat(coefficients + ((k as usize) << 3))
    s0 = addSigned(s0, word, shift, coefficient)
    s1 = addSigned(s1, word, shift - 2, coefficient)
    s2 = addSigned(s2, word, shift - 4, coefficient)
    s3 = addSigned(s3, word, shift - 6, coefficient)
    s4 = addSigned(s4, word, shift - 8, coefficient)
    s5 = addSigned(s5, word, shift - 10, coefficient)
    s6 = addSigned(s6, word, shift - 12, coefficient)
    s7 = addSigned(s7, word, shift - 14, coefficient)
  }
  v128.store(sums, s0)
  v128.store(sums, s1, 16)
  v128.store(sums, s2, 32)
  v128.store(sums, s3, 48)
  v128.store(sums, s4, 64)
  v128.store(sums, s5, 80)
  v128.store(sums, s6, 96)
  v128.store(sums, s7, 112)
}

/** Directions whose signs are held at once. */
const HELD: u32 = 60

/**
 * out <- the update of coordinates of one segment under dense directions 0 to directions - 1, each sum in double precision in
 * this order. Directions are made window by window and never kept.
 * @param block of the generator where the coordinates begin: they are a part of a segment that starts at 128 * block
 * @param coefficients one float64 for each direction
 */
export function updateSigns(
  out: usize,
  current: usize,
  block: u32,
  length: u32,
  coefficients: usize,
  directions: u32,
  rate: f64,
  prox: f64,
  scratch: usize,
): void {
  const sums = scratch + WORDS
  const spread = sums + (SIGNS << 3)
  for (let start: u32 = 0; start < length; start += SIGNS) {
    const count = min(length - start, SIGNS)
    clear(sums, SIGNS)
    for (let first: u32 = 0; first < directions; first += HELD) {
      const held = min(directions - first, HELD)
      for (let k: u32 = 0; k < held; k++) {
        turnTo(first + k)
        words(scratch, block + (start >> 7))
        spreadDoubles(scratch, spread + (k as usize) * SPREAD)
      }
      const weights = coefficients + ((first as usize) << 3)
      for (let i: usize = 0; i < (count as usize); i += 32) {
        sumSixteen(sums + (i << 3), spread + (i >> 1), 63, weights, held)
        sumSixteen(sums + (i << 3) + 128, spread + (i >> 1), 47, weights, held)
      }
    }
    const offset = (start as usize) << 2
    step(out + offset, current + offset, sums, count, rate, 1, prox)
  }
}

/** out <- fround(a - rate * (sum * scale + prox * a)), in double precision in this order. */
export function step(out: usize, current: usize, sums: usize, count: u32, rate: f64, scale: f64, prox: f64): void {
  const whole = count & ~1
  for (let i: u32 = 0; i < whole; i += 2) {
    const at = (i as usize) << 2
    const a = f64x2.promote_low_f32x4(v128.load64_zero(current + at))
    const sum = v128.load(sums + ((i as usize) << 3))
    const pull = f64x2.add(f64x2.mul(sum, f64x2.splat(scale)), f64x2.mul(f64x2.splat(prox), a))
    const next = f64x2.sub(a, f64x2.mul(f64x2.splat(rate), pull))
    v128.store64_lane(out + at, f32x4.demote_f64x2_zero(next), 0)
  }
  if (whole < count) {
    const at = (whole as usize) << 2
    const a = load<f32>(current + at) as f64
    const sum = load<f64>(sums + ((whole as usize) << 3))
    store<f32>(out + at, (a - rate * (sum * scale + prox * a)) as f32)
  }
}
