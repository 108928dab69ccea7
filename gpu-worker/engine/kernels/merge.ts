import { type LowRankProduct, RANK_MAX } from '../../../shared/zo/index.ts'
import { KernelMemory, rounded, SCRATCH } from './memory.ts'

/** Rows that are merged at once: they stay in the caches between the copies in and out. */
const MOST_BYTES = 2 ** 19

/** W <- W + scale A V in place, the same bits as `mergeProduct` of shared/zo. @throws RangeError for a rank above `RANK_MAX`. */
export function mergeProduct(weight: Float32Array, outputs: number, product: LowRankProduct): void {
  const { left, right, rank, scale, columns, from } = product
  if (rank > RANK_MAX) throw new RangeError(`a rank is at most ${RANK_MAX}`)
  const rows = weight.length / outputs
  const block = Math.max(1, Math.min(rows, Math.floor(MOST_BYTES / (4 * outputs))))
  const bytes = rounded(4 * block * outputs) + rounded(4 * left.length) + rounded(4 * right.length)
  const memory = new KernelMemory(bytes)
  const part = memory.floats(block * outputs)
  const factors = memory.floats(left.length)
  const frozen = memory.floats(right.length)
  factors.set(left)
  frozen.set(right)
  for (let row = 0; row < rows; row += block) {
    const count = Math.min(block, rows - row)
    const rowsOf = weight.subarray(row * outputs, (row + count) * outputs)
    part.set(rowsOf)
    memory.run.merge(
      part.byteOffset,
      factors.byteOffset + 4 * row * rank,
      frozen.byteOffset,
      count,
      outputs,
      rank,
      columns,
      from,
      scale,
      SCRATCH,
    )
    rowsOf.set(part.subarray(0, count * outputs))
  }
}
