import { z } from 'zod'
import { Identifier } from '../api/scalar.ts'
import { budgetSchema, countSchema, mechanismEventSchema } from '../api/spec.ts'
import type { MechanismEvent } from '../privacy/index.ts'
import { placedShape, type Unplaced } from './record.ts'

/** The accountants know more relations of neighbours than a charge may have. */
const event: z.ZodType<MechanismEvent> = mechanismEventSchema
const events = z.array(z.strictObject({ event, count: z.int().positive() }))

/** The records of a dataset's log. Strict: an unknown key is refused. */
export const datasetRecordSchema = z.discriminatedUnion('type', [
  z.strictObject({
    ...placedShape,
    type: z.literal('register'),
    dataset: z.strictObject({
      id: Identifier,
      units: z.int().positive(),
      unit: z.enum(['record', 'user']),
      count: countSchema.optional(),
      /** Lifetime budget. */
      budget: budgetSchema,
    }),
  }),
  /** All that a run may ever charge: spent, until it is released. */
  z.strictObject({ ...placedShape, type: z.literal('reserve'), run: Identifier, events }),
  z.strictObject({
    ...placedShape,
    type: z.literal('charge'),
    run: Identifier,
    lease: Identifier,
    event,
    /** Drawn from what the run has reserved. */
    reserved: z.boolean(),
  }),
  /** What a run had reserved and never charged is free again. */
  z.strictObject({ ...placedShape, type: z.literal('release'), run: Identifier, events }),
  z.strictObject({ ...placedShape, type: z.literal('freeze'), frozen: z.boolean() }),
])
export type DatasetRecord = z.infer<typeof datasetRecordSchema>
export type DatasetEntry = Unplaced<DatasetRecord>
