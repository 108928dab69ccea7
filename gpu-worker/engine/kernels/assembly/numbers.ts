// AssemblyScript, not TypeScript: see zo.ts.
import { WORDS, words } from './threefry'

/** Numbers that one call of the generator makes: one from each word. */
export const NUMBERS: u32 = 16

/** Set bits of the four words of a vector, less 16. */
// @ts-ignore: decorator
@inline
function counted(at: usize): v128 {
  const bytes = i8x16.popcnt(v128.load(at))
  const sums = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(bytes))
  return i32x4.sub(sums, i32x4.splat(16))
}

/** Centred Binomial(32) numbers as bytes: entries `from` to `from + length` of the stream; `from` is a multiple of 16. */
export function numbers(out: usize, from: u32, length: u32, scratch: usize): void {
  const bytes = scratch + WORDS
  for (let done: u32 = 0; done < length; done += NUMBERS) {
    words(scratch, (from + done) >> 2)
    const low = i16x8.narrow_i32x4_s(counted(scratch), counted(scratch + 16))
    const high = i16x8.narrow_i32x4_s(counted(scratch + 32), counted(scratch + 48))
    const all = i8x16.narrow_i16x8_s(low, high)
    const count = min(length - done, NUMBERS)
    if (count === NUMBERS) v128.store(out + done, all)
    else {
      v128.store(bytes, all)
      memory.copy(out + done, bytes, count)
    }
  }
}

/** Sum of the squares of bytes: exact, as no direction has so many entries that it would leave the doubles. */
export function sumSquares(bytes: usize, length: u32): f64 {
  let sum: u64 = 0
  for (let i: u32 = 0; i < length; i++) {
    const z = load<i8>(bytes + i) as i32
    sum += (z * z) as u64
  }
  return sum as f64
}

/** step * z of four bytes. */
// @ts-ignore: decorator
@inline
function moved(integers: v128, steps: v128): v128 {
  return f32x4.mul(steps, f32x4.convert_i32x4_s(integers))
}

/** out <- center + step * z, z as bytes. */
export function perturbBytes(out: usize, center: usize, bytes: usize, length: u32, step: f32): void {
  const steps = f32x4.splat(step)
  const whole = length & ~7
  for (let i: u32 = 0; i < whole; i += 8) {
    const eight = i16x8.extend_low_i8x16_s(v128.load64_zero(bytes + i))
    const at = (i as usize) << 2
    v128.store(out + at, f32x4.add(v128.load(center + at), moved(i32x4.extend_low_i16x8_s(eight), steps)))
    v128.store(out + at, f32x4.add(v128.load(center + at, 16), moved(i32x4.extend_high_i16x8_s(eight), steps)), 16)
  }
  for (let i = whole; i < length; i++) {
    const at = (i as usize) << 2
    store<f32>(out + at, load<f32>(center + at) + step * (load<i8>(bytes + i) as f32))
  }
}

/** sums <- sums + coefficient * z in double precision, z as bytes. */
export function accumulateBytes(sums: usize, bytes: usize, length: u32, coefficient: f64): void {
  const by = f64x2.splat(coefficient)
  const whole = length & ~1
  for (let i: u32 = 0; i < whole; i += 2) {
    const two = i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load16_splat(bytes + i)))
    const at = sums + ((i as usize) << 3)
    v128.store(at, f64x2.add(v128.load(at), f64x2.mul(f64x2.convert_low_i32x4_s(two), by)))
  }
  if (whole < length) {
    const at = sums + ((whole as usize) << 3)
    store<f64>(at, load<f64>(at) + (load<i8>(bytes + whole) as f64) * coefficient)
  }
}
