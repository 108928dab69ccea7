/** A product of low rank that is added to a weight: the columns `from`, `from + 1`, ... of scale * left right. */
export interface LowRankProduct {
  /** Row-major [inputs, rank]. */
  readonly left: Float32Array
  /** Row-major [rank, columns]; signs of a frozen factor, or the rows of a basis. */
  readonly right: Int8Array | Float32Array
  readonly rank: number
  readonly scale: number
  /** Columns of `right`, which may serve several weights side by side. */
  readonly columns: number
  /** Column of `right` that is the weight's first. */
  readonly from: number
}

/**
 * W <- W + scale A V in place, for a W row-major [inputs, outputs]: each entry is summed over the rank in double precision,
 * in order, times scale, added to the weight, and rounded once. Products of two float32 are exact in a double.
 */
export function mergeProduct(weight: Float32Array, outputs: number, product: LowRankProduct): void {
  const { left, right, rank, scale, columns, from } = product
  for (let at = 0; at < weight.length; at += outputs) {
    const row = (at / outputs) * rank
    for (let o = 0; o < outputs; o++) {
      let sum = 0
      for (let r = 0; r < rank; r++) sum += left[row + r]! * right[r * columns + from + o]!
      weight[at + o] = weight[at + o]! + scale * sum
    }
  }
}
