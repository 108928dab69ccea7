// AssemblyScript, not TypeScript: see zo.ts.
import { SIGNS, spreadFloats, words } from './threefry'

/** step * z for one entry, without a branch that no processor could foresee. */
// @ts-ignore: decorator
@inline
function signedAt(scratch: usize, sign: u32, step: f32): f32 {
  const word = load<u32>(scratch + ((sign >> 5) << 2))
  return reinterpret<f32>(reinterpret<u32>(step) ^ (((word >> (sign & 31)) & 1) << 31))
}

/** step * z for the four entries whose signs `shift` brings up. */
// @ts-ignore: decorator
@inline
function signedFour(word: v128, shift: i32, steps: v128): v128 {
  return v128.xor(steps, v128.and(i32x4.shl(word, shift), i32x4.splat(0x80000000)))
}

/** Four entries of a perturbation on one side. */
// @ts-ignore: decorator
@inline
function four(to: usize, from: usize, at: usize, signed: v128): void {
  v128.store(to + at, f32x4.add(v128.load(from + at), signed))
}

/** out <- center + step * z, for a segment of `length` coordinates. */
export function perturb(out: usize, center: usize, length: u32, step: f32, scratch: usize): void {
  const steps = f32x4.splat(step)
  for (let start: u32 = 0; start < length; start += SIGNS) {
    words(scratch, start >> 7)
    const spread = spreadFloats(scratch)
    const count = min(length - start, SIGNS)
    const from = center + ((start as usize) << 2)
    const to = out + ((start as usize) << 2)
    const whole = count & ~31
    for (let i: u32 = 0; i < whole; i += 32) {
      const word = v128.load(spread + (i >> 1))
      const at = (i as usize) << 2
      four(to, from, at, signedFour(word, 31, steps))
      four(to, from, at + 16, signedFour(word, 27, steps))
      four(to, from, at + 32, signedFour(word, 23, steps))
      four(to, from, at + 48, signedFour(word, 19, steps))
      four(to, from, at + 64, signedFour(word, 15, steps))
      four(to, from, at + 80, signedFour(word, 11, steps))
      four(to, from, at + 96, signedFour(word, 7, steps))
      four(to, from, at + 112, signedFour(word, 3, steps))
    }
    for (let i = whole; i < count; i++) {
      const at = (i as usize) << 2
      store<f32>(to + at, load<f32>(from + at) + signedAt(scratch, i, step))
    }
  }
}

/** Four entries of a perturbation on both sides. */
// @ts-ignore: decorator
@inline
function fourPairs(plus: usize, minus: usize, center: usize, at: usize, signed: v128): void {
  const middle = v128.load(center + at)
  v128.store(plus + at, f32x4.add(middle, signed))
  v128.store(minus + at, f32x4.sub(middle, signed))
}

/** plus <- center + step * z and minus <- center - step * z, in one pass. */
export function perturbPair(plus: usize, minus: usize, center: usize, length: u32, step: f32, scratch: usize): void {
  const steps = f32x4.splat(step)
  for (let start: u32 = 0; start < length; start += SIGNS) {
    words(scratch, start >> 7)
    const spread = spreadFloats(scratch)
    const count = min(length - start, SIGNS)
    const offset = (start as usize) << 2
    const whole = count & ~31
    for (let i: u32 = 0; i < whole; i += 32) {
      const word = v128.load(spread + (i >> 1))
      const at = offset + ((i as usize) << 2)
      fourPairs(plus, minus, center, at, signedFour(word, 31, steps))
      fourPairs(plus, minus, center, at + 16, signedFour(word, 27, steps))
      fourPairs(plus, minus, center, at + 32, signedFour(word, 23, steps))
      fourPairs(plus, minus, center, at + 48, signedFour(word, 19, steps))
      fourPairs(plus, minus, center, at + 64, signedFour(word, 15, steps))
      fourPairs(plus, minus, center, at + 80, signedFour(word, 11, steps))
      fourPairs(plus, minus, center, at + 96, signedFour(word, 7, steps))
      fourPairs(plus, minus, center, at + 112, signedFour(word, 3, steps))
    }
    for (let i = whole; i < count; i++) {
      const at = offset + ((i as usize) << 2)
      const signed = signedAt(scratch, i, step)
      const middle = load<f32>(center + at)
      store<f32>(plus + at, middle + signed)
      store<f32>(minus + at, middle - signed)
    }
  }
}

/** out[index] <- center[index] + step * z[i] for the kept indices of a tensor; all else is left. */
export function perturbKept(out: usize, center: usize, indices: usize, length: u32, step: f32, scratch: usize): void {
  for (let start: u32 = 0; start < length; start += SIGNS) {
    words(scratch, start >> 7)
    const count = min(length - start, SIGNS)
    for (let i: u32 = 0; i < count; i++) {
      const at = (load<u32>(indices + (((start + i) as usize) << 2)) as usize) << 2
      store<f32>(out + at, load<f32>(center + at) + signedAt(scratch, i, step))
    }
  }
}

/** out <- a + b in float32, elementwise. */
export function add(out: usize, a: usize, b: usize, length: u32): void {
  const whole = length & ~3
  for (let i: u32 = 0; i < whole; i += 4) {
    const at = (i as usize) << 2
    v128.store(out + at, f32x4.add(v128.load(a + at), v128.load(b + at)))
  }
  for (let i = whole; i < length; i++) {
    const at = (i as usize) << 2
    store<f32>(out + at, load<f32>(a + at) + load<f32>(b + at))
  }
}

/** out[index] <- base[index] + values[i] for the kept indices of a tensor; all else is left. */
export function addKept(out: usize, base: usize, values: usize, indices: usize, length: u32): void {
  for (let i: u32 = 0; i < length; i++) {
    const at = (load<u32>(indices + ((i as usize) << 2)) as usize) << 2
    store<f32>(out + at, load<f32>(base + at) + load<f32>(values + ((i as usize) << 2)))
  }
}
