import { type Keep, keptInAll } from './pruning/keep.ts'
import { elementsOf, type PrunedSpace, type RunSpace, type Space, spaceDimension } from './space.ts'

/** How a stage's mask is made of the weights that the stage begins with: no data are read for it. */
export interface Remake extends Keep {
  readonly score: 'forward' | 'magnitude' | 'random'
  /** Of the forward score: directions, perturbation scale, and length of the repeated token. */
  readonly queries: number
  readonly radius: number
  readonly tokens: number
}

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
  /** Instead: the stage trains what a new mask keeps, made when the stage before has ended (dynamic pruning of DP-ZOPO). */
  readonly prune?: Remake | undefined
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

interface Spaced {
  readonly space: RunSpace
  readonly stages: readonly Stage[]
}

/** Where a stage trains. @throws RangeError for a stage outside the schedule, one whose mask is not made yet, or a statistic. */
export function spaceOfStage(spec: Spaced, index: number): Space {
  const { space, prune } = scheduled(spec, index)
  if (prune && !space) throw new RangeError('the mask of the stage is not made yet')
  if (spec.space.kind === 'statistic') throw new RangeError('a statistic trains nothing')
  return space ?? spec.space
}

/** d of a stage, whether its mask is made or not. @throws RangeError for a stage outside the schedule. */
export function dimensionOfStage(spec: Spaced, index: number): number {
  const { space, prune } = scheduled(spec, index)
  if (spec.space.kind === 'statistic') return spec.space.size
  if (!prune || space || spec.space.kind !== 'pruned') return spaceDimension(spaceOfStage(spec, index))
  return keptInAll(spec.space.tensors, prune)
}

/** Whether a stage waits for its mask. */
export function wantsMask(spec: Spaced, index: number): boolean {
  const { space, prune } = scheduled(spec, index)
  return prune !== undefined && space === undefined
}

/** What a new mask keeps: its hash, and how many entries of each tensor. */
export interface MadeMask {
  readonly mask: string
  readonly kept: readonly number[]
}

/**
 * A spec that knows the mask of one more stage.
 * @throws RangeError where the mask keeps other numbers of entries than the stage says
 */
export function withMask<S extends Spaced>(spec: S, index: number, { mask, kept }: MadeMask): S {
  const { prune } = scheduled(spec, index)
  const { space } = spec
  if (!prune || space.kind !== 'pruned' || kept.length !== space.tensors.length)
    throw new RangeError('the stage has no mask to make')
  const tensors = space.tensors.map(({ name, shape }, t) => ({ name, shape, kept: kept[t]! }))
  const made: PrunedSpace = { ...space, tensors, mask, weighted: prune.weighted ?? false }
  const isWhole = tensors.every((tensor) => tensor.kept >= 0 && tensor.kept <= elementsOf(tensor))
  if (!isWhole || spaceDimension(made) !== keptInAll(tensors, prune))
    throw new RangeError('a mask of another size than the stage says')
  return { ...spec, stages: spec.stages.map((stage, at) => (at === index ? { ...stage, space: made } : stage)) }
}

function scheduled({ stages }: Spaced, index: number): Stage {
  const stage = stages[index]
  if (!stage) throw new RangeError('the stage lies outside the schedule')
  return stage
}

/** Length of a report: K integers, one more where the private loss rides along, and one where the share of clipped units does. */
export function reportLength({ directions, lossShare, clipShare = 0 }: Stage): number {
  return directions + (lossShare > 0 ? 1 : 0) + (clipShare > 0 ? 1 : 0)
}
