import { z } from 'zod'
import { evaluationSchema, evaluationShape } from './lease.ts'
import { methodShape, noiseSchema, stageRequestSchema, stageSchema } from './method.ts'
import { presetSchema } from './preset.ts'
import { HexHash, Identifier } from './scalar.ts'
import { runSpaceSchema } from './space.ts'
import { budgetSchema, cosignaturesSchema, countSchema, evaluationSettingsSchema, runSpecSchema } from './spec.ts'
import { taskSchema } from './task.ts'

// --- datasets ---
/** What the owner of a dataset allows, whatever its budget would pay for. */
export const policySchema = z
  .strictObject({
    frozen: z.boolean().default(false).describe('No charge is made while it is so: runs pause.'),
    maxEpsilon: z.number().positive().nullable().default(null).describe('Largest epsilon of one run.'),
    minNoiseMultiplier: z.number().positive().nullable().default(null).describe('Least noise of any stage.'),
    minDatasets: z
      .int()
      .positive()
      .nullable()
      .default(null)
      .describe('Least number of datasets that close a round: the quorum.'),
    models: z
      .array(HexHash)
      .min(1)
      .max(1000)
      .nullable()
      .default(null)
      .describe('Models that may be trained; null for any.'),
  })
  .meta({ id: 'DatasetPolicy' })
export type DatasetPolicy = z.infer<typeof policySchema>

export const datasetRequestSchema = z
  .strictObject({
    id: Identifier,
    units: z.int().positive().describe('Number of units N, public: declared, or counted with noise.'),
    unit: z.enum(['record', 'user']).default('record'),
    count: countSchema.optional(),
    budget: budgetSchema.describe('Lifetime budget.'),
  })
  .meta({ id: 'DatasetRequest' })
export const datasetSchema = z
  .strictObject({
    id: Identifier,
    units: z.int().positive(),
    unit: z.enum(['record', 'user']),
    count: countSchema.optional(),
    budget: budgetSchema,
    spent: z
      .strictObject({
        epsilon: z
          .number()
          .describe('An odometer: an upper bound that holds whenever it is read, however later runs were chosen.'),
        ofBudget: z
          .number()
          .describe(
            'What the filter of the lifetime budget has come to: it decides on charges, and ends at the budget. It starts well above 0.',
          ),
        charges: z.int(),
      })
      .describe('Of all charges of all runs.'),
    reserved: z
      .strictObject({
        charges: z.int().describe('What running runs may still charge.'),
        ofBudget: z.number().describe('What the filter would have come to with them.'),
      })
      .describe('What runs have reserved and not charged yet; it returns when they end.'),
    policy: policySchema,
    fault: z
      .enum(['ledger_behind_log', 'log_conflict'])
      .nullable()
      .describe(
        'Why nothing is charged any more: the bucket has a longer log of the dataset than the database, which was rolled back, or another one.',
      ),
  })
  .meta({ id: 'Dataset' })
export type Dataset = z.infer<typeof datasetSchema>

export const affordableSchema = z.strictObject({ rounds: z.int() }).meta({ id: 'AffordableRounds' })

// --- tokens and workers ---
const personScope = z
  .enum(['admin', 'operator', 'auditor'])
  .describe('operator: models and runs, but neither budgets nor tokens. auditor: reads.')
export const tokenRequestSchema = z
  .strictObject({
    scope: personScope,
    expiresInSeconds: z.int().min(60).max(315_360_000).optional().describe('Default: it does not expire.'),
  })
  .meta({ id: 'TokenRequest' })
const expires = z.int().nullable().describe('Milliseconds since 1970, or null for never.')
export const tokenSchema = z
  .strictObject({
    id: Identifier,
    scope: personScope,
    token: z.string().describe('Shown once.'),
    expires,
  })
  .meta({ id: 'Token' })
export const tokenSummarySchema = z
  .strictObject({
    id: Identifier,
    scope: z.enum(['admin', 'operator', 'auditor', 'worker']),
    worker: Identifier.nullable().describe('Whom a worker token speaks for.'),
    revoked: z.boolean(),
    expires,
  })
  .meta({ id: 'TokenSummary' })
export const workerRequestSchema = z.strictObject({ dataset: Identifier }).meta({ id: 'WorkerRequest' })
export const workerCreatedSchema = z
  .strictObject({ id: Identifier, dataset: Identifier, token: z.string().describe('Shown once.') })
  .meta({ id: 'WorkerCreated' })
export const workerSchema = z
  .strictObject({
    id: Identifier,
    dataset: Identifier,
    publicKey: z.string().nullable(),
    lastSeen: z.int().nullable().describe('Milliseconds since 1970.'),
    revoked: z.boolean(),
  })
  .meta({ id: 'Worker' })
/** What a worker says of itself once: its key for signing reports, raw Ed25519, base64. The first one stays. */
export const workerKeySchema = z
  .strictObject({ publicKey: z.string().regex(/^[A-Za-z0-9+/]{43}=$/) })
  .meta({ id: 'WorkerKey' })
/** Names of logs have no spaces and no `+`: an address without its scheme is usual. */
export const LogName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}$/)
export const logIdentitySchema = z
  .strictObject({
    name: LogName.describe('Logs of runs are called by it, a slash and the id of the run.'),
    publicKey: z
      .string()
      .regex(/^[A-Za-z0-9+/]{43}=$/)
      .describe('Signs their checkpoints: raw Ed25519, base64.'),
  })
  .meta({ id: 'LogIdentity' })
export type LogIdentity = z.infer<typeof logIdentitySchema>
export const workerSelfSchema = z
  .strictObject({ id: Identifier, dataset: datasetSchema, publicKey: z.string().nullable(), log: logIdentitySchema })
  .meta({ id: 'WorkerSelf' })

// --- models ---
const modelFile = {
  path: z
    .string()
    .max(500)
    .regex(/^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/, 'a relative path without . or ..'),
  sha256: HexHash,
  bytes: z.int().nonnegative(),
}
export const modelManifestSchema = z
  .strictObject({ files: z.array(z.strictObject(modelFile)).min(1).max(1000) })
  .refine((m) => m.files.every((f, i, all) => i === 0 || f.path > (all[i - 1]?.path ?? '')), 'files ascend by path')
  .meta({ id: 'ModelManifest', description: 'The model id is the SHA-256 of the canonical JSON of the manifest.' })
export type ModelManifest = z.infer<typeof modelManifestSchema>
export const modelUploadSchema = z
  .strictObject({
    id: HexHash,
    uploads: z
      .array(z.strictObject({ path: z.string(), url: z.string() }))
      .describe('Files still to PUT, each by its signed URL.'),
  })
  .meta({ id: 'ModelUpload' })
export const modelSchema = z
  .strictObject({ id: HexHash, files: z.array(z.strictObject({ ...modelFile, url: z.string() })) })
  .meta({ id: 'Model' })

// --- runs ---
export const runRequestSchema = z
  .strictObject({
    model: HexHash,
    task: taskSchema,
    space: runSpaceSchema,
    clipping: methodShape.clipping.unwrap().optional().describe('Default: joint.'),
    noise: noiseSchema.optional().describe('Default: gaussian.'),
    sides: methodShape.sides.unwrap().optional().describe('Default: two.'),
    aggregation: methodShape.aggregation,
    stages: z.array(stageRequestSchema).min(1).max(64).optional(),
    preset: presetSchema
      .optional()
      .describe(
        'In the place of stages: a method by name. Sets clipping, noise, sides, guarantee and the distribution too.',
      ),
    datasets: z.array(Identifier).min(1).max(1000),
    budget: budgetSchema,
    guarantee: z
      .enum(['approximate', 'pure'])
      .optional()
      .describe('What the noise is chosen for: (epsilon, delta), or with Laplace noise epsilon alone, with delta 0.'),
    spareCharges: z.int().nonnegative().max(100_000).optional().describe('Default: 5 % of the rounds, at least 4.'),
    quorum: z.int().positive().optional().describe('Default: all datasets.'),
    cosignatures: cosignaturesSchema.optional(),
    deadlineSeconds: z.number().positive().max(86_400).default(600),
    leaseSeconds: z.number().positive().max(86_400).default(120),
    evaluation: evaluationSettingsSchema.nullable().default(null).describe('Default: none.'),
  })
  .refine(({ stages, preset }) => (stages === undefined) !== (preset === undefined), {
    path: ['stages'],
    message: 'either stages or a preset',
  })
  .meta({ id: 'RunRequest' })
/** A run as one asks for it: what is left out has a default. */
export type RunRequest = z.input<typeof runRequestSchema>
/** The same with its defaults. */
export type CompleteRequest = z.output<typeof runRequestSchema>
/** What a run is for. */
export const runJobSchema = z.enum(['training', 'statistic'])
export const runPlanSchema = z
  .strictObject({
    job: runJobSchema,
    ...methodShape,
    space: runSpaceSchema,
    stages: z.array(stageSchema),
    rounds: z.int(),
    spareCharges: z.int(),
    epsilon: z
      .number()
      .describe('Spent of each dataset by all rounds, without spare charges: a certified upper bound.'),
    epsilonLower: z.number().describe('A certified lower bound of the same.'),
    epsilonRdp: z.number().describe('The same by Renyi divergences: looser, for comparison with other accountants.'),
    epsilonWithSpares: z.number().describe('Upper bound with all spare charges; the budget pays for this.'),
    epsilonPure: z
      .number()
      .nullable()
      .describe(
        'With all spare charges, at delta 0: the sum of what each charge costs alone. Null for Gaussian noise.',
      ),
    epsilonByRound: z
      .array(z.strictObject({ round: z.int(), epsilon: z.number() }))
      .describe('Upper bounds after at most 50 rounds, evenly spaced, the last at the last round.'),
    affordableRounds: z
      .record(Identifier, z.int())
      .describe(
        "Rounds each dataset's lifetime budget could still pay for at the last stage, by the filter that guards it over all runs.",
      ),
    evaluations: z.int().describe('On public data; not in the forward passes.'),
    dimension: z.int().describe('Trained coordinates d.'),
    forwardPasses: z.number().describe('Expected evaluations of one record, all datasets together.'),
    bytesPerReport: z.int().describe('Upper bound of one report on the wire.'),
  })
  .meta({ id: 'RunPlan' })
export const runStateSchema = z.enum(['running', 'paused', 'completed', 'cancelled', 'budget_exhausted', 'failed'])
export const runSchema = z
  .strictObject({
    id: Identifier,
    specHash: HexHash,
    job: runJobSchema,
    spec: runSpecSchema,
    state: runStateSchema,
    reason: z.string().nullable().describe('Why the run stopped, where it did not complete.'),
    created: z.int(),
    history: z
      .array(z.strictObject({ state: runStateSchema, time: z.int().describe('Milliseconds since 1970.') }))
      .describe('What the run was, and since when.'),
    round: z.int().describe('The open round, or the number of closed rounds where none is open.'),
    rounds: z.int(),
    privateLoss: z.number().nullable().describe('Running mean of the private losses of the last 16 closed rounds.'),
    clippedShare: z
      .number()
      .nullable()
      .describe('Running mean of the noised shares of clipped units of the last 16 closed rounds.'),
    signalToNoise: z
      .number()
      .nullable()
      .describe('Power of the signal over that of the noise in what was released, mean of the last 16 closed rounds.'),
    wanted: z.array(Identifier).describe('Datasets of which a worker that asks now would get a lease.'),
    evaluation: z
      .strictObject({ round: z.int().describe('Closed rounds of the model.'), ...evaluationShape })
      .nullable()
      .describe('The newest on public data, as a worker says it.'),
    spent: z
      .array(
        z.strictObject({
          dataset: Identifier,
          epsilon: z.number(),
          charges: z.int(),
          reports: z.int(),
          bytes: z.int(),
          seconds: z.number(),
        }),
      )
      .describe(
        'By this run, from its log; bytes are those of accepted report bodies, seconds those from lease to report, all together.',
      ),
    stateHash: HexHash.nullable(),
    head: z.strictObject({ size: z.int(), hash: HexHash }),
    adapter: z.strictObject({ key: z.string(), sha256: HexHash, bytes: z.int(), url: z.string() }).nullable(),
  })
  .meta({ id: 'Run' })
export type Run = z.infer<typeof runSchema>
export const runSummarySchema = z
  .strictObject({ id: Identifier, state: runStateSchema, created: z.int() })
  .meta({ id: 'RunSummary' })

/** A page of a list; `next` is the cursor of the page after, or null. */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.strictObject({ items: z.array(item), next: z.string().nullable() })
}

const checkpointShape = {
  round: z.int().describe('First round not in it.'),
  size: z.int(),
  sha256: HexHash,
  url: z.string(),
}
export const checkpointSchema = z
  .strictObject({ ...checkpointShape, time: z.int().describe('Of its last record, milliseconds since 1970.') })
  .meta({ id: 'Checkpoint' })

/** Segments of the run's log, for catching up; each continues the one before. */
export const updatesSchema = z
  .strictObject({
    head: z.strictObject({ size: z.int(), hash: HexHash }),
    segments: z.array(z.strictObject({ first: z.int(), url: z.string() })).max(1000),
    checkpoint: z
      .strictObject(checkpointShape)
      .nullable()
      .describe('Newest stored trained state: a cache, named by its hash.'),
  })
  .meta({ id: 'Updates' })

export const segmentsSchema = z
  .strictObject({ items: z.array(z.strictObject({ first: z.int(), text: z.string() })) })
  .meta({ id: 'Segments', description: 'Each continues the one before.' })

// --- events ---
export const runEventSchema = z
  .discriminatedUnion('type', [
    z.strictObject({ type: z.literal('run.created'), seq: z.int(), time: z.int(), job: runJobSchema, rounds: z.int() }),
    z.strictObject({ type: z.literal('round.opened'), seq: z.int(), time: z.int(), round: z.int() }),
    z.strictObject({
      type: z.literal('round.closed'),
      seq: z.int(),
      time: z.int(),
      round: z.int(),
      privateLoss: z.number().nullable(),
      clippedShare: z.number().nullable(),
      signalToNoise: z.number().describe('Of what the round released; around 0 where there is nothing but noise.'),
      stateHash: HexHash,
      spent: z.record(Identifier, z.number()).describe('Epsilon by dataset, of this run.'),
    }),
    z.strictObject({
      type: z.literal('round.evaluated'),
      seq: z.int(),
      time: z.int(),
      round: z.int().describe('Closed rounds of the model.'),
      evaluation: evaluationSchema.nullable().describe('Null where no worker answered in its time.'),
    }),
    z.strictObject({
      type: z.literal('stage.masked'),
      seq: z.int(),
      time: z.int(),
      stage: z.int(),
      mask: HexHash,
    }),
    z.strictObject({ type: z.literal('lease.lost'), seq: z.int(), time: z.int(), round: z.int(), dataset: Identifier }),
    z.strictObject({ type: z.literal('run.paused'), seq: z.int(), time: z.int() }),
    z.strictObject({ type: z.literal('run.resumed'), seq: z.int(), time: z.int() }),
    z.strictObject({ type: z.literal('run.ended'), seq: z.int(), time: z.int(), state: runStateSchema }),
  ])
  .meta({ id: 'RunEvent' })
export type RunEvent = z.infer<typeof runEventSchema>
