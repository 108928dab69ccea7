/** A stage: a span of rounds with fixed hyper-parameters (the stages of DP-ZOSO, arXiv 2402.07818). */
export interface Stage {
  readonly rounds: number
  /** eta */
  readonly learningRate: number
  /** phi: perturbation scale. */
  readonly radius: number
  /** K: directions of a round. */
  readonly directions: number
  /** c: L2 bound of a unit's clipped vector (DP-AggZO's joint clip). */
  readonly clip: number
  /** g: step of the integer lattice, in the unit of `clip`. */
  readonly grid: number
  /** sigma: noise std / sensitivity. */
  readonly noiseMultiplier: number
  /** q: Poisson sampling rate of a unit. */
  readonly samplingRate: number
  /** gamma: strength of the prox term, 0 for none. */
  readonly prox: number
  /** Share of the clip given to the private mean loss, in [0, 1); 0 leaves it out of the report. */
  readonly lossShare: number
  /** Largest loss that the private mean loss can show, in nats. */
  readonly lossBound: number
}

export function totalRounds(stages: readonly Stage[]): number {
  return stages.reduce((sum, stage) => sum + stage.rounds, 0)
}

/** The stage of a round, and whether the round is the last of its stage. @throws RangeError for a round outside the schedule. */
export function stageOf(stages: readonly Stage[], round: number): { index: number; stage: Stage; last: boolean } {
  let start = 0
  for (const [index, stage] of stages.entries()) {
    if (round >= start && round < start + stage.rounds)
      return { index, stage, last: round === start + stage.rounds - 1 }
    start += stage.rounds
  }
  throw new RangeError('the round lies outside the schedule')
}

/** Length of a report: K integers, and one more where the private loss rides along. */
export function reportLength(stage: Stage): number {
  return stage.directions + (stage.lossShare > 0 ? 1 : 0)
}
