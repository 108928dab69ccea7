export type { ForwardSettings, Slopes } from './forward.ts'
export { layersOfWeights } from './layers.ts'
export {
  FORWARD_DEFAULTS,
  forwardRuns,
  type PrunedModel,
  pruneModel,
  SCORES,
  type ScoreKind,
  type ScoreOptions,
  type Scores,
  scoreWeights,
  type Verification,
  verifyMask,
} from './prune.ts'
