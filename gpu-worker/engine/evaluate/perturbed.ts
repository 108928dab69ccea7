import { direction, isOfSigns, perturb, perturbationStep, type Space } from '../../../shared/zo/index.ts'
import { VectorKernels } from '../kernels/index.ts'
import type { Groups } from './driver.ts'

/** Trained vectors of the groups of a round, made when they are needed. */
export class PerturbedVectors {
  readonly #run: { readonly seed: string; readonly space: Space }
  /** Where directions are of signs. */
  readonly #kernels: VectorKernels | undefined

  constructor(run: { readonly seed: string; readonly space: Space }) {
    this.#run = run
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

  #ofNumbers(groups: Groups, { from, to }: { from: number; to: number }): Float32Array[] {
    const { seed, space } = this.#run
    let known: { k: number; z: Int8Array } | undefined
    return Array.from({ length: to - from }, (_, at) => {
      const { k, sign } = groups.at(from + at)
      if (sign === 0) return groups.center
      if (known?.k !== k) known = { k, z: direction(seed, { round: groups.round, k }, space) }
      return perturb(groups.center, known.z, sign * perturbationStep(groups.radius, space, known.z))
    })
  }
}
