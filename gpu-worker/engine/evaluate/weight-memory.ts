import {
  elementsOf,
  type FullSpace,
  isOfSigns,
  keptFactors,
  keptIndices,
  MaskError,
  type PrunedSpace,
  perturbationStep,
  segmentLengths,
  segmentOffsets,
  spaceDimension,
} from '../../../shared/zo/index.ts'
import { EngineError } from '../error.ts'
import {
  fillDirection,
  KernelMemory,
  lowRankBytes,
  lowRankRoom,
  perturbKept,
  perturbLowRank,
  perturbPair,
  perturbSegment,
} from '../kernels/index.ts'
import type { Groups } from './driver.ts'

/** One trained tensor in memory. */
interface Segment {
  /** Weights that the stage began with. */
  readonly base: Float32Array<ArrayBuffer>
  /** Weights of the current state. */
  readonly center: Float32Array<ArrayBuffer>
  /** Weights of the perturbation being evaluated. */
  readonly out: Float32Array<ArrayBuffer>
  /** Weights of the other side of the same direction, written in the same pass. */
  readonly other: Float32Array<ArrayBuffer>
  /** Entries that are coordinates, where not all are. */
  readonly kept: Uint32Array | undefined
  /** Factors of these entries, where the space is weighted. */
  readonly factors: Float32Array | undefined
  /** Part of the trained vector, in memory. */
  readonly trained: Float32Array<ArrayBuffer>
  readonly from: number
}

/** Bytes that a segment takes. */
const VECTORS = 4

/**
 * Trained weights in memory: those that a stage began with, those of the current state (the center), and those of the
 * perturbation being evaluated, which the runtime reads where they lie. Both sides of a direction are written in one pass.
 */
export class WeightMemory {
  readonly #space: FullSpace | PrunedSpace
  readonly #seed: string
  readonly #memory: KernelMemory
  readonly #segments: readonly Segment[]
  readonly #room: ReturnType<typeof lowRankRoom> | undefined
  /** z as bytes, where directions are of numbers, and which one. */
  readonly #bytes: Int8Array | undefined
  #made: { readonly round: number; readonly k: number } | undefined
  /** The direction whose other side lies in `other`. */
  #pair: { round: number; k: number } | undefined

  /** @throws EngineError `wrong_mask`, `out_of_memory` */
  constructor(space: FullSpace | PrunedSpace, run: { seed: string; mask: Uint8Array | undefined }) {
    this.#space = space
    this.#seed = run.seed
    const kept = space.kind === 'pruned' ? keptOf(space, run.mask) : undefined
    const isWeighted = space.kind === 'pruned' && space.weighted === true
    const lengths = segmentLengths(space)
    const offsets = segmentOffsets(space)
    const rank = rankOf(space)
    const elements = space.tensors.reduce((sum, tensor) => sum + elementsOf(tensor) + LINE, 0)
    const trained = lengths.reduce((sum, length) => sum + 2 * (length + LINE), 0)
    const room = rank === undefined ? 0 : lowRankBytes(space.tensors, rank)
    // Where the kernels have no step of its own for an entry, directions are made as bytes.
    const dimension = isOfSigns(space) && !isWeighted ? 0 : spaceDimension(space)
    const memory = new KernelMemory(4 * (VECTORS * elements + trained) + room + dimension + 4 * LINE)
    this.#memory = memory
    this.#bytes = dimension > 0 ? memory.bytes(dimension) : undefined
    this.#room = rank === undefined ? undefined : lowRankRoom(memory, space.tensors, rank)
    this.#segments = space.tensors.map((tensor, segment): Segment => {
      const made = () => memory.floats(elementsOf(tensor))
      return {
        base: made(),
        center: made(),
        out: made(),
        other: made(),
        kept: kept && memory.indices(kept[segment]!.indices),
        factors: kept?.[segment]?.factors,
        trained: memory.floats(lengths[segment]!),
        from: offsets[segment]!,
      }
    })
  }

  /** Weights of one side, a view for each tensor: those that `perturb` says. */
  weights(side: 'out' | 'other'): readonly Float32Array<ArrayBuffer>[] {
    return this.#segments.map((segment) => segment[side])
  }

  /** The weights of a tensor that a stage begins with. */
  setBase(segment: number, values: Float32Array): void {
    this.#segments[segment]!.base.set(values)
  }

  /** The weights around which a round perturbs: base plus trained vector. */
  setCenter(trained: Float32Array): void {
    this.#pair = undefined
    for (const segment of this.#segments) {
      segment.center.set(segment.base)
      this.#add(segment, segment.center, trained)
      // Entries that no mask keeps stay as they are from now on.
      segment.out.set(segment.center)
      segment.other.set(segment.center)
    }
  }

  /** Writes the weights of one group of a round. @returns where they lie. */
  perturb(groups: Groups, group: number): 'out' | 'other' {
    const { k, sign } = groups.at(group)
    const { round } = groups
    if (sign === 0) {
      for (const { out, center } of this.#segments) out.set(center)
      this.#pair = undefined
      return 'out'
    }
    if (this.#bytes) {
      this.#perturbByBytes(this.#bytes, groups, { round, k }, sign)
      return 'out'
    }
    if (sign < 0 && this.#pair?.k === k && this.#pair.round === round) return 'other'
    const step = perturbationStep(groups.radius, this.#space)
    const isPair = sign > 0 && group + 1 < groups.count && isOtherSide(groups, group)
    this.#segments.forEach((vectors, segment) => {
      const at = { seed: this.#seed, round, k, segment }
      const { out, other, center, kept } = vectors
      if (kept) perturbKept(this.#memory, { out, center, kept }, at, sign * step)
      else if (this.#room) {
        const tensor = this.#space.tensors[segment]!
        const low = { ...at, tensor, rank: rankOf(this.#space)! }
        perturbLowRank(this.#memory, { out, center, room: this.#room }, low, sign * step)
      } else if (isPair) perturbPair(this.#memory, { plus: out, minus: other, center }, at, step)
      else perturbSegment(this.#memory, { out, center }, at, sign * step)
    })
    this.#pair = isPair && !this.#room && this.#space.kind === 'full' ? { round, k } : undefined
    return 'out'
  }

  /** Along a direction that is made as bytes, once for both sides: of numbers, or each entry with its factor. */
  #perturbByBytes(bytes: Int8Array, { radius }: Groups, at: { round: number; k: number }, sign: number): void {
    if (this.#made?.round !== at.round || this.#made.k !== at.k)
      fillDirection(this.#memory, bytes, { seed: this.#seed, space: this.#space, ...at })
    this.#made = at
    const step = sign * perturbationStep(radius, this.#space, bytes)
    for (const { out, center, kept, factors, trained, from } of this.#segments) {
      const place = bytes.byteOffset + from
      if (!kept) this.#memory.run.perturbBytes(out.byteOffset, center.byteOffset, place, out.length, step)
      else
        for (let i = 0; i < trained.length; i++)
          out[kept[i]!] = center[kept[i]!]! + Math.fround(step * bytes[from + i]! * (factors?.[i] ?? 1))
    }
  }

  #add({ kept, factors, trained, from }: Segment, target: Float32Array, vector: Float32Array): void {
    const { run } = this.#memory
    trained.set(vector.subarray(from, from + trained.length))
    const [at, values] = [target.byteOffset, trained.byteOffset]
    if (kept && factors) addWeighted(target, trained, { indices: kept, factors })
    else if (kept) run.addKept(at, at, values, kept.byteOffset, kept.length)
    else run.add(at, at, values, trained.length)
  }
}

/** Floats of a cache line: what alignment may add to a vector. */
const LINE = 16

function rankOf(space: FullSpace | PrunedSpace): number | undefined {
  return space.kind === 'full' && space.directions.kind === 'low-rank' ? space.directions.rank : undefined
}

/** Whether the next group is the other side of this one. */
function isOtherSide(groups: Groups, group: number): boolean {
  const [here, next] = [groups.at(group), groups.at(group + 1)]
  return next.k === here.k && next.sign === -1
}

/** What a mask keeps of one tensor. */
export interface Kept {
  readonly indices: Uint32Array
  /** Of these entries, where the space is weighted. */
  readonly factors?: Float32Array
}

/** target <- target + factor * vector at kept entries: the product exact, the sum rounded once. */
export function addWeighted(target: Float32Array, vector: Float32Array, { indices, factors }: Required<Kept>): void {
  for (let i = 0; i < indices.length; i++) target[indices[i]!]! += factors[i]! * vector[i]!
}

/** The kept entries of each tensor. @throws EngineError `wrong_mask` */
export function keptOf(space: PrunedSpace, mask: Uint8Array | undefined): Kept[] {
  if (!mask) throw new EngineError('wrong_mask', 'a pruned space needs its mask')
  try {
    const indices = keptIndices(mask, space)
    const factors = keptFactors(mask, space)
    return indices.map((kept, tensor) => (factors ? { indices: kept, factors: factors[tensor]! } : { indices: kept }))
  } catch (cause) {
    if (cause instanceof MaskError) throw new EngineError('wrong_mask', cause.message, { cause })
    throw cause
  }
}
