// AssemblyScript, not TypeScript: see zo.ts.

/** Key schedule parity constant of Threefry for 32-bit words. */
const PARITY: u32 = 0x1bd11bda

/** Signs that one call of the generator makes: four blocks of 128 bits. */
export const SIGNS: u32 = 512
/** Bytes of the bits of one call, and of the same bits spread over lanes. */
export const WORDS: usize = 64
export const SPREAD: usize = 256

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

/** Turns to another direction of the same segment and round. */
export function turnTo(k: u32): void {
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
export function words(at: usize, block: u32): void {
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
export function spreadFloats(scratch: usize): usize {
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
export function spreadDoubles(scratch: usize, to: usize): void {
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
