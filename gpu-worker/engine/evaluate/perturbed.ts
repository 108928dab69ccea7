import type { Space } from '../../../shared/zo/index.ts'
import { VectorKernels } from '../kernels/index.ts'
import type { Groups } from './driver.ts'

/** Trained vectors of the groups of a round, made when they are needed. */
export class PerturbedVectors {
  readonly #kernels: VectorKernels

  constructor(run: { readonly seed: string; readonly space: Space }) {
    this.#kernels = new VectorKernels(run)
  }

  /** Vectors of some groups, each of length d. */
  of({ center, round, radius, at }: Groups, { from, to }: { from: number; to: number }): Float32Array[] {
    return Array.from({ length: to - from }, (_, index) => {
      const { k, sign } = at(from + index)
      return sign === 0 ? center : this.#kernels.perturb(center, { round, k }, { radius, sign })
    })
  }
}
