export {
  affordableRounds,
  type Calibration,
  type CalibrationStage,
  CURVE_ROUNDS_MAX,
  calibrateNoise,
  epsilonByRound,
  NOISE_MAX,
  NOISE_MIN,
  NOISE_TOLERANCE,
  ROUNDS_MAX,
} from './calibration.ts'
export {
  type Clipping,
  clipJoint,
  clipPerDirection,
  decodeLoss,
  GRID_STEPS_MAX,
  type Grid,
  type LossCoordinate,
  meanDifferences,
  noiseDeviation,
  sensitivity,
} from './clip.ts'
export { PrivacyError, type PrivacyErrorCode } from './error.ts'
export { canonicalEvent, type EventCount, gaussianEvent, type MechanismEvent, validateEvent } from './event.ts'
export { type Budget, canSpend, RdpMeter, spend } from './meter.ts'
export { roundedNormals } from './normal.ts'
export type { RandomBytes } from './randomness.ts'
export { addRounds, type Epsilon, epsilonFromRdp, RDP_ORDERS, ROUNDING_SLACK, rdpCurve } from './rdp.ts'
export { poissonSample, type Unit, unitsOf } from './sampling.ts'
