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
 * How the reports of several datasets become one estimate, for each direction.
 * - `mean`: all units count alike: sums of reports over sums of units.
 * - `median`, `trimmed-mean`: over the datasets' own estimates, each of which counts alike: `trim` of them are left out at
 *   either end. One dataset that reports anything it likes then moves a coefficient no further than honest ones do.
 */
export type Aggregation =
  | { readonly rule: 'mean' }
  | { readonly rule: 'median' }
  | { readonly rule: 'trimmed-mean'; readonly trim: number }

export const MEAN: Aggregation = { rule: 'mean' }

/** Least number of reports that a rule takes. */
export function fewestReports(aggregation: Aggregation): number {
  switch (aggregation.rule) {
    case 'mean':
      return 1
    case 'median':
      return 3
    case 'trimmed-mean':
      return 2 * aggregation.trim + 1
  }
}

interface CoefficientStage {
  readonly directions: number
  readonly grid: number
  readonly samplingRate: number
  readonly normalise?: boolean
}

/**
 * Update coefficients ghat_k, a function of what was released and of public numbers alone, so that they cost no privacy. The
 * divisor is the EXPECTED batch q N, never the realised one, which is private. IEEE doubles in a stated order: see each rule.
 * @throws RangeError where there are fewer reports than the rule takes, or a sum is no safe integer
 */
export function coefficients(
  reports: readonly DatasetReport[],
  stage: CoefficientStage,
  aggregation: Aggregation = MEAN,
): number[] {
  if (reports.length < fewestReports(aggregation)) throw new RangeError('an update needs more reports')
  const ghat = aggregation.rule === 'mean' ? pooled(reports, stage) : byDataset(reports, stage, aggregation)
  return stage.normalise ? normalised(ghat) : ghat
}

/** ghat_k = g * sum_j r_jk / sum_j (q N_j): sums of integers, then one product and one quotient (DESIGN section 5). */
function pooled(reports: readonly DatasetReport[], stage: CoefficientStage): number[] {
  const units = reports.reduce((sum, report) => sum + report.units, 0)
  const expected = stage.samplingRate * units
  return Array.from({ length: stage.directions }, (_, k) => {
    const total = reports.reduce((sum, report) => sum + report.integers[k]!, 0)
    if (!Number.isSafeInteger(total)) throw new RangeError('a sum of reports is no safe integer')
    return (stage.grid * total) / expected
  })
}

/** The mean of the middle of the datasets' estimates g r_jk / (q N_j), added up in ascending order. */
function byDataset(
  reports: readonly DatasetReport[],
  stage: CoefficientStage,
  aggregation: Exclude<Aggregation, { rule: 'mean' }>,
): number[] {
  return Array.from({ length: stage.directions }, (_, k) => {
    const estimates = reports.map(({ integers, units }) => (stage.grid * integers[k]!) / (stage.samplingRate * units))
    return middleOf(estimates, aggregation)
  })
}

/** The mean of the middle of some estimates, one of each dataset, as the rule leaves it. */
export function middleOf(estimates: readonly number[], aggregation: Exclude<Aggregation, { rule: 'mean' }>): number {
  const trim = aggregation.rule === 'median' ? Math.ceil(estimates.length / 2) - 1 : aggregation.trim
  const middle = estimates.toSorted((a, b) => a - b).slice(trim, estimates.length - trim)
  return middle.reduce((sum, value) => sum + value, 0) / middle.length
}

/** ghat_k over the root mean square of all; zeros stay zeros. */
function normalised(ghat: readonly number[]): number[] {
  const size = Math.sqrt(ghat.reduce((sum, value) => sum + value * value, 0) / ghat.length)
  return ghat.map((value) => (size === 0 ? 0 : value / size))
}

/** An update, and what the stage does with it. */
export interface StageUpdate extends Update {
  /** mu; 0 if absent. */
  readonly momentum?: number
}

/**
 * One update of the trained vector: `A <- A - eta * (scale * sum_k ghat_k z_k + gamma A)`, scale being `directionScale`; with
 * momentum `v <- mu v + scale * sum_k ghat_k z_k` and `A <- A - eta * (v + gamma A)` (heavy ball).
 * A starts a stage at zero, so A itself is theta - theta_stage and the prox term of DP-ZOSO (arXiv 2402.07818) needs no copy
 * of the centre.
 * Order of operations, for the same bits everywhere: for each coordinate a double sum over k = 0..K-1, times scale, plus
 * gamma * a, times eta, taken from a, rounded once to float32; v likewise, rounded to float32 before it is used. JavaScript
 * has no fused operations.
 * @returns a new state; the given one is untouched.
 */
export function applyUpdate(
  state: TrainedState,
  round: number,
  update: StageUpdate,
  run: { seed: string; space: Space },
  kernels: ZoKernels = portableKernels,
): TrainedState {
  const { momentum = 0, ...plain } = update
  if (momentum === 0) return { ...state, current: kernels.update(state.current, { round, ...plain }, run) }
  const before = state.velocity ?? new Float32Array(state.current.length)
  // v - (-1) (sum + (mu - 1) v): the kernel of the plain update makes the velocity as well.
  const pull = { round, coefficients: plain.coefficients, learningRate: -1, prox: momentum - 1 }
  const velocity = kernels.update(before, pull, run)
  const { learningRate, prox } = plain
  const current = state.current.map((a, i) => a - learningRate * (velocity[i]! + prox * a))
  return { ...state, velocity, current }
}

/** Takes one more iterate into the mean of a stage: m + (a - m) / n in doubles, rounded once; n counts this one. */
export function withMean(state: TrainedState, count: number): TrainedState {
  const { current, mean } = state
  return { ...state, mean: current.map((a, i) => (mean ? mean[i]! + (a - mean[i]!) / count : a)) }
}
