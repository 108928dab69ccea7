import type { LossOracle, ReleaseInput } from '../../gpu-worker/release.ts'
import {
  groupCount,
  type LoraSpace,
  type Perturbation,
  perturbedFactors,
  spaceDimension,
} from '../../shared/zo/index.ts'

/**
 * A toy of known constants: unit i has the loss a_i/2 |theta - b_i|^2 (+ c_i) over d coordinates. Everything of a round is
 * known of it in closed form: two-sided differences are a_i <theta - b_i, z> exactly, one-sided ones a_i phi |z|^2 / 2 more.
 */
export interface QuadraticUnit {
  readonly curvature: number
  readonly center: readonly number[]
  readonly offset: number
}

/** `inputs` coordinates in one segment. */
export const coordinates = (inputs: number, distribution?: LoraSpace['distribution']): LoraSpace => ({
  kind: 'lora',
  rank: 1,
  trained: 'factor',
  sites: [{ name: 'theta', inputs, outputs: 1, scale: 1 }],
  ...(distribution ? { distribution } : {}),
})

export const lossAt = ({ curvature, center, offset }: QuadraticUnit, theta: ArrayLike<number>): number => {
  let square = 0
  for (let i = 0; i < center.length; i++) square += (theta[i]! - center[i]!) ** 2
  return (curvature / 2) * square + offset
}

/** The quadratic as an oracle of the worker. */
export function quadraticOracle(run: { seed: string; space: LoraSpace }): LossOracle<QuadraticUnit> {
  return {
    losses: async (units, at) => {
      const vectors = perturbedFactors(at, run)
      const d = spaceDimension(run.space)
      const groups = Array.from({ length: groupCount(at) }, (_, g) => vectors.subarray(g * d, (g + 1) * d))
      return Float32Array.from(units.flatMap((unit) => groups.map((theta) => lossAt(unit, theta))))
    },
  }
}

export type QuadraticRelease = ReleaseInput<QuadraticUnit>
export type { Perturbation }
