export { BucketLog, type BucketParts, type LogFault, PUBLISH_EVERY_MS, type StoredSegment } from './bucket-log.ts'
export { LogFaultError } from './error.ts'
export { type LogKey, openLogKey, verifyEd25519 } from './log-key.ts'
