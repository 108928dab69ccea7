export { direction, frozenFactor } from './direction.ts'
export {
  advance,
  type ClosedRound,
  ReplayError,
  type ReplayPoint,
  type ReplaySpec,
  replay,
  replayStart,
} from './replay.ts'
export { reportLength, type Stage, stageOf, totalRounds } from './schedule.ts'
export { type LoraSite, type LoraSpace, siteLength, siteOffsets, spaceDimension } from './space.ts'
export { initialState, nextStage, stateBytes, stateFromBytes, stateHash, type TrainedState } from './state.ts'
export { threefry4x32 } from './threefry.ts'
export { applyUpdate, coefficients, type DatasetReport } from './update.ts'
