import { isOfSigns, perturb, perturbationStep, type Space } from '../../../shared/zo/index.ts'
import { VectorKernels } from '../kernels/index.ts'
import type { Groups } from './driver.ts'
import { LastDirection } from './last-direction.ts'

/** Trained vectors of the groups of a round, made when they are needed. */
export class PerturbedVectors {
  readonly #run: { readonly seed: string; readonly space: Space }
  readonly #numbers: LastDirection
  /** Where directions are of signs. */
  readonly #kernels: VectorKernels | undefined

  constructor(run: { readonly seed: string; readonly space: Space }) {
    this.#run = run
    this.#numbers = new LastDirection(run)
    this.#kernels = isOfSigns(run.space) ? new VectorKernels(run) : undefined
  }

  /** Vectors of some groups, each of length d. */
  of(groups: Groups, { from, to }: { from: number; to: number }): Float32Array[] {
    return this.#kernels ? this.#ofSigns(this.#kernels, groups, { from, to }) : this.#ofNumbers(groups, { from, to })
  }

  #ofSigns(kernels: VectorKernels, groups: Groups, { from, to }: { from: number; to: number }): Float32Array[] {
    const step = perturbationStep(groups.radius, this.#run.space)
    return Array.from({ length: to - from }, (_, at) => {
      const { k, sign } = groups.at(from + at)
      return sign === 0 ? groups.center : kernels.perturb(groups.center, { round: groups.round, k }, sign * step)
    })
  }

  #ofNumbers({ center, round, radius, at }: Groups, { from, to }: { from: number; to: number }): Float32Array[] {
    const { space } = this.#run
    return Array.from({ length: to - from }, (_, index) => {
      const { k, sign } = at(from + index)
      if (sign === 0) return center
      const { z } = this.#numbers.of({ round, k })
      return perturb(center, z, sign * perturbationStep(radius, space, z))
    })
  }
}
