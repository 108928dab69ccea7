export { type Engine, type EngineOptions, type EngineRecord, openEngine } from './engine.ts'
export { EngineError, type EngineErrorCode } from './error.ts'
export type { EncodedRecord } from './evaluate/evaluator.ts'
export { inspectModel, type ModelInspection, type ModelSite } from './inspect.ts'
