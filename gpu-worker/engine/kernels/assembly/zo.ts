// AssemblyScript, not TypeScript: compiled by `npm run kernels` to zo.wasm. The reference for every function is in shared/zo;
// each must give the same bits. Pointers are byte offsets into a memory that the host lays out.

/** Key schedule parity constant of Threefry for 32-bit words. */
const PARITY: u32 = 0x1bd11bda

/** Signs that one call of the generator makes: four blocks of 128 bits. */
const SIGNS: u32 = 512

let k0: u32 = 0
let k1: u32 = 0
let k2: u32 = 0
let k3: u32 = 0
let k4: u32 = 0
let t1: u32 = 0
let t2: u32 = 0
let t3: u32 = 0

/** Key of a stream, and the last three words of the counter of every block. */
export function stream(a: u32, b: u32, c: u32, d: u32, segment: u32, round: u32, k: u32): void {
  k0 = a
  k1 = b
  k2 = c
  k3 = d
  k4 = PARITY ^ a ^ b ^ c ^ d
  t1 = segment
  t2 = round
  t3 = k
}

// @ts-ignore: decorator
@inline
function rotate(word: v128, distance: i32): v128 {
  return v128.or(i32x4.shl(word, distance), i32x4.shr_u(word, 32 - distance))
}

/**
 * Threefry4x32-20 of blocks `block` to `block + 3`, one in each lane, and their 512 bits at `at`: 16 words in the order of the
 * signs, block after block, word after word.
 */
function words(at: usize, block: u32): void {
  let x0 = i32x4.add(i32x4.add(i32x4.splat(block), i32x4(0, 1, 2, 3)), i32x4.splat(k0))
  let x1 = i32x4.splat(t1 + k1)
  let x2 = i32x4.splat(t2 + k2)
  let x3 = i32x4.splat(t3 + k3)
  // The key schedule, turned by one place after each injection.
  let a = k1
  let b = k2
  let c = k3
  let d = k4
  let e = k0
  for (let injection: u32 = 1; injection <= 5; injection++) {
    if (injection & 1) {
      x0 = i32x4.add(x0, x1)
      x1 = v128.xor(rotate(x1, 10), x0)
      x2 = i32x4.add(x2, x3)
      x3 = v128.xor(rotate(x3, 26), x2)
      x0 = i32x4.add(x0, x3)
      x3 = v128.xor(rotate(x3, 11), x0)
      x2 = i32x4.add(x2, x1)
      x1 = v128.xor(rotate(x1, 21), x2)
      x0 = i32x4.add(x0, x1)
      x1 = v128.xor(rotate(x1, 13), x0)
      x2 = i32x4.add(x2, x3)
      x3 = v128.xor(rotate(x3, 27), x2)
      x0 = i32x4.add(x0, x3)
      x3 = v128.xor(rotate(x3, 23), x0)
      x2 = i32x4.add(x2, x1)
      x1 = v128.xor(rotate(x1, 5), x2)
    } else {
      x0 = i32x4.add(x0, x1)
      x1 = v128.xor(rotate(x1, 6), x0)
      x2 = i32x4.add(x2, x3)
      x3 = v128.xor(rotate(x3, 20), x2)
      x0 = i32x4.add(x0, x3)
      x3 = v128.xor(rotate(x3, 17), x0)
      x2 = i32x4.add(x2, x1)
      x1 = v128.xor(rotate(x1, 11), x2)
      x0 = i32x4.add(x0, x1)
      x1 = v128.xor(rotate(x1, 25), x0)
      x2 = i32x4.add(x2, x3)
      x3 = v128.xor(rotate(x3, 10), x2)
      x0 = i32x4.add(x0, x3)
      x3 = v128.xor(rotate(x3, 18), x0)
      x2 = i32x4.add(x2, x1)
      x1 = v128.xor(rotate(x1, 20), x2)
    }
    x0 = i32x4.add(x0, i32x4.splat(a))
    x1 = i32x4.add(x1, i32x4.splat(b))
    x2 = i32x4.add(x2, i32x4.splat(c))
    x3 = i32x4.add(x3, i32x4.splat(d + injection))
    const first = a
    a = b
    b = c
    c = d
    d = e
    e = first
  }
  // The transpose of four vectors: the words of one block beside each other.
  const low01 = i32x4.shuffle(x0, x1, 0, 4, 1, 5)
  const low23 = i32x4.shuffle(x2, x3, 0, 4, 1, 5)
  const high01 = i32x4.shuffle(x0, x1, 2, 6, 3, 7)
  const high23 = i32x4.shuffle(x2, x3, 2, 6, 3, 7)
  v128.store(at, i64x2.shuffle(low01, low23, 0, 2))
  v128.store(at, i64x2.shuffle(low01, low23, 1, 3), 16)
  v128.store(at, i64x2.shuffle(high01, high23, 0, 2), 32)
  v128.store(at, i64x2.shuffle(high01, high23, 1, 3), 48)
}

// @ts-ignore: decorator
@inline
function bitAt(scratch: usize, sign: u32): u32 {
  return (load<u32>(scratch + ((sign >> 5) << 2)) >> (sign & 31)) & 1
}

/** The sign bits of four floats, from bits `bit` to `bit + 3` of a word. */
// @ts-ignore: decorator
@inline
function signBits(word: v128, bit: i32): v128 {
  const picked = v128.and(word, i32x4.shl(i32x4(1, 2, 4, 8), bit))
  return v128.and(i32x4.ne(picked, i32x4.splat(0)), i32x4.splat(0x80000000))
}

/** Signs +1 and -1 as bytes. */
export function signs(out: usize, length: u32, scratch: usize): void {
  for (let start: u32 = 0; start < length; start += SIGNS) {
    words(scratch, start >> 7)
    const end = min(length - start, SIGNS)
    for (let i: u32 = 0; i < end; i++) store<i8>(out + start + i, 1 - ((bitAt(scratch, i) as i8) << 1))
  }
}

/** out <- center + step * z, for a segment of `length` coordinates. */
export function perturb(out: usize, center: usize, length: u32, step: f32, scratch: usize): void {
  const steps = f32x4.splat(step)
  for (let start: u32 = 0; start < length; start += SIGNS) {
    words(scratch, start >> 7)
    const count = min(length - start, SIGNS)
    const from = center + ((start as usize) << 2)
    const to = out + ((start as usize) << 2)
    const whole = count & ~31
    for (let i: u32 = 0; i < whole; i += 32) {
      const word = v128.load32_splat(scratch + (i >> 3))
      for (let bit: u32 = 0; bit < 32; bit += 4) {
        const at = ((i + bit) as usize) << 2
        v128.store(to + at, f32x4.add(v128.load(from + at), v128.xor(steps, signBits(word, bit))))
      }
    }
    for (let i = whole; i < count; i++) {
      const at = (i as usize) << 2
      const signed = bitAt(scratch, i) ? -step : step
      store<f32>(to + at, load<f32>(from + at) + signed)
    }
  }
}

/** plus <- center + step * z and minus <- center - step * z, in one pass. */
export function perturbPair(plus: usize, minus: usize, center: usize, length: u32, step: f32, scratch: usize): void {
  const steps = f32x4.splat(step)
  for (let start: u32 = 0; start < length; start += SIGNS) {
    words(scratch, start >> 7)
    const count = min(length - start, SIGNS)
    const offset = (start as usize) << 2
    const whole = count & ~31
    for (let i: u32 = 0; i < whole; i += 32) {
      const word = v128.load32_splat(scratch + (i >> 3))
      for (let bit: u32 = 0; bit < 32; bit += 4) {
        const at = offset + (((i + bit) as usize) << 2)
        const signed = v128.xor(steps, signBits(word, bit))
        const middle = v128.load(center + at)
        v128.store(plus + at, f32x4.add(middle, signed))
        v128.store(minus + at, f32x4.sub(middle, signed))
      }
    }
    for (let i = whole; i < count; i++) {
      const at = offset + ((i as usize) << 2)
      const signed = bitAt(scratch, i) ? -step : step
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
      const signed = bitAt(scratch, i) ? -step : step
      store<f32>(out + at, load<f32>(center + at) + signed)
    }
  }
}

/** One row of a low-rank direction: z_j = sum over r of left_r right_rj. Small integers, exact in float32. */
// @ts-ignore: decorator
@inline
function rowOf(left: usize, right: usize, rank: u32, columns: u32, j: u32): v128 {
  let z = f32x4.splat(0)
  for (let r: u32 = 0; r < rank; r++) {
    const sign = f32x4.splat(load<i8>(left + r) as f32)
    z = f32x4.add(z, f32x4.mul(sign, v128.load(right + (((r * columns + j) as usize) << 2))))
  }
  return z
}

function entryOf(left: usize, right: usize, rank: u32, columns: u32, j: u32): f32 {
  let z: f32 = 0
  for (let r: u32 = 0; r < rank; r++)
    z += (load<i8>(left + r) as f32) * load<f32>(right + (((r * columns + j) as usize) << 2))
  return z
}

/**
 * out <- center + step * (U V), row-major [rows, columns].
 * @param left U as bytes [rows, rank]
 * @param right V as float32 [rank, columns]
 */
export function perturbLowRank(
  out: usize,
  center: usize,
  left: usize,
  right: usize,
  rows: u32,
  columns: u32,
  rank: u32,
  step: f32,
): void {
  const steps = f32x4.splat(step)
  const whole = columns & ~3
  for (let row: u32 = 0; row < rows; row++) {
    const signs = left + ((row * rank) as usize)
    const offset = ((row as usize) * columns) << 2
    for (let j: u32 = 0; j < whole; j += 4) {
      const at = offset + ((j as usize) << 2)
      const z = rowOf(signs, right, rank, columns, j)
      v128.store(out + at, f32x4.add(v128.load(center + at), f32x4.mul(steps, z)))
    }
    for (let j = whole; j < columns; j++) {
      const at = offset + ((j as usize) << 2)
      store<f32>(out + at, load<f32>(center + at) + step * entryOf(signs, right, rank, columns, j))
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

/** Sums of 512 coordinates <- 0. */
export function clear(sums: usize, count: u32): void {
  memory.fill(sums, 0, (count as usize) << 3)
}

/** sums[i] += coefficient * z[i] for the signs of four blocks, each sum in double precision. */
export function accumulate(sums: usize, block: u32, count: u32, coefficient: f64, scratch: usize): void {
  words(scratch, block)
  const coefficients = f64x2.splat(coefficient)
  const negative = i64x2.splat(0x8000000000000000)
  const whole = count & ~31
  for (let i: u32 = 0; i < whole; i += 32) {
    const word = i64x2.splat(load<u32>(scratch + (i >> 3)) as i64)
    for (let bit: u32 = 0; bit < 32; bit += 2) {
      const picked = v128.and(word, i64x2.shl(i64x2(1, 2), bit))
      const signed = v128.xor(coefficients, v128.and(i64x2.ne(picked, i64x2.splat(0)), negative))
      const at = sums + (((i + bit) as usize) << 3)
      v128.store(at, f64x2.add(v128.load(at), signed))
    }
  }
  for (let i = whole; i < count; i++) {
    const at = sums + ((i as usize) << 3)
    store<f64>(at, load<f64>(at) + (bitAt(scratch, i) ? -coefficient : coefficient))
  }
}

/** sums[j] += coefficient * z_j for one row of a low-rank direction. */
export function accumulateLowRank(
  sums: usize,
  left: usize,
  right: usize,
  columns: u32,
  rank: u32,
  coefficient: f64,
): void {
  for (let j: u32 = 0; j < columns; j++) {
    const at = sums + ((j as usize) << 3)
    store<f64>(at, load<f64>(at) + (entryOf(left, right, rank, columns, j) as f64) * coefficient)
  }
}

/** out <- fround(a - rate * (sum * scale + prox * a)), in double precision in this order. */
export function step(out: usize, current: usize, sums: usize, count: u32, rate: f64, scale: f64, prox: f64): void {
  for (let i: u32 = 0; i < count; i++) {
    const at = (i as usize) << 2
    const a = load<f32>(current + at) as f64
    const sum = load<f64>(sums + ((i as usize) << 3))
    store<f32>(out + at, (a - rate * (sum * scale + prox * a)) as f32)
  }
}

/**
 * W <- W + scale * (A V), each entry summed over the rank in double precision, in order, and rounded once.
 * @param weight row-major [rows, outputs]
 * @param left row-major [rows, rank]
 * @param right row-major [rank, columns]; its column `from` is the weight's first
 */
export function merge(
  weight: usize,
  left: usize,
  right: usize,
  rows: u32,
  outputs: u32,
  rank: u32,
  columns: u32,
  from: u32,
  scale: f64,
): void {
  const scales = f64x2.splat(scale)
  const whole = outputs & ~1
  for (let row: u32 = 0; row < rows; row++) {
    const factors = left + (((row * rank) as usize) << 2)
    const at = weight + (((row as usize) * outputs) << 2)
    for (let o: u32 = 0; o < whole; o += 2) {
      let sum = f64x2.splat(0)
      for (let r: u32 = 0; r < rank; r++) {
        const factor = f64x2.splat(load<f32>(factors + ((r as usize) << 2)) as f64)
        const pair = f64x2.promote_low_f32x4(v128.load64_zero(right + (((r * columns + from + o) as usize) << 2)))
        sum = f64x2.add(sum, f64x2.mul(factor, pair))
      }
      const place = at + ((o as usize) << 2)
      const old = f64x2.promote_low_f32x4(v128.load64_zero(place))
      v128.store64_lane(place, f32x4.demote_f64x2_zero(f64x2.add(old, f64x2.mul(scales, sum))), 0)
    }
    for (let o = whole; o < outputs; o++) {
      let sum: f64 = 0
      for (let r: u32 = 0; r < rank; r++)
        sum +=
          (load<f32>(factors + ((r as usize) << 2)) as f64) *
          (load<f32>(right + (((r * columns + from + o) as usize) << 2)) as f64)
      const place = at + ((o as usize) << 2)
      store<f32>(place, ((load<f32>(place) as f64) + scale * sum) as f32)
    }
  }
}
