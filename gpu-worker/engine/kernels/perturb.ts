import {
  isOfSigns,
  matrixShape,
  perturbationStep,
  type Space,
  STREAMS,
  segmentLengths,
  segmentOffsets,
  spaceDimension,
  streamKey,
  type WeightTensor,
} from '../../../shared/zo/index.ts'
import { KernelMemory, rounded, SCRATCH } from './memory.ts'

/** One segment of one direction. */
export interface DirectionAt {
  readonly seed: string
  readonly round: number
  readonly k: number
  readonly segment: number
}

/** Turns the generator to a segment: of a dense direction, or of a factor of a low-rank one. */
export function selectStream(
  memory: KernelMemory,
  { seed, segment, round, k }: DirectionAt,
  stream: 'direction' | 'binomial' | 'left' | 'right' = 'direction',
): void {
  const [a, b, c, d] = streamKey(seed, STREAMS[stream])
  memory.run.stream(a, b, c, d, segment, round, k)
}

/** out <- center + step * z over a whole segment, as `perturb` of shared/zo. All vectors lie in the memory. */
export function perturbSegment(
  memory: KernelMemory,
  vectors: { readonly out: Float32Array; readonly center: Float32Array },
  at: DirectionAt,
  step: number,
): void {
  selectStream(memory, at)
  memory.run.perturb(vectors.out.byteOffset, vectors.center.byteOffset, vectors.out.length, step, SCRATCH)
}

/** Both sides at once. */
export function perturbPair(
  memory: KernelMemory,
  vectors: { readonly plus: Float32Array; readonly minus: Float32Array; readonly center: Float32Array },
  at: DirectionAt,
  step: number,
): void {
  const { plus, minus, center } = vectors
  selectStream(memory, at)
  memory.run.perturbPair(plus.byteOffset, minus.byteOffset, center.byteOffset, plus.length, step, SCRATCH)
}

/** The same for the kept entries of a tensor; the others are left. */
export function perturbKept(
  memory: KernelMemory,
  vectors: { readonly out: Float32Array; readonly center: Float32Array; readonly kept: Uint32Array },
  at: DirectionAt,
  step: number,
): void {
  const { out, center, kept } = vectors
  selectStream(memory, at)
  memory.run.perturbKept(out.byteOffset, center.byteOffset, kept.byteOffset, kept.length, step, SCRATCH)
}

/**
 * Directions and perturbed vectors of a space of dense directions, a whole vector at a time: what the factors of a `lora`
 * space want, which are small.
 */
export class VectorKernels {
  readonly #memory: KernelMemory
  readonly #center: Float32Array
  readonly #out: Float32Array
  readonly #bytes: Int8Array
  readonly #segments: readonly Span[]
  readonly #run: { readonly seed: string; readonly space: Space }
  /** The direction whose bytes are there. */
  #made: { readonly round: number; readonly k: number } | undefined

  constructor(run: { readonly seed: string; readonly space: Space }) {
    const dimension = spaceDimension(run.space)
    this.#run = run
    this.#segments = spansOf(run.space)
    this.#memory = new KernelMemory(2 * rounded(4 * dimension) + rounded(dimension))
    this.#center = this.#memory.floats(dimension)
    this.#out = this.#memory.floats(dimension)
    this.#bytes = this.#memory.bytes(dimension)
  }

  /** z_k of a round, as `direction` of shared/zo. */
  direction(at: { readonly round: number; readonly k: number }): Int8Array {
    return this.#directionBytes(at).slice()
  }

  /** center + radius * scale * z_k on one side, as `perturb` of shared/zo. */
  perturb(
    center: Float32Array,
    at: { readonly round: number; readonly k: number },
    { radius, sign }: { readonly radius: number; readonly sign: 1 | -1 },
  ): Float32Array {
    const { run } = this.#memory
    const { seed, space } = this.#run
    this.#center.set(center)
    if (isOfSigns(space)) {
      const step = sign * perturbationStep(radius, space)
      this.#segments.forEach(({ offset, length }, segment) => {
        selectStream(this.#memory, { seed, segment, ...at })
        const [out, from] = [this.#out.byteOffset + 4 * offset, this.#center.byteOffset + 4 * offset]
        run.perturb(out, from, length, step, SCRATCH)
      })
    } else {
      const z = this.#directionBytes(at)
      const step = sign * perturbationStep(radius, space, z)
      run.perturbBytes(this.#out.byteOffset, this.#center.byteOffset, z.byteOffset, z.length, step)
    }
    return this.#out.slice()
  }

  #directionBytes(at: { readonly round: number; readonly k: number }): Int8Array {
    if (this.#made?.round === at.round && this.#made.k === at.k) return this.#bytes
    fillDirection(this.#memory, this.#bytes, { ...this.#run, ...at })
    this.#made = at
    return this.#bytes
  }
}

/** Where a segment's coordinates lie. */
export interface Span {
  readonly offset: number
  readonly length: number
}

export function spansOf(space: Space): Span[] {
  const lengths = segmentLengths(space)
  return segmentOffsets(space).map((offset, segment) => ({ offset, length: lengths[segment]! }))
}

/** z_k of a round as bytes in the memory, as `direction` of shared/zo; not for directions of low rank. */
export function fillDirection(
  memory: KernelMemory,
  out: Int8Array,
  at: { readonly seed: string; readonly space: Space; readonly round: number; readonly k: number },
): void {
  const { seed, space, round, k } = at
  const isSigns = isOfSigns(space)
  spansOf(space).forEach(({ offset, length }, segment) => {
    selectStream(memory, { seed, segment, round, k }, isSigns ? 'direction' : 'binomial')
    const place = out.byteOffset + offset
    if (isSigns) memory.run.signs(place, 0, length, SCRATCH)
    else memory.run.numbers(place, 0, length, SCRATCH)
  })
}

/** Room for the factors of one low-rank direction: U [rows, rank] and V [rank, columns], as bytes. */
export interface LowRankRoom {
  readonly left: Int8Array
  readonly right: Int8Array
}

/** The kernels read V in vectors of 16 bytes, the last of which may reach behind it. */
const BEYOND = 16
const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), 0)

/** Sizes of the largest factors of some tensors. */
function largestFactors(tensors: readonly WeightTensor[], rank: number): { left: number; right: number } {
  const sizes = tensors.map(matrixShape)
  return {
    left: rank * most(sizes.map(({ rows }) => rows)),
    right: rank * most(sizes.map(({ columns }) => columns)) + BEYOND,
  }
}

/** What the room for the largest of some tensors takes, in bytes. */
export function lowRankBytes(tensors: readonly WeightTensor[], rank: number): number {
  const { left, right } = largestFactors(tensors, rank)
  return rounded(left) + rounded(right)
}

export function lowRankRoom(memory: KernelMemory, tensors: readonly WeightTensor[], rank: number): LowRankRoom {
  const { left, right } = largestFactors(tensors, rank)
  return { left: memory.bytes(left), right: memory.bytes(right) }
}

/** A tensor and the rank of its directions. */
export interface LowRankShape {
  readonly tensor: WeightTensor
  readonly rank: number
}

/** Makes the factors of one direction, as `lowRankFactors` of shared/zo: all of V, and some rows of U. */
export function fillFactors(
  memory: KernelMemory,
  room: LowRankRoom,
  at: DirectionAt & LowRankShape,
  part: { readonly row: number; readonly rows: number },
): void {
  const { rank, tensor } = at
  const { columns, isVector } = matrixShape(tensor)
  selectStream(memory, at, 'left')
  memory.run.signs(room.left.byteOffset, part.row * rank, part.rows * rank, SCRATCH)
  if (isVector) {
    room.right.fill(1)
    return
  }
  selectStream(memory, at, 'right')
  memory.run.signs(room.right.byteOffset, 0, rank * columns, SCRATCH)
}

/** out <- center + step * U V over a whole tensor. */
export function perturbLowRank(
  memory: KernelMemory,
  vectors: { readonly out: Float32Array; readonly center: Float32Array; readonly room: LowRankRoom },
  at: DirectionAt & LowRankShape,
  step: number,
): void {
  const { out, center, room } = vectors
  const { rows, columns } = matrixShape(at.tensor)
  fillFactors(memory, room, at, { row: 0, rows })
  memory.run.perturbLowRank(
    out.byteOffset,
    center.byteOffset,
    room.left.byteOffset,
    room.right.byteOffset,
    rows,
    columns,
    at.rank,
    step,
    SCRATCH,
  )
}
