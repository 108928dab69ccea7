import { createHash } from 'node:crypto'
import {
  directionScale,
  isOfSigns,
  matrixShape,
  type Space,
  segmentLengths,
  sphereScale,
  type Update,
  type ZoKernels,
} from '../../../shared/zo/index.ts'
import { KernelMemory, rounded, SCRATCH } from './memory.ts'
import { fillFactors, type LowRankShape, lowRankBytes, lowRankRoom, selectStream, spansOf } from './perturb.ts'

/** Coordinates that are copied in and out at once; whole blocks of the generator. */
const BLOCK = 2 ** 15
/** Sums that are held at once where rows are summed: a few share the cost of making V. */
const SUMS = 2 ** 16

type Run = { readonly seed: string; readonly space: Space }
type At = { readonly round: number } & Update

/** A segment before and after. */
interface Vectors {
  readonly current: Float32Array
  readonly out: Float32Array
}

/** Updates segments of dense directions. */
function denseUpdate(at: At, run: Run): (segment: number, vectors: Vectors) => void {
  const directions = at.coefficients.length
  const memory = new KernelMemory(rounded(8 * directions) + rounded(4 * BLOCK))
  const coefficients = memory.doubles(directions)
  coefficients.set(at.coefficients)
  const values = memory.floats(BLOCK)
  return (segment, { current, out }) => {
    for (let start = 0; start < current.length; start += BLOCK) {
      const count = Math.min(BLOCK, current.length - start)
      values.set(current.subarray(start, start + count))
      selectStream(memory, { seed: run.seed, segment, round: at.round, k: 0 })
      memory.run.updateSigns(
        values.byteOffset,
        values.byteOffset,
        start / 128,
        count,
        coefficients.byteOffset,
        directions,
        at.learningRate,
        at.prox,
        SCRATCH,
      )
      out.set(values.subarray(0, count), start)
    }
  }
}

/** Updates one tensor under low-rank directions, some rows at a time. */
function updateLowRank(segment: number, { current, out }: Vectors, shape: LowRankShape, at: At, run: Run): void {
  const { rows, columns } = matrixShape(shape.tensor)
  const together = Math.max(1, Math.min(rows, Math.floor(SUMS / columns)))
  const most = together * columns
  const memory = new KernelMemory(rounded(8 * most) + rounded(4 * most) + lowRankBytes([shape.tensor], shape.rank))
  const [sums, values] = [memory.doubles(most), memory.floats(most)]
  const room = lowRankRoom(memory, [shape.tensor], shape.rank)
  const scale = directionScale(run.space)
  for (let row = 0; row < rows; row += together) {
    const part = { row, rows: Math.min(together, rows - row) }
    const count = part.rows * columns
    memory.run.clear(sums.byteOffset, count)
    at.coefficients.forEach((coefficient, k) => {
      fillFactors(memory, room, { seed: run.seed, segment, round: at.round, k, ...shape }, part)
      const [left, right] = [room.left.byteOffset, room.right.byteOffset]
      memory.run.accumulateLowRank(sums.byteOffset, left, right, part.rows, columns, shape.rank, coefficient, SCRATCH)
    })
    values.set(current.subarray(row * columns, row * columns + count))
    const place = values.byteOffset
    memory.run.step(place, place, sums.byteOffset, count, at.learningRate, scale, at.prox)
    out.set(values.subarray(0, count), row * columns)
  }
}

/** Updates all segments under directions of numbers, a block of coordinates at a time. */
function updateByNumbers(current: Float32Array, at: At, run: Run): Float32Array {
  const { space } = run
  const memory = new KernelMemory(rounded(8 * BLOCK) + rounded(4 * BLOCK) + rounded(BLOCK))
  const [sums, values, bytes] = [memory.doubles(BLOCK), memory.floats(BLOCK), memory.bytes(BLOCK)]
  const fill = (segment: number, k: number, start: number, count: number): void => {
    selectStream(memory, { seed: run.seed, segment, round: at.round, k }, 'binomial')
    memory.run.numbers(bytes.byteOffset, start, count, SCRATCH)
  }
  const blocks = blocksOf(space)
  const isOnSphere = space.distribution === 'sphere'
  const factors = at.coefficients.map((coefficient, k) => {
    if (!isOnSphere) return coefficient
    let squares = 0
    for (const { segment, start, count } of blocks) {
      fill(segment, k, start, count)
      squares += memory.run.sumSquares(bytes.byteOffset, count)
    }
    return coefficient * sphereScale(squares, current.length)
  })
  const scale = isOnSphere ? 1 : directionScale(space)
  const out = new Float32Array(current.length)
  for (const { segment, start, count, place } of blocks) {
    memory.run.clear(sums.byteOffset, count)
    factors.forEach((factor, k) => {
      fill(segment, k, start, count)
      memory.run.accumulateBytes(sums.byteOffset, bytes.byteOffset, count, factor)
    })
    values.set(current.subarray(place, place + count))
    const here = values.byteOffset
    memory.run.step(here, here, sums.byteOffset, count, at.learningRate, scale, at.prox)
    out.set(values.subarray(0, count), place)
  }
  return out
}

/** Blocks of coordinates: where in its segment each begins, and where in the whole vector. */
function blocksOf(space: Space): { segment: number; start: number; count: number; place: number }[] {
  return spansOf(space).flatMap(({ offset, length }, segment) =>
    Array.from({ length: Math.ceil(length / BLOCK) }, (_, block) => {
      const start = block * BLOCK
      return { segment, start, count: Math.min(BLOCK, length - start), place: offset + start }
    }),
  )
}

/** The steps of a replay in WebAssembly, and SHA-256 by the platform: the same bits as `portableKernels` of shared/zo. */
export const wasmKernels: ZoKernels = {
  update: (current, at, run) => {
    const { space } = run
    if (!isOfSigns(space)) return updateByNumbers(current, at, run)
    const out = new Float32Array(current.length)
    const updateDense = denseUpdate(at, run)
    let offset = 0
    segmentLengths(space).forEach((length, segment) => {
      const [from, to] = [offset, offset + length]
      const vectors = { current: current.subarray(from, to), out: out.subarray(from, to) }
      offset = to
      if (space.kind === 'full' && space.directions.kind === 'low-rank')
        updateLowRank(segment, vectors, { tensor: space.tensors[segment]!, rank: space.directions.rank }, at, run)
      else updateDense(segment, vectors)
    })
    return out
  },
  digest: (parts) => {
    const hash = createHash('sha256')
    for (const part of parts) hash.update(part)
    return hash.digest('hex')
  },
}
