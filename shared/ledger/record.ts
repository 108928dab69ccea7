import { z } from 'zod'
import { evaluationReportSchema, maskReportSchema } from '../api/lease.ts'
import { HexHash, Identifier } from '../api/scalar.ts'
import { mechanismEventSchema, runSpecSchema } from '../api/spec.ts'

/** `prev` of the first record of a log. */
export const GENESIS = '0'.repeat(64)

/** What stands in every record, of a run's log as of a dataset's. */
export const placedShape = {
  /** Position in the log, from 0. */
  seq: z.int().nonnegative(),
  /** SHA-256 of the canonical bytes of the record before, or GENESIS. */
  prev: HexHash,
  /** Coordinator's clock, milliseconds since 1970, never less than that of the record before. */
  time: z.int().nonnegative(),
}
const round = z.int().nonnegative()
const safeInteger = z.int()

/** What one dataset released for one round. */
export const releasedReportSchema = z.strictObject({
  dataset: Identifier,
  lease: Identifier,
  worker: Identifier,
  /** What the worker signs by: raw Ed25519, base64. */
  publicKey: z.string(),
  integers: z.array(safeInteger).min(1),
  signature: z.string(),
})

/** The records of a run's log (DESIGN section 6). Strict: an unknown key is refused. */
export const runRecordSchema = z.discriminatedUnion('type', [
  z.strictObject({ ...placedShape, type: z.literal('spec'), run: Identifier, spec: runSpecSchema }),
  z.strictObject({ ...placedShape, type: z.literal('open'), round, stage: z.int().nonnegative() }),
  z.strictObject({
    ...placedShape,
    type: z.literal('charge'),
    round,
    dataset: Identifier,
    lease: Identifier,
    /** 0 for the first lease of a round, then one more for each that was lost. */
    attempt: z.int().nonnegative(),
    event: mechanismEventSchema,
  }),
  z.strictObject({
    ...placedShape,
    type: z.literal('void'),
    round,
    dataset: Identifier,
    lease: Identifier,
    reason: z.literal('lease_lost'),
  }),
  z.strictObject({
    ...placedShape,
    type: z.literal('close'),
    round,
    reports: z.array(releasedReportSchema).min(1),
    /** ghat_k, length K. */
    coefficients: z.array(z.number()),
    /** Estimate of the mean loss from the released integers, in nats; absent where no loss rides along. */
    privateLoss: z.number().optional(),
    /** Estimate of the share of clipped units (per direction: of clamped differences); absent where it is not told. */
    clippedShare: z.number().optional(),
    /** SHA-256 of the trained state after the update. */
    stateHash: HexHash,
  }),
  z.strictObject({ ...placedShape, type: z.literal('stage'), stage: z.int().nonnegative(), stateHash: HexHash }),
  z.strictObject({
    ...placedShape,
    type: z.literal('evaluation'),
    /** Closed rounds of the model. */
    round,
    /** What a worker said, whole; null where none did in its time. */
    answer: z.strictObject({ worker: Identifier, publicKey: z.string(), report: evaluationReportSchema }).nullable(),
  }),
  z.strictObject({
    ...placedShape,
    type: z.literal('mask'),
    stage: z.int().positive(),
    answer: z.strictObject({ worker: Identifier, publicKey: z.string(), report: maskReportSchema }),
  }),
  /** No round is opened from here on, until a record `resume`. */
  z.strictObject({
    ...placedShape,
    type: z.literal('pause'),
    /** The dataset whose owner froze it; null where somebody asked for the pause. */
    frozen: Identifier.nullable(),
  }),
  z.strictObject({ ...placedShape, type: z.literal('resume') }),
  z.strictObject({
    ...placedShape,
    type: z.literal('end'),
    outcome: z.enum(['completed', 'cancelled', 'budget_exhausted', 'failed']),
    stateHash: HexHash,
    adapter: z.strictObject({ key: z.string(), sha256: HexHash, bytes: z.int() }).nullable(),
  }),
])
export type RunRecord = z.infer<typeof runRecordSchema>
/** A record before it has its place in the log. */
export type Unplaced<R> = R extends unknown ? Omit<R, 'seq' | 'prev' | 'time'> : never
export type RunEntry = Unplaced<RunRecord>
