import type { Release } from './quadrature.ts'

/** A composition of at most three releases, and an epsilon at which it is judged. */
export interface Setting {
  readonly releases: readonly Release[]
  readonly epsilon: number
}

type Stage = readonly [mechanism: Release['mechanism'], noiseMultiplier: number, samplingRate: number]

const setting = (neighbours: Release['neighbours'], epsilon: number, ...stages: Stage[]): Setting => ({
  releases: stages.map(([mechanism, noiseMultiplier, samplingRate]) => ({
    mechanism,
    noiseMultiplier,
    samplingRate,
    neighbours,
  })),
  epsilon,
})

const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value)

/** Both mechanisms, every relation, equal and mixed stages; delta from 0.1 down to 1e-10. */
export const SETTINGS: readonly Setting[] = [
  setting('add-remove', 0.5, ['gaussian', 1, 0.01]),
  setting('add-remove', 3, ['gaussian', 1, 1]),
  setting('add-remove', 0.01, ['gaussian', 4, 0.2]),
  setting('add-remove', 1, ...times(2, ['gaussian', 1, 0.01] as const)),
  setting('add-remove', 2.2, ...times(2, ['gaussian', 1, 0.02] as const)),
  setting('add-remove', 0.05, ...times(3, ['gaussian', 1, 0.001] as const)),
  setting('add-remove', 2, ...times(3, ['gaussian', 0.8, 0.1] as const)),
  setting('add-remove', 8, ...times(3, ['gaussian', 0.7, 0.5] as const)),
  setting('add-remove', 4, ['gaussian', 2, 1], ['gaussian', 1, 1], ['gaussian', 3, 1]),
  setting('add-remove', 0.3, ['gaussian', 2, 0.2], ['gaussian', 4, 0.5]),
  setting('add-remove', 1, ['gaussian', 1, 0.001], ['gaussian', 0.8, 0.2], ['gaussian', 2, 0.1]),
  setting('add-remove', 5, ['gaussian', 0.5, 0.01], ['gaussian', 1, 1]),
  setting('zero-out', 1.5, ...times(2, ['gaussian', 1.1, 0.3] as const)),
  setting('zero-out', 0.1, ['gaussian', 1.5, 0.05], ['laplace', 2, 0.05]),
  setting('replace-one', 0.5, ['gaussian', 2, 0.1]),
  setting('replace-one', 6, ['gaussian', 1, 1]),
  setting('replace-one', 1, ...times(3, ['gaussian', 1, 0.02] as const)),
  setting('replace-one', 3, ['gaussian', 0.8, 0.1], ['gaussian', 1, 0.3]),
  setting('replace-one', 0.2, ['gaussian', 4, 0.5], ['gaussian', 3, 0.02], ['gaussian', 1.5, 0.3]),
  setting('add-remove', 0.9, ['laplace', 1, 1]),
  setting('add-remove', 0.016, ['laplace', 1, 0.01]),
  setting('add-remove', 0.4, ...times(2, ['laplace', 0.7, 0.1] as const)),
  setting('add-remove', 2.5, ...times(3, ['laplace', 1, 1] as const)),
  setting('add-remove', 0.5, ['laplace', 1, 0.3], ['laplace', 0.7, 0.2], ['laplace', 3, 0.5]),
  setting('add-remove', 1.2, ['gaussian', 1, 0.25], ['laplace', 1.5, 0.1], ['gaussian', 2, 0.5]),
  setting('replace-one', 0.7, ['laplace', 1, 0.3], ['laplace', 0.7, 0.2]),
  setting('replace-one', 0.02, ...times(3, ['laplace', 2, 0.01] as const)),
  setting('replace-one', 2, ['laplace', 1, 0.5], ['gaussian', 1, 0.2]),
]
