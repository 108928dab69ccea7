export {
  askWitness,
  type Cosigned,
  type PostText,
  parseWitness,
  type Witness,
  WitnessError,
} from './add-checkpoint.ts'
export { type Audit, type AuditedSpend, auditRun } from './audit.ts'
export { canonicalJson, hashHex, hashOf } from './canonical.ts'
export {
  datasetLog,
  EMPTY_LOG,
  LedgerError,
  type LogForm,
  type LogHead,
  type Placed,
  runLog,
  type Segment,
} from './chain.ts'
export { contentMd5 } from './content-md5.ts'
export { cosign, cosignedAt, parseWitnessKey, witnessKey } from './cosignature.ts'
export { COUNT, countEvent, type DatasetStanding, Tally, verifyDataset } from './dataset.ts'
export { type AuditedShare, auditDataset, type DatasetAudit, readStanding } from './dataset-audit.ts'
export { type DatasetEntry, type DatasetRecord, datasetRecordSchema } from './dataset-record.ts'
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
export { AuditError, type AuditFault, type AuditSource, type Signed } from './read.ts'
export { GENESIS, type RunEntry, type RunRecord, runRecordSchema } from './record.ts'
export { EntryTooLongError, entryBundles, hashTiles, tilePath } from './tiles.ts'
export { lossDeviation, noiseVariance, toldOf } from './told.ts'
export { verifyRun } from './verify.ts'
