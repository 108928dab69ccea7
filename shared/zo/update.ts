import { portableKernels, type Update, type ZoKernels } from './kernels.ts'
import type { Space } from './space.ts'
import type { TrainedState } from './state.ts'

export interface DatasetReport {
  /** r: released grid integers, length K (plus one where a private loss rides along). */
  readonly integers: readonly number[]
  /** N_j: declared number of units of the dataset. */
  readonly units: number
}

/**
 * Update coefficients ghat_k = g * sum_j r_jk / sum_j (q N_j): sums of integers, then one product and one quotient in
 * IEEE doubles, in this order (DESIGN section 5). The divisor is the EXPECTED batch, never the realised one, which is private.
 */
export function coefficients(
  reports: readonly DatasetReport[],
  stage: { directions: number; grid: number; samplingRate: number },
): number[] {
  const units = reports.reduce((sum, report) => sum + report.units, 0)
  if (units === 0) throw new RangeError('an update needs at least one report')
  const expected = stage.samplingRate * units
  return Array.from({ length: stage.directions }, (_, k) => {
    const total = reports.reduce((sum, report) => sum + report.integers[k]!, 0)
    if (!Number.isSafeInteger(total)) throw new RangeError('a sum of reports is no safe integer')
    return (stage.grid * total) / expected
  })
}

/**
 * One update of the trained vector: `A <- A - eta * (scale * sum_k ghat_k z_k + gamma A)`, scale being `directionScale`.
 * A starts a stage at zero, so A itself is theta - theta_stage and the prox term of DP-ZOSO (arXiv 2402.07818) needs no copy
 * of the centre.
 * Order of operations, for the same bits everywhere: for each coordinate a double sum over k = 0..K-1, times scale, plus
 * gamma * a, times eta, taken from a, rounded once to float32. JavaScript has no fused operations.
 * @returns a new state; the given one is untouched.
 */
export function applyUpdate(
  state: TrainedState,
  round: number,
  update: Update,
  run: { seed: string; space: Space },
  kernels: ZoKernels = portableKernels,
): TrainedState {
  return { ...state, current: kernels.update(state.current, { round, ...update }, run) }
}
