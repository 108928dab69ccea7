export { canonicalJson, hashHex, hashOf } from './canonical.ts'
export { appendEntries, EMPTY_LOG, LedgerError, type LogHead, readSegment, type Segment, segmentKey } from './chain.ts'
export { GENESIS, type RunEntry, type RunRecord, runRecordSchema } from './record.ts'
export { verifyRun } from './verify.ts'
