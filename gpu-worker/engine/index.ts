export { DEVICES, type Device, type DeviceWish } from './device/index.ts'
export { type Engine, type EngineOptions, openEngine } from './engine.ts'
export { EngineError, type EngineErrorCode, isCallFault, isLineFault } from './error.ts'
export type { FinishedStage } from './evaluate/setup.ts'
export { keptOf } from './evaluate/weight-memory.ts'
export {
  type Examination,
  type ExaminedModel,
  examineModel,
  measureForward,
  measureRound,
  type RoundSpeed,
} from './examine.ts'
export { type Variant, variantsOf } from './graph/file.ts'
export { inspectModel, type ModelInspection, type ModelSite, type ModelTask } from './inspect.ts'
export { type MergedWeight, mergedWeights, type TrainedAdapter, turned, writeMerged } from './merge/index.ts'
export {
  FORWARD_DEFAULTS,
  type ForwardSettings,
  forwardRuns,
  layersOfWeights,
  type PrunedModel,
  pruneModel,
  SCORES,
  type ScoreKind,
  type ScoreOptions,
  type Scores,
  type Slopes,
  scoreWeights,
  type Verification,
  verifyMask,
} from './pruning/index.ts'
export type { EncodedRecord } from './task/index.ts'
