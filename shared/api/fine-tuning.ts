import { z } from 'zod'
import { runRequestSchema } from './resources.ts'
import { HexHash } from './scalar.ts'

/**
 * Runs as jobs of an API that many tools speak: `/v1/fine_tuning/jobs` of OpenAI. What that API has no word for (task, space, method,
 * budget) is in `method.sotto`, which is a request for a run without model and datasets.
 */

const auto = z.literal('auto')
const { model: _, datasets: __, ...rest } = runRequestSchema.shape
const methodSchema = z
  .strictObject({ type: z.literal('sotto'), sotto: z.strictObject(rest) })
  .describe('What the run does: a request for a run without model and datasets.')

/** Names of datasets, separated by commas: what is trained on. */
const DATASETS = /^[a-z0-9][a-z0-9_-]{0,62}(?:,[a-z0-9][a-z0-9_-]{0,62}){0,999}$/

export const jobRequestSchema = z
  .strictObject({
    model: HexHash.describe('Id of a registered model.'),
    training_file: z.string().regex(DATASETS).describe('Ids of datasets, separated by commas.'),
    method: methodSchema,
    hyperparameters: z
      .strictObject({
        n_epochs: auto.optional(),
        batch_size: auto.optional(),
        learning_rate_multiplier: auto.optional(),
      })
      .optional()
      .describe('Only "auto": the method has them.'),
  })
  .meta({ id: 'FineTuningJobRequest' })
export type JobRequest = z.infer<typeof jobRequestSchema>

const seconds = z.int().describe('Seconds since 1970.')
export const jobSchema = z
  .strictObject({
    id: z.string(),
    object: z.literal('fine_tuning.job'),
    created_at: seconds,
    finished_at: seconds.nullable(),
    model: HexHash,
    fine_tuned_model: z.string().nullable().describe('Key of the adapter in the object store.'),
    organization_id: z.literal('sotto'),
    status: z.enum(['running', 'paused', 'succeeded', 'failed', 'cancelled']),
    error: z.strictObject({ code: z.string(), message: z.string(), param: z.null() }).nullable(),
    training_file: z.string(),
    validation_file: z.string().nullable().describe('SHA-256 of the public data that the model is evaluated on.'),
    result_files: z.array(z.string()),
    trained_tokens: z.null(),
    hyperparameters: z.strictObject({ n_epochs: auto, batch_size: auto, learning_rate_multiplier: auto }),
  })
  .meta({ id: 'FineTuningJob' })
export type Job = z.infer<typeof jobSchema>

export const jobEventSchema = z
  .strictObject({
    id: z.string(),
    object: z.literal('fine_tuning.job.event'),
    created_at: seconds,
    level: z.enum(['info', 'warn', 'error']),
    type: z.enum(['message', 'metrics']),
    message: z.string(),
    data: z.record(z.string(), z.number().nullable()).describe('Of metrics: what was released, or is public.'),
  })
  .meta({ id: 'FineTuningJobEvent' })
export type JobEvent = z.infer<typeof jobEventSchema>

export const jobCheckpointSchema = z
  .strictObject({
    id: z.string(),
    object: z.literal('fine_tuning.job.checkpoint'),
    created_at: seconds,
    fine_tuning_job_id: z.string(),
    fine_tuned_model_checkpoint: z.string().describe('Key of the trained state in the object store.'),
    step_number: z.int().describe('Closed rounds in it.'),
    metrics: z.strictObject({ step: z.int() }),
  })
  .meta({ id: 'FineTuningJobCheckpoint' })
export type JobCheckpoint = z.infer<typeof jobCheckpointSchema>

export const jobListQuery = z.strictObject({
  after: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_-]{0,80}$/)
    .optional()
    .describe('Id of the last one of the page before.'),
  limit: z.coerce.number().int().min(1).max(100).default(20),
})

/** A page as that API has it. */
export function listOf<T extends z.ZodType>(item: T) {
  return z.strictObject({ object: z.literal('list'), data: z.array(item), has_more: z.boolean() })
}
