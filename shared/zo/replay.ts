import { portableKernels, type ZoKernels } from './kernels.ts'
import { dimensionOfStage, type Stage, spaceOfStage, stageOf, totalRounds } from './schedule.ts'
import type { RunSpace } from './space.ts'
import { initialState, isFiniteState, nextStage, settled, stateHash, type TrainedState } from './state.ts'
import { applyUpdate, withMean } from './update.ts'

export interface ReplaySpec {
  readonly seed: string
  readonly space: RunSpace
  readonly stages: readonly Stage[]
}

export interface ClosedRound {
  readonly round: number
  readonly coefficients: readonly number[]
  /** Hash of the state after the update, as the record says it. */
  readonly stateHash: string
}

export class ReplayError extends Error {
  readonly code: 'round_out_of_order' | 'wrong_length' | 'state_not_finite' | 'state_mismatch'
  readonly round: number
  constructor(code: ReplayError['code'], round: number) {
    super(`replay stopped at round ${round}: ${code}`)
    this.name = 'ReplayError'
    this.code = code
    this.round = round
  }
}

/** A state and the round that it is ready for. */
export interface ReplayPoint {
  readonly nextRound: number
  readonly state: TrainedState
}

export function replayStart(spec: ReplaySpec): ReplayPoint {
  return { nextRound: 0, state: initialState(dimensionOfStage(spec, 0)) }
}

/**
 * The state after a round's update, the stage ended where the round was its last: the one step that everybody replays.
 * @throws ReplayError where the round is not the next, has another length, or leads out of the finite numbers.
 */
export function advance(
  spec: ReplaySpec,
  point: ReplayPoint,
  closed: { round: number; coefficients: readonly number[] },
  kernels: ZoKernels = portableKernels,
): ReplayPoint {
  if (closed.round !== point.nextRound) throw new ReplayError('round_out_of_order', closed.round)
  const { index, stage, step, last } = stageOf(spec.stages, closed.round)
  if (closed.coefficients.length !== stage.directions) throw new ReplayError('wrong_length', closed.round)
  if (spec.space.kind === 'statistic') return estimated(point, closed)
  const { learningRate, prox, momentum = 0 } = stage
  const update = { coefficients: closed.coefficients, learningRate, prox, momentum }
  const run = { seed: spec.seed, space: spaceOfStage(spec, index) }
  const moved = applyUpdate(point.state, closed.round, update, run, kernels)
  const state = stage.average ? withMean(moved, step + 1) : moved
  if (!isFiniteState(state)) throw new ReplayError('state_not_finite', closed.round)
  const nextRound = closed.round + 1
  if (!last) return { nextRound, state }
  const isFinal = nextRound === totalRounds(spec.stages)
  const ended = settled(state)
  return { nextRound, state: isFinal ? ended : nextStage(ended, dimensionOfStage(spec, index + 1)) }
}

/** The state that a statistic's one round leaves: the estimate itself, each coordinate rounded once to float32. */
function estimated({ state }: ReplayPoint, { round, coefficients }: Pick<ClosedRound, 'round' | 'coefficients'>) {
  const after = { ...state, current: Float32Array.from(coefficients) }
  if (!isFiniteState(after)) throw new ReplayError('state_not_finite', round)
  return { nextRound: round + 1, state: after }
}

/**
 * Replays closed rounds in order and checks the recorded hash after each. Bit-exact on every platform.
 * @throws ReplayError where a round is missing, has another length, or leads to no finite state or another than recorded.
 */
export function replay(
  spec: ReplaySpec,
  rounds: Iterable<ClosedRound>,
  from: ReplayPoint = replayStart(spec),
  kernels: ZoKernels = portableKernels,
): ReplayPoint {
  let point = from
  for (const closed of rounds) {
    point = advance(spec, point, closed, kernels)
    if (stateHash(point.state, kernels) !== closed.stateHash) throw new ReplayError('state_mismatch', closed.round)
  }
  return point
}
