// AssemblyScript, not TypeScript: compiled by `npm run kernels` to zo.wasm. The reference for every function is in shared/zo;
// each must give the same bits. Pointers are byte offsets into a memory that the host lays out; `scratch` is 20 KiB that are
// nobody else's.

/** Key schedule parity constant of Threefry for 32-bit words. */
const PARITY: u32 = 0x1bd11bda

/** Signs that one call of the generator makes: four blocks of 128 bits. */
const SIGNS: u32 = 512
/** Bytes of the bits of one call, and of the same bits spread over lanes. */
const WORDS: usize = 64
const SPREAD: usize = 256

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

/**
 * The words at `scratch`, spread behind them for sums of float32: vector i holds word i, shifted right by 0, 1, 2 and 3, so
 * that one shift to the left brings the signs of four entries in a row to the sign bits of the four lanes.
 * @returns where the vectors are.
 */
function spreadFloats(scratch: usize): usize {
  const to = scratch + WORDS
  for (let row: usize = 0; row < WORDS; row += 16) {
    const x0 = v128.load(scratch + row)
    const x1 = i32x4.shr_u(x0, 1)
    const x2 = i32x4.shr_u(x0, 2)
    const x3 = i32x4.shr_u(x0, 3)
    const low01 = i32x4.shuffle(x0, x1, 0, 4, 1, 5)
    const low23 = i32x4.shuffle(x2, x3, 0, 4, 1, 5)
    const high01 = i32x4.shuffle(x0, x1, 2, 6, 3, 7)
    const high23 = i32x4.shuffle(x2, x3, 2, 6, 3, 7)
    const at = to + (row << 2)
    v128.store(at, i64x2.shuffle(low01, low23, 0, 2))
    v128.store(at, i64x2.shuffle(low01, low23, 1, 3), 16)
    v128.store(at, i64x2.shuffle(high01, high23, 0, 2), 32)
    v128.store(at, i64x2.shuffle(high01, high23, 1, 3), 48)
  }
  return to
}

/** The same for sums of float64: vector i holds word i in one lane, and shifted right by 1 in the other. */
function spreadDoubles(scratch: usize, to: usize): void {
  for (let row: usize = 0; row < WORDS; row += 16) {
    const x0 = v128.load(scratch + row)
    const x1 = i32x4.shr_u(x0, 1)
    const at = to + (row << 2)
    v128.store(at, i32x4.shuffle(x0, x1, 0, 0, 4, 4))
    v128.store(at, i32x4.shuffle(x0, x1, 1, 1, 5, 5), 16)
    v128.store(at, i32x4.shuffle(x0, x1, 2, 2, 6, 6), 32)
    v128.store(at, i32x4.shuffle(x0, x1, 3, 3, 7, 7), 48)
  }
}

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

/** Signs +1 and -1 as bytes: entries `from` to `from + length` of the stream. */
export function signs(out: usize, from: u32, length: u32, scratch: usize): void {
  const bytes = scratch + WORDS
  for (let done: u32 = 0; done < length; ) {
    const skipped = (from + done) & 127
    words(scratch, (from + done) >> 7)
    for (let i: usize = 0; i < SIGNS; i += 16) {
      const pair = v128.load16_splat(scratch + (i >> 3))
      const spread = i8x16.shuffle(pair, pair, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)
      const each = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128)
      v128.store(bytes + i, v128.or(i8x16.eq(v128.and(spread, each), each), i8x16.splat(1)))
    }
    const count = min(length - done, SIGNS - skipped)
    memory.copy(out + done, bytes + skipped, count)
    done += count
  }
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

/**
 * Entries j to j + 15 of one row of a low-rank direction, as bytes: z_j = sum over r of left_r right_rj, which is twice the
 * number of equal signs, less the rank. Reads up to 15 bytes behind the end of `right`.
 */
// @ts-ignore: decorator
@inline
function sixteenOf(left: usize, right: usize, rank: u32, columns: u32, j: u32): v128 {
  let equal = i8x16.splat(0)
  let row = right + j
  for (let r: u32 = 0; r < rank; r++) {
    equal = i8x16.sub(equal, i8x16.eq(v128.load8_splat(left + r), v128.load(row)))
    row += columns
  }
  return i8x16.sub(i8x16.add(equal, equal), i8x16.splat(rank as i8))
}

/** out <- center + step * z for four entries. */
// @ts-ignore: decorator
@inline
function fourOfRank(out: usize, center: usize, at: usize, steps: v128, z: v128): void {
  v128.store(out + at, f32x4.add(v128.load(center + at), f32x4.mul(steps, f32x4.convert_i32x4_s(z))))
}

/**
 * out <- center + step * (U V), row-major [rows, columns].
 * @param left U as bytes [rows, rank]
 * @param right V as bytes [rank, columns], and 15 bytes of anything
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
  scratch: usize,
): void {
  const steps = f32x4.splat(step)
  const whole = columns & ~15
  for (let row: u32 = 0; row < rows; row++) {
    const signs = left + (row as usize) * rank
    const offset = ((row as usize) * columns) << 2
    for (let j: u32 = 0; j < whole; j += 16) {
      const at = offset + ((j as usize) << 2)
      const z = sixteenOf(signs, right, rank, columns, j)
      const low = i16x8.extend_low_i8x16_s(z)
      const high = i16x8.extend_high_i8x16_s(z)
      fourOfRank(out, center, at, steps, i32x4.extend_low_i16x8_s(low))
      fourOfRank(out, center, at + 16, steps, i32x4.extend_high_i16x8_s(low))
      fourOfRank(out, center, at + 32, steps, i32x4.extend_low_i16x8_s(high))
      fourOfRank(out, center, at + 48, steps, i32x4.extend_high_i16x8_s(high))
    }
    if (whole < columns) {
      v128.store(scratch, sixteenOf(signs, right, rank, columns, whole))
      for (let j = whole; j < columns; j++) {
        const at = offset + ((j as usize) << 2)
        store<f32>(out + at, load<f32>(center + at) + step * (load<i8>(scratch + (j - whole)) as f32))
      }
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
        t3 = first + k
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

/** Two sums of a low-rank direction: sum + coefficient * z for the lower two of four entries. */
// @ts-ignore: decorator
@inline
function addTwo(sums: usize, z: v128, coefficient: v128): void {
  v128.store(sums, f64x2.add(v128.load(sums), f64x2.mul(coefficient, f64x2.convert_low_i32x4_s(z))))
}

// @ts-ignore: decorator
@inline
function addFour(sums: usize, z: v128, coefficient: v128): void {
  addTwo(sums, z, coefficient)
  addTwo(sums + 16, i64x2.shuffle(z, z, 1, 1), coefficient)
}

/** sums <- sums + coefficient * (U V), row-major [rows, columns]; see `perturbLowRank`. */
export function accumulateLowRank(
  sums: usize,
  left: usize,
  right: usize,
  rows: u32,
  columns: u32,
  rank: u32,
  coefficient: f64,
  scratch: usize,
): void {
  const coefficients = f64x2.splat(coefficient)
  const whole = columns & ~15
  for (let row: u32 = 0; row < rows; row++) {
    const signs = left + (row as usize) * rank
    const rowOf = sums + (((row as usize) * columns) << 3)
    for (let j: u32 = 0; j < whole; j += 16) {
      const at = rowOf + ((j as usize) << 3)
      const z = sixteenOf(signs, right, rank, columns, j)
      const low = i16x8.extend_low_i8x16_s(z)
      const high = i16x8.extend_high_i8x16_s(z)
      addFour(at, i32x4.extend_low_i16x8_s(low), coefficients)
      addFour(at + 32, i32x4.extend_high_i16x8_s(low), coefficients)
      addFour(at + 64, i32x4.extend_low_i16x8_s(high), coefficients)
      addFour(at + 96, i32x4.extend_high_i16x8_s(high), coefficients)
    }
    if (whole < columns) {
      v128.store(scratch, sixteenOf(signs, right, rank, columns, whole))
      for (let j = whole; j < columns; j++) {
        const at = rowOf + ((j as usize) << 3)
        store<f64>(at, load<f64>(at) + (load<i8>(scratch + (j - whole)) as f64) * coefficient)
      }
    }
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

/** sum + factor * right for two entries, which are float32 and whose products are exact in float64. */
// @ts-ignore: decorator
@inline
function addProduct(sum: v128, factor: v128, right: usize): v128 {
  return f64x2.add(sum, f64x2.mul(factor, f64x2.promote_low_f32x4(v128.load64_zero(right))))
}

/** Two entries of a weight <- themselves + scale * sum, rounded once. */
// @ts-ignore: decorator
@inline
function addScaled(place: usize, sum: v128, scales: v128): void {
  const old = f64x2.promote_low_f32x4(v128.load64_zero(place))
  v128.store64_lane(place, f32x4.demote_f64x2_zero(f64x2.add(old, f64x2.mul(scales, sum))), 0)
}

/**
 * W <- W + scale * (A V), each entry summed over the rank in double precision, in order, and rounded once.
 * @param weight row-major [rows, outputs]
 * @param left row-major [rows, rank]; `scratch` holds 8 * rank bytes
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
  scratch: usize,
): void {
  const scales = f64x2.splat(scale)
  const whole = outputs & ~7
  const pitch = (columns as usize) << 2
  for (let row: u32 = 0; row < rows; row++) {
    const factors = left + (((row as usize) * rank) << 2)
    for (let r: usize = 0; r < (rank as usize); r++) store<f64>(scratch + (r << 3), load<f32>(factors + (r << 2)) as f64)
    const at = weight + (((row as usize) * outputs) << 2)
    for (let o: u32 = 0; o < whole; o += 8) {
      let s0 = f64x2.splat(0)
      let s1 = f64x2.splat(0)
      let s2 = f64x2.splat(0)
      let s3 = f64x2.splat(0)
      let entries = right + (((from + o) as usize) << 2)
      for (let r: usize = 0; r < (rank as usize); r++) {
        const factor = v128.load64_splat(scratch + (r << 3))
        s0 = addProduct(s0, factor, entries)
        s1 = addProduct(s1, factor, entries + 8)
        s2 = addProduct(s2, factor, entries + 16)
        s3 = addProduct(s3, factor, entries + 24)
        entries += pitch
      }
      const place = at + ((o as usize) << 2)
      addScaled(place, s0, scales)
      addScaled(place + 8, s1, scales)
      addScaled(place + 16, s2, scales)
      addScaled(place + 24, s3, scales)
    }
    for (let o = whole; o < outputs; o++) {
      let sum: f64 = 0
      let entry = right + (((from + o) as usize) << 2)
      for (let r: usize = 0; r < (rank as usize); r++) {
        sum += load<f64>(scratch + (r << 3)) * (load<f32>(entry) as f64)
        entry += pitch
      }
      const place = at + ((o as usize) << 2)
      store<f32>(place, ((load<f32>(place) as f64) + scale * sum) as f32)
    }
  }
}
