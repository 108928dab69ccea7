export {
  type Calibration,
  type CalibrationStage,
  calibrateNoise,
  largestRounds,
  largestSamplingRate,
  NOISE_MAX,
  NOISE_MIN,
  RATE_MIN,
  type RateCalibration,
  type RateStage,
  ROUNDS_MAX,
} from './calibration.ts'
export {
  type ClipOptions,
  type Clipping,
  clipJoint,
  clipPerDirection,
  GRID_STEPS_MAX,
  type Grid,
  type LossCoordinate,
  laplaceScale,
  meanDifferences,
  type NoiseQuestion,
  type Norm,
  noiseDeviation,
  sensitivity,
} from './clip.ts'
export { estimateDelta, estimateEpsilon } from './contour.ts'
export { releasedBy, rising, type SpendPoint, spendCurve } from './curve.ts'
export { PrivacyError, type PrivacyErrorCode } from './error.ts'
export {
  canonicalEvent,
  canonicalHistory,
  distinctEvents,
  type EventCount,
  gaussianEvent,
  laplaceEvent,
  type Mechanism,
  type MechanismEvent,
  mechanismEvent,
  type Neighbours,
  neighboursOf,
  parseEvent,
  validateEvent,
} from './event.ts'
export { canSpend, filterOrders, RdpFilter } from './filter.ts'
export { groupEvents, groupGuarantee, groupSpend } from './group.ts'
export { roundedLaplaces } from './laplace.ts'
export { clipUnit, drawNoise, noiseScale, normOf } from './mechanism.ts'
export { type Budget, fitsSchedule, RdpMeter, spend } from './meter.ts'
export { roundedNormals } from './normal.ts'
export { ODOMETER_ORDERS, odometer } from './odometer.ts'
export { chanceOfGuesses, type OneRun, oneRunLowerBound } from './onerun.ts'
export { parallelComposition, spendOfUser } from './parallel.ts'
export {
  type BoundsOptions,
  type DeltaBounds,
  deltaBounds,
  type EpsilonBounds,
  epsilonBounds,
} from './pld/bounds.ts'
export { type Clipped, decodeClipped, decodeLoss } from './progress.ts'
export { calibratePure, pureEpsilon } from './pure.ts'
export type { RandomBytes } from './randomness.ts'
export { addRounds, type Epsilon, epsilonFromRdp, RDP_ORDERS, ROUNDING_SLACK, rdpCurve } from './rdp.ts'
export { poissonSample, type Unit, unitsOf } from './sampling.ts'
export { ScheduleFilter } from './schedule.ts'
