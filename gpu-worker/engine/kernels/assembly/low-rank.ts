// AssemblyScript, not TypeScript: see zo.ts.

/**
 * Entries j to j + 15 of one row of a low-rank direction, as bytes: z_j = sum over r of left_r right_rj, which is twice the
 * number of equal signs, less the rank. Reads up to 15 bytes behind the end of `right`.
 */
// @ts-ignore: decorator
@inline
export function sixteenOf(left: usize, right: usize, rank: u32, columns: u32, j: u32): v128 {
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
