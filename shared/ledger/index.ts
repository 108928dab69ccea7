export { type Audit, AuditError, type AuditedSpend, type AuditFault, type AuditSource, auditRun } from './audit.ts'
export { canonicalJson, hashHex, hashOf } from './canonical.ts'
export {
  appendEntries,
  checkpointNoteKey,
  EMPTY_LOG,
  LedgerError,
  type LogHead,
  readSegment,
  type Segment,
  segmentKey,
} from './chain.ts'
export { cosign, cosignedAt, parseWitnessKey, witnessKey } from './cosignature.ts'
export {
  consistencyProof,
  type Hash,
  inclusionProof,
  leafHash,
  rootOf,
  sameBytes,
  type Tree,
  verifyConsistency,
  verifyInclusion,
} from './merkle.ts'
export {
  type Checkpoint,
  fromBase64,
  NoteError,
  openCheckpoint,
  parseCheckpoint,
  parseNote,
  type SignEd25519,
  type Signer,
  signCheckpoint,
  toBase64,
  type VerifyEd25519,
  verifierKey,
} from './note.ts'
export { openProof, ProofError, proofOfRecord } from './proof.ts'
export { awaitedWork, isAnswer, type PublicWork, resolvedSpec, type Standing } from './public-work.ts'
export { GENESIS, type RunEntry, type RunRecord, runRecordSchema } from './record.ts'
export { toldOf } from './told.ts'
export { verifyRun } from './verify.ts'
