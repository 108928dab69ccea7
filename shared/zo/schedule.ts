import type { Space } from './space.ts'

/** A stage: a span of rounds with fixed hyper-parameters (the stages of DP-ZOSO, arXiv 2402.07818). */
export interface Stage {
  readonly rounds: number
  /** eta */
  readonly learningRate: number
  /** phi: perturbation scale. */
  readonly radius: number
  /** K: directions of a round. */
  readonly directions: number
  /** c: bound of a unit's clipped vector, or of each of its differences: see the clipping of the run. */
  readonly clip: number
  /** g: step of the integer lattice, in the unit of `clip`. */
  readonly grid: number
  /** sigma: noise over sensitivity, in standard deviations (Gaussian) or scales (Laplace). */
  readonly noiseMultiplier: number
  /** q: Poisson sampling rate of a unit. */
  readonly samplingRate: number
  /** gamma: strength of the prox term, 0 for none. */
  readonly prox: number
  /** Share of the clip given to the private mean loss, in [0, 1); 0 leaves it out of the report. */
  readonly lossShare: number
  /** Largest loss that the private mean loss can show, in nats. */
  readonly lossBound: number
  /** Share of the clip given to the share of clipped units; 0, the default, leaves it out of the report. */
  readonly clipShare?: number
  /** mu of heavy-ball momentum, in [0, 1); 0, the default, for none. */
  readonly momentum?: number
  /** Whether the stage ends at the mean of its iterates, not at the last of them. */
  readonly average?: boolean
  /** Whether a round's coefficients are divided by their root mean square: a step of one length, whatever was released. */
  readonly normalise?: boolean
  /** Where this stage trains, if elsewhere than the run's space says: another rank, another mask. */
  readonly space?: Space | undefined
}

export function totalRounds(stages: readonly Stage[]): number {
  return stages.reduce((sum, stage) => sum + stage.rounds, 0)
}

/** Where a round lies in the schedule. */
export interface RoundInStage {
  /** Of the stage. */
  readonly index: number
  readonly stage: Stage
  /** Rounds of the stage before this one. */
  readonly step: number
  /** Whether the round is the last of its stage. */
  readonly last: boolean
}

/** The stage of a round. @throws RangeError for a round outside the schedule. */
export function stageOf(stages: readonly Stage[], round: number): RoundInStage {
  let start = 0
  for (const [index, stage] of stages.entries()) {
    if (round >= start && round < start + stage.rounds)
      return { index, stage, step: round - start, last: round === start + stage.rounds - 1 }
    start += stage.rounds
  }
  throw new RangeError('the round lies outside the schedule')
}

/** Where a stage trains. @throws RangeError for a stage outside the schedule. */
export function spaceOfStage(spec: { readonly space: Space; readonly stages: readonly Stage[] }, index: number): Space {
  const stage = spec.stages[index]
  if (!stage) throw new RangeError('the stage lies outside the schedule')
  return stage.space ?? spec.space
}

/** Length of a report: K integers, one more where the private loss rides along, and one where the share of clipped units does. */
export function reportLength({ directions, lossShare, clipShare = 0 }: Stage): number {
  return directions + (lossShare > 0 ? 1 : 0) + (clipShare > 0 ? 1 : 0)
}
