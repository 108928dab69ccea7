import { direction, type Space } from '../../../shared/zo/index.ts'

/** The direction that was made last: both sides of it follow one another, and one of numbers takes long to make. */
export class LastDirection {
  readonly #run: { readonly seed: string; readonly space: Space }
  #last: { readonly round: number; readonly k: number; readonly z: Int8Array } | undefined

  constructor(run: { readonly seed: string; readonly space: Space }) {
    this.#run = run
  }

  of({ round, k }: { readonly round: number; readonly k: number }): { readonly z: Int8Array } {
    if (this.#last?.round !== round || this.#last.k !== k)
      this.#last = { round, k, z: direction(this.#run.seed, { round, k }, this.#run.space) }
    return this.#last
  }
}
