// AssemblyScript, not TypeScript: see zo.ts.

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
