import { createHash } from 'node:crypto'
import {
  directionScale,
  lowRankFactors,
  matrixShape,
  type Space,
  segmentLengths,
  type Update,
  type WeightTensor,
  type ZoKernels,
} from '../../../shared/zo/index.ts'
import { KernelMemory, rounded, SCRATCH } from './memory.ts'
import { selectStream } from './perturb.ts'

/** Coordinates of four blocks of the generator: what one call sums. */
const BLOCK = 512

type Run = { readonly seed: string; readonly space: Space }
type At = { readonly round: number } & Update

/** Sums over the directions for some coordinates, then the step of each. Directions are made block by block, never kept. */
function updateDense(current: Float32Array, out: Float32Array, segment: number, at: At, run: Run): void {
  const memory = new KernelMemory(rounded(8 * BLOCK) + 2 * rounded(4 * BLOCK))
  const sums = memory.doubles(BLOCK)
  const before = memory.floats(BLOCK)
  const after = memory.floats(BLOCK)
  for (let start = 0; start < current.length; start += BLOCK) {
    const count = Math.min(BLOCK, current.length - start)
    memory.run.clear(sums.byteOffset, BLOCK)
    at.coefficients.forEach((coefficient, k) => {
      selectStream(memory, { seed: run.seed, segment, round: at.round, k })
      memory.run.accumulate(sums.byteOffset, start / 128, count, coefficient, SCRATCH)
    })
    before.set(current.subarray(start, start + count))
    const { learningRate, prox } = at
    memory.run.step(after.byteOffset, before.byteOffset, sums.byteOffset, count, learningRate, 1, prox)
    out.set(after.subarray(0, count), start)
  }
}

/** The same for one tensor under low-rank directions, row by row. */
function updateLowRank(
  current: Float32Array,
  out: Float32Array,
  segment: number,
  shape: { tensor: WeightTensor; rank: number },
  at: At,
  run: Run,
): void {
  const { rank } = shape
  const { rows, columns } = matrixShape(shape.tensor)
  const count = at.coefficients.length
  const memory = new KernelMemory(
    rounded(8 * columns) + 2 * rounded(4 * columns) + count * (rounded(rows * rank) + rounded(4 * rank * columns)),
  )
  const sums = memory.doubles(columns)
  const before = memory.floats(columns)
  const after = memory.floats(columns)
  const factors = at.coefficients.map((_, k) => {
    const { left, right } = lowRankFactors(run.seed, { round: at.round, k, segment }, shape)
    const placed = memory.floats(right.length)
    placed.set(right)
    return { left: memory.bytes(left), right: placed }
  })
  const scale = directionScale(run.space)
  for (let row = 0; row < rows; row++) {
    memory.run.clear(sums.byteOffset, columns)
    at.coefficients.forEach((coefficient, k) => {
      const { left, right } = factors[k]!
      memory.run.accumulateLowRank(
        sums.byteOffset,
        left.byteOffset + row * rank,
        right.byteOffset,
        columns,
        rank,
        coefficient,
      )
    })
    before.set(current.subarray(row * columns, (row + 1) * columns))
    memory.run.step(after.byteOffset, before.byteOffset, sums.byteOffset, columns, at.learningRate, scale, at.prox)
    out.set(after, row * columns)
  }
}

/** The steps of a replay in WebAssembly, and SHA-256 by the platform: the same bits as `portableKernels` of shared/zo. */
export const wasmKernels: ZoKernels = {
  update: (current, at, run) => {
    const { space } = run
    const out = new Float32Array(current.length)
    let offset = 0
    segmentLengths(space).forEach((length, segment) => {
      const [from, to] = [current.subarray(offset, offset + length), out.subarray(offset, offset + length)]
      offset += length
      if (space.kind === 'full' && space.directions.kind === 'low-rank') {
        const shape = { tensor: space.tensors[segment]!, rank: space.directions.rank }
        updateLowRank(from, to, segment, shape, at, run)
      } else updateDense(from, to, segment, at, run)
    })
    return out
  },
  digest: (parts) => {
    const hash = createHash('sha256')
    for (const part of parts) hash.update(part)
    return hash.digest('hex')
  },
}
