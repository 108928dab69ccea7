export { DEVICES, type Device, type DeviceWish } from './device/index.ts'
export { type Engine, type EngineOptions, openEngine } from './engine.ts'
export { EngineError, type EngineErrorCode, isCallFault, isLineFault } from './error.ts'
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
export type { EncodedRecord } from './task/index.ts'
