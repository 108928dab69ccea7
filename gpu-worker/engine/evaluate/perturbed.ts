import { perturbationStep, type Space } from '../../../shared/zo/index.ts'
import { VectorKernels } from '../kernels/index.ts'
import type { Groups } from './driver.ts'

/** Trained vectors of the groups of a round, made when they are needed. */
export class PerturbedVectors {
  readonly #kernels: VectorKernels
  readonly #space: Space

  constructor(run: { readonly seed: string; readonly space: Space }) {
    this.#kernels = new VectorKernels(run)
    this.#space = run.space
  }

  /** Vectors of some groups, each of length d. */
  of(groups: Groups, { from, to }: { from: number; to: number }): Float32Array[] {
    const step = perturbationStep(groups.radius, this.#space)
    return Array.from({ length: to - from }, (_, at) => {
      const { k, sign } = groups.at(from + at)
      return sign === 0 ? groups.center : this.#kernels.perturb(groups.center, { round: groups.round, k }, sign * step)
    })
  }
}
