export { adapterFile, adapterKey } from './adapter.ts'
export { basisSigns, direction, frozenFactor, lowRankFactors, matrixShape, STREAMS, streamKey } from './direction.ts'
export { portableKernels, type Update, type ZoKernels } from './kernels.ts'
export {
  bitsetOf,
  keptFactors,
  keptIndices,
  MaskError,
  maskBytes,
  maskHash,
  maskOf,
  withFactors,
} from './mask.ts'
export { type LowRankProduct, mergeProduct } from './merge.ts'
export {
  groupAt,
  groupCount,
  type Perturbation,
  perturb,
  perturbationStep,
  perturbedFactors,
} from './perturb.ts'
export { type DraftStage, type Expansion, expandPreset, type Preset, PresetError } from './presets.ts'
export {
  type Keep,
  type KeepSchedule,
  keepRateAt,
  keptInAll,
  maskFromScores,
  type Order,
  overlapShare,
  PRUNING_ROUNDS,
  type Pruned,
  PruningError,
  type PruningErrorCode,
  prunedBy,
  pruningDirection,
  QUERIES_MAX,
  randomScores,
  rankWeights,
  requireKeep,
  type Scope,
} from './pruning/index.ts'
export {
  advance,
  type ClosedRound,
  ReplayError,
  type ReplayPoint,
  type ReplaySpec,
  replay,
  replayStart,
} from './replay.ts'
export { safetensors, type Tensor } from './safetensors.ts'
export {
  dimensionOfStage,
  type MadeMask,
  type Remake,
  type RoundInStage,
  reportLength,
  type Stage,
  spaceOfStage,
  stageOf,
  totalRounds,
  wantsMask,
  withMask,
} from './schedule.ts'
export {
  type Distribution,
  directionScale,
  elementsOf,
  type FullSpace,
  isOfSigns,
  type LoraSite,
  type LoraSpace,
  type PrunedSpace,
  RANK_MAX,
  type RunSpace,
  type Space,
  type StatisticSpace,
  segmentLengths,
  segmentOffsets,
  spaceDimension,
  sphereScale,
  type WeightTensor,
} from './space.ts'
export { initialState, nextStage, stateBytes, stateFromBytes, stateHash, type TrainedState } from './state.ts'
export { threefry4x32 } from './threefry.ts'
export {
  type Aggregation,
  applyUpdate,
  coefficients,
  type DatasetReport,
  fewestReports,
  MEAN,
  middleOf,
  type StageUpdate,
} from './update.ts'
