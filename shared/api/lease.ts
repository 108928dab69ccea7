import { z } from 'zod'
import { HexHash, Identifier } from './scalar.ts'
import { mechanismEventSchema } from './spec.ts'

// --- leases ---
export const leaseRequestSchema = z
  .strictObject({ waitSeconds: z.number().min(0).max(60).default(25) })
  .meta({ id: 'LeaseRequest' })
const leaseShape = {
  id: Identifier,
  run: Identifier,
  specHash: HexHash,
  dataset: Identifier.describe('Of the worker.'),
  attempt: z.int().nonnegative(),
  expires: z.int().describe('Milliseconds since 1970 by the coordinator, for display only.'),
  head: z.strictObject({ size: z.int(), hash: HexHash }).describe('The log that the worker catches up to.'),
  note: z
    .string()
    .max(10_000)
    .describe('Signed checkpoint of that log (C2SP): a worker refuses a lease whose log it is not.'),
}
const closedRounds = z.int().nonnegative().describe('Closed rounds: the model is as they leave it.')
export const roundLeaseSchema = z
  .strictObject({
    kind: z.literal('round'),
    ...leaseShape,
    round: z.int().nonnegative(),
    event: mechanismEventSchema,
  })
  .meta({ id: 'RoundLease', description: 'The right to report once for a round of a run, its charge in the log.' })
export type RoundLease = z.infer<typeof roundLeaseSchema>
export const evaluationLeaseSchema = z
  .strictObject({ kind: z.literal('evaluation'), ...leaseShape, round: closedRounds })
  .meta({
    id: 'EvaluationLease',
    description: "To evaluate the model on the run's public data. It reads no dataset and is not charged.",
  })
export const maskLeaseSchema = z
  .strictObject({ kind: z.literal('mask'), ...leaseShape, round: closedRounds, stage: z.int().positive() })
  .meta({
    id: 'MaskLease',
    description: "To make a stage's mask of the model as it is. It reads no dataset and is not charged.",
  })
/** Work that no private data are read for. */
export type PublicLease = z.infer<typeof evaluationLeaseSchema> | z.infer<typeof maskLeaseSchema>
/** What a worker is asked to do next. */
export const leaseSchema = z
  .discriminatedUnion('kind', [roundLeaseSchema, evaluationLeaseSchema, maskLeaseSchema])
  .meta({ id: 'Lease' })
export type Lease = z.infer<typeof leaseSchema>
/** A lease before the log that it rests on is signed. */
export type UnsignedLease = Lease extends infer L ? (L extends unknown ? Omit<L, 'note'> : never) : never

// --- reports ---
/** Largest magnitude of a released integer: sums over 1,000 datasets stay safe integers. */
export const MAX_INTEGER = 2 ** 43
/** Trained tensors of a mask, at most; see the schema of spaces. */
const TENSORS_MAX = 2000
const reportShape = {
  run: Identifier,
  specHash: HexHash,
  lease: Identifier,
  dataset: Identifier,
  /** As the lease says. */
  round: z.int().nonnegative(),
  /** Trained state that was evaluated, as the worker replayed it. */
  stateHash: HexHash,
}
const roundReportShape = {
  kind: z.literal('round'),
  ...reportShape,
  integers: z.array(z.int().min(-MAX_INTEGER).max(MAX_INTEGER)).min(1).max(4098),
}
/** What a model says of public data. */
export const evaluationShape = {
  records: z.int().nonnegative().describe('Records that fit the task; others count as nothing.'),
  correct: z
    .int()
    .nonnegative()
    .nullable()
    .describe('Records whose label has the largest logit; null where a task has no labels.'),
  loss: z
    .int()
    .nonnegative()
    .max(MAX_INTEGER)
    .nullable()
    .describe('Mean loss in millionths of a nat; null where no record has a finite one.'),
}
export const evaluationSchema = z.strictObject(evaluationShape).meta({ id: 'Evaluation' })
export type Evaluation = z.infer<typeof evaluationSchema>
const evaluationReportShape = { kind: z.literal('evaluation'), ...reportShape, ...evaluationShape }
const slopes = z.array(z.number()).min(1).max(1024)
const maskReportShape = {
  kind: z.literal('mask'),
  ...reportShape,
  stage: z.int().positive(),
  mask: HexHash.describe('SHA-256 of the mask.'),
  kept: z.array(z.int().nonnegative()).min(1).max(TENSORS_MAX).describe('Entries that it keeps, by tensor.'),
  slopes: z
    .strictObject({ first: slopes, second: slopes })
    .nullable()
    .describe(
      'What the runtime contributed to a forward score: with it everybody makes the same mask. Null for other scores.',
    ),
}
export const unsignedReportSchema = z.discriminatedUnion('kind', [
  z.strictObject(roundReportShape),
  z.strictObject(evaluationReportShape),
  z.strictObject(maskReportShape),
])
export type UnsignedReport = z.infer<typeof unsignedReportSchema>
const signature = z
  .string()
  .regex(/^[A-Za-z0-9+/]{86}==$/)
  .describe('Ed25519, base64.')
/** All that leaves a worker of its dataset: ids, hashes, grid integers, a signature. */
export const roundReportSchema = z.strictObject({ ...roundReportShape, signature }).meta({ id: 'RoundReport' })
export type RoundReport = z.infer<typeof roundReportSchema>
export const evaluationReportSchema = z
  .strictObject({ ...evaluationReportShape, signature })
  .meta({ id: 'EvaluationReport' })
export const maskReportSchema = z.strictObject({ ...maskReportShape, signature }).meta({ id: 'MaskReport' })
export type MaskReport = z.infer<typeof maskReportSchema>
export type PublicReport = z.infer<typeof evaluationReportSchema> | MaskReport
export const reportSchema = z
  .discriminatedUnion('kind', [roundReportSchema, evaluationReportSchema, maskReportSchema])
  .meta({ id: 'Report' })
export type Report = z.infer<typeof reportSchema>
export const reportAnswerSchema = z
  .strictObject({ lease: Identifier, accepted: z.literal(true) })
  .meta({ id: 'ReportAnswer' })
