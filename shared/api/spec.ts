import { z } from 'zod'
import { elementsOf, RANK_MAX, type Space, spaceDimension } from '../zo/space.ts'
import { fewestReports } from '../zo/update.ts'

/** SHA-256 in lower-case hexadecimal. */
export const HexHash = z.string().regex(/^[0-9a-f]{64}$/)
/** Name of a dataset, run, worker, token or lease. */
export const Identifier = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/)
/** Public seed of a run: 64 bits in hexadecimal. */
export const Seed = z.string().regex(/^[0-9a-f]{16}$/)

/** No sensible scale of a run is larger: what is computed from them stays far from overflow. */
const SCALE_MAX = 1e6
const scale = z.number().positive().max(SCALE_MAX)
/** Trained coordinates: half a gibibyte of float32 for each stage. */
const DIMENSION_MAX = 2 ** 27
/** A larger delta allows to publish one unit in a hundred as it is: no privacy. */
const DELTA_MAX = 0.01

const noiseSchema = z.enum(['gaussian', 'laplace'])

export const mechanismEventSchema = z
  .strictObject({
    mechanism: noiseSchema,
    noiseMultiplier: z
      .number()
      .positive()
      .describe('Gaussian: standard deviation / L2 sensitivity. Laplace: scale / L1 sensitivity.'),
    samplingRate: z.number().gt(0).lte(1).describe('Poisson probability of each unit.'),
    neighbours: z.literal('add-remove'),
  })
  .meta({ id: 'MechanismEvent', description: 'One release of the Poisson-subsampled Gaussian or Laplace mechanism.' })

export const budgetSchema = z
  .strictObject({ epsilon: z.number().positive().max(1000), delta: z.number().gt(0).max(DELTA_MAX) })
  .meta({ id: 'Budget' })

const loraSiteSchema = z.strictObject({
  name: z.string().min(1).max(200),
  inputs: z
    .int()
    .positive()
    .max(1 << 20),
  outputs: z
    .int()
    .positive()
    .max(1 << 22),
  scale,
})

/** Tensors or sites of a space: more than the largest models have. */
const SEGMENTS_MAX = 2000
const rank = z.int().min(1).max(RANK_MAX)
const namedOnce = (named: readonly { name: string }[]) => new Set(named.map(({ name }) => name)).size === named.length
const fits = (space: Space) => spaceDimension(space) <= DIMENSION_MAX
const TOO_MANY = 'too many trained coordinates'

const distribution = z
  .enum(['rademacher', 'binomial', 'sphere'])
  .default('rademacher')
  .describe(
    'Entries of a direction: signs; centred Binomial(32), near to a Gaussian; the same on the sphere of radius sqrt(d).',
  )

export const loraSpaceSchema = z
  .strictObject({
    kind: z.literal('lora'),
    distribution,
    rank,
    trained: z
      .enum(['factor', 'core'])
      .default('factor')
      .describe(
        'factor: A of A V, V seeded signs. core: R of U R V, U and V singular bases of the base weight (LoRA-XS).',
      ),
    bases: z
      .enum(['singular', 'seeded'])
      .default('singular')
      .describe('Of a core. singular: of the base weight. seeded: another pair for each stage (SubZero).'),
    sites: z.array(loraSiteSchema).min(1).max(SEGMENTS_MAX),
  })
  .refine((space) => namedOnce(space.sites), 'two sites share a name')
  .refine(
    ({ trained, rank, sites }) =>
      trained === 'factor' || sites.every(({ inputs, outputs }) => rank <= Math.min(inputs, outputs)),
    'a core is no larger than its weight',
  )
  .refine(fits, TOO_MANY)
  .meta({ id: 'LoraSpace', description: 'W + scale * A V or W + scale * U R V at each site; A or R is trained.' })

const weightTensorSchema = z.strictObject({
  name: z.string().min(1).max(200),
  shape: z.array(z.int().positive().max(DIMENSION_MAX)).max(8),
})

export const fullSpaceSchema = z
  .strictObject({
    kind: z.literal('full'),
    distribution,
    directions: z
      .discriminatedUnion('kind', [
        z.strictObject({ kind: z.literal('dense') }),
        z.strictObject({ kind: z.literal('low-rank'), rank }),
      ])
      .describe('dense: a sign for each entry. low-rank: U V of seeded signs over sqrt(rank), for each tensor.'),
    tensors: z.array(weightTensorSchema).min(1).max(SEGMENTS_MAX),
  })
  .refine((space) => namedOnce(space.tensors), 'two tensors share a name')
  .refine(fits, TOO_MANY)
  .refine(
    ({ directions, distribution }) => directions.kind === 'dense' || distribution === 'rademacher',
    'directions of low rank are products of signs',
  )
  .meta({ id: 'FullSpace', description: 'Whole weight tensors; the difference from the base is trained.' })

export const prunedSpaceSchema = z
  .strictObject({
    kind: z.literal('pruned'),
    distribution,
    tensors: z
      .array(weightTensorSchema.extend({ kept: z.int().nonnegative().max(DIMENSION_MAX) }))
      .min(1)
      .max(SEGMENTS_MAX),
    mask: HexHash.describe('SHA-256 of the bitset, which is one of the files of the model under masks/.'),
  })
  .refine((space) => namedOnce(space.tensors), 'two tensors share a name')
  .refine((space) => space.tensors.every((tensor) => tensor.kept <= elementsOf(tensor)), 'kept: more than there is')
  .refine((space) => spaceDimension(space) > 0, 'kept: a mask that keeps nothing')
  .refine(fits, TOO_MANY)
  .meta({
    id: 'PrunedSpace',
    description: 'Chosen entries of weight tensors; the difference from the base is trained.',
  })

export const spaceSchema = z
  .discriminatedUnion('kind', [loraSpaceSchema, fullSpaceSchema, prunedSpaceSchema])
  .meta({ id: 'Space' })

/** `__proto__` is no key of a record: zod would drop it in silence, and the spec would be another than the one asked for. */
function refuseProto(labels: unknown, context: z.RefinementCtx): unknown {
  if (typeof labels === 'object' && labels !== null && Object.hasOwn(labels, '__proto__')) {
    context.addIssue({ code: 'custom', message: '__proto__ is no label' })
  }
  return labels
}

/** A record from a label in the data to what the model answers for it. */
const labelsTo = <Value extends z.ZodType<string | number>>(value: Value) =>
  z.preprocess(
    refuseProto,
    z
      .record(z.string().min(1).max(100), value)
      .refine((labels) => Object.keys(labels).length >= 2, 'at least two labels'),
  )

const lengthsShape = {
  maxTokens: z.int().min(8).max(8192).describe('What is longer is cut: special tokens, template and end token stay.'),
  buckets: z
    .array(z.int().positive())
    .min(1)
    .max(16)
    .describe(
      'Fixed lengths, ascending, the last equal to maxTokens; a record is padded to the smallest that holds it.',
    ),
}
const bucketsAscend = (task: { maxTokens: number; buckets: number[] }): boolean =>
  task.buckets.at(-1) === task.maxTokens && task.buckets.every((b, i, all) => i === 0 || b > (all[i - 1] ?? 0))
const ASCEND = 'buckets ascend and end at maxTokens'

export const promptClassificationSchema = z
  .strictObject({
    kind: z.literal('prompt-classification'),
    template: z
      .string()
      .max(2000)
      .refine(
        (t) => t.split('{text}').length === 2 && t.split('{mask}').length === 2,
        'holds {text} once and {mask} once',
      )
      .describe('Holds {text} and {mask} once each; special tokens are added by the tokenizer.'),
    labels: labelsTo(z.string().min(1).max(100)).describe('Label in the data -> label word, one token of the model.'),
    ...lengthsShape,
  })
  .refine(bucketsAscend, ASCEND)
  .meta({ id: 'PromptClassification', description: 'Lines {text, label}: which label word stands at the mask.' })

export const sequenceClassificationSchema = z
  .strictObject({
    kind: z.literal('sequence-classification'),
    labels: labelsTo(z.int().nonnegative().max(65_535))
      .refine(
        (labels) => new Set(Object.values(labels)).size === Object.keys(labels).length,
        'two labels are one class',
      )
      .describe("Label in the data -> class of the model's head, counted from 0."),
    ...lengthsShape,
  })
  .refine(bucketsAscend, ASCEND)
  .meta({ id: 'SequenceClassification', description: 'Lines {text, label}: which class the head of the model says.' })

const causalShape = {
  kind: z.literal('causal-lm'),
  ...lengthsShape,
  maxCompletionTokens: z
    .int()
    .positive()
    .max(8191)
    .describe('A completion is cut here, at its end; a prompt is cut at its beginning to what room is left.'),
}
const leavesRoom = (task: { maxTokens: number; maxCompletionTokens: number }): boolean =>
  task.maxCompletionTokens < task.maxTokens
const ROOM = 'maxCompletionTokens leaves no room for a prompt within maxTokens'

export const completionLmSchema = z
  .strictObject({
    ...causalShape,
    format: z.literal('completion'),
    appendEnd: z.boolean().default(true).describe("The model's end token is the last one of each completion."),
  })
  .refine(bucketsAscend, ASCEND)
  .refine(leavesRoom, ROOM)
  .meta({
    id: 'CompletionLm',
    description: 'Lines {prompt, completion}: the mean loss of the tokens of the completion.',
  })

export const messagesLmSchema = z
  .strictObject({ ...causalShape, format: z.literal('messages') })
  .refine(bucketsAscend, ASCEND)
  .refine(leavesRoom, ROOM)
  .meta({
    id: 'MessagesLm',
    description: "Lines {messages}: the mean loss of the assistant's last message, in the model's chat template.",
  })

export const taskSchema = z
  .discriminatedUnion('kind', [
    promptClassificationSchema,
    sequenceClassificationSchema,
    z.discriminatedUnion('format', [completionLmSchema, messagesLmSchema]),
  ])
  .meta({ id: 'Task', description: 'What a record is, and what its loss is.' })

const stageShape = {
  rounds: z.int().min(1).max(1_000_000),
  learningRate: scale,
  radius: scale,
  directions: z.int().min(1).max(4096),
  clip: scale,
  grid: scale,
  samplingRate: z.number().gte(1e-6).lte(1),
  prox: z.number().nonnegative().max(SCALE_MAX),
  lossShare: z.union([z.literal(0), z.number().min(0.01).max(0.99)]),
  lossBound: z.number().positive().max(1000),
  momentum: z.number().gte(0).lt(1).default(0).describe('mu of heavy-ball momentum.'),
  average: z.boolean().default(false).describe('The stage ends at the mean of its iterates.'),
  normalise: z.boolean().default(false).describe('Coefficients of a round are divided by their root mean square.'),
  space: spaceSchema
    .optional()
    .describe('Where this stage trains, if elsewhere than the run: another rank, another mask.'),
}
export const stageSchema = z.strictObject({ ...stageShape, noiseMultiplier: scale }).meta({ id: 'Stage' })
/** A stage as one asks for it: defaults filled, noise left to the plan. */
export const stageRequestSchema = z
  .strictObject({
    ...stageShape,
    grid: stageShape.grid.optional().describe('Default: clip / 2^20.'),
    prox: stageShape.prox.default(0),
    lossShare: stageShape.lossShare.default(0.2),
    lossBound: stageShape.lossBound.default(2),
    noiseMultiplier: scale.optional().describe('Left out: the smallest that meets the budget.'),
    noiseRatio: z
      .number()
      .min(0.01)
      .max(100)
      .optional()
      .describe(
        "Where the noise is left out: this stage's noise as a multiple of the common one. Less noise, more budget.",
      ),
  })
  .meta({ id: 'StageRequest' })

const aggregationSchema = z
  .discriminatedUnion('rule', [
    z.strictObject({ rule: z.literal('mean') }),
    z.strictObject({ rule: z.literal('median') }),
    z.strictObject({ rule: z.literal('trimmed-mean'), trim: z.int().min(1).max(499) }),
  ])
  .meta({ id: 'Aggregation', description: 'How the reports of several datasets become one update.' })

/** How losses become a report, the same in all stages. */
const methodShape = {
  clipping: z
    .enum(['joint', 'joint-l1', 'per-direction'])
    .default('joint')
    .describe(
      "joint: a unit's K differences have an L2 norm of at most the clip (DP-AggZO). joint-l1: an L1 norm, for Laplace noise. per-direction: each is at most the clip (DP-ZOSO, DPZero, DP-ZO).",
    ),
  noise: noiseSchema.default('gaussian'),
  sides: z
    .enum(['two', 'one'])
    .default('two')
    .describe(
      'two: losses at theta + phi z and theta - phi z. one: at theta + phi z, and at theta once for all directions.',
    ),
  aggregation: aggregationSchema.default({ rule: 'mean' }),
}

interface MethodOf {
  readonly clipping: 'joint' | 'joint-l1' | 'per-direction'
  readonly noise: 'gaussian' | 'laplace'
}

/** Whether a clip bounds the norm that the noise is scaled to. */
function bounds({ clipping, noise }: MethodOf, { directions, lossShare }: { directions: number; lossShare: number }) {
  if (noise === 'gaussian') return clipping !== 'joint-l1'
  return clipping !== 'joint' || (directions === 1 && lossShare === 0)
}

interface Trained {
  readonly space: Space
  readonly stages: readonly { readonly space?: Space | undefined }[]
}

/** Names and shapes of what a space trains: of its sites or its tensors. */
function outlineOf(space: Space): string {
  const parts =
    space.kind === 'lora'
      ? [
          space.trained,
          space.bases,
          ...space.sites.map(({ name, inputs, outputs, scale: factor }) => [name, inputs, outputs, factor]),
        ]
      : space.tensors.map(({ name, shape }) => [name, shape])
  return JSON.stringify([space.kind, parts])
}

/** Stages may differ in rank, mask and directions, not in the tensors that they train. */
const trainAlike = ({ space, stages }: Trained): boolean =>
  stages.every((stage) => stage.space === undefined || outlineOf(stage.space) === outlineOf(space))

/** A stage as one asks for it. */
export type StageRequest = z.input<typeof stageRequestSchema>

/** Everything a run does, explicit; its hash is the run's identity, and a worker accepts work for no other. */
export const runSpecSchema = z
  .strictObject({
    version: z.literal(2),
    model: HexHash.describe('Hash of the model manifest.'),
    task: taskSchema,
    space: spaceSchema,
    ...methodShape,
    stages: z.array(stageSchema).min(1).max(64),
    datasets: z
      .array(z.strictObject({ id: Identifier, units: z.int().positive(), unit: z.enum(['record', 'user']) }))
      .min(1)
      .max(1000),
    neighbours: z.literal('add-remove'),
    trust: z.literal('local'),
    budget: budgetSchema.describe('What this run may spend of each dataset.'),
    spareCharges: z
      .int()
      .nonnegative()
      .describe('Charges beyond one a round that the noise leaves room for: lost leases.'),
    quorum: z.int().positive().describe('Reports that let a round close at its deadline.'),
    deadlineSeconds: z.number().positive(),
    leaseSeconds: z.number().positive(),
    seed: Seed,
  })
  .refine((spec) => new Set(spec.datasets.map((d) => d.id)).size === spec.datasets.length, 'a dataset is named twice')
  .refine((spec) => spec.quorum <= spec.datasets.length, 'the quorum exceeds the datasets')
  .refine((spec) => spec.stages.every((stage) => bounds(spec, stage)), {
    path: ['clipping'],
    message:
      'a clip that does not bound the norm of the noise: Gaussian noise wants joint or per-direction, Laplace joint-l1 or per-direction',
  })
  .refine((spec) => spec.quorum >= fewestReports(spec.aggregation), {
    path: ['aggregation'],
    message: 'the rule needs more datasets than the quorum',
  })
  .refine(trainAlike, { path: ['stages', 'space'], message: 'stages train the same tensors' })
  .meta({ id: 'RunSpec' })
export type RunSpec = z.infer<typeof runSpecSchema>
/** How losses become a report. */
export type Method = Pick<RunSpec, 'clipping' | 'noise' | 'sides'>
/** How a unit's vector is bounded: by which clip, and in the norm that the noise of this mechanism hides. */
export function unitBoundOf({ clipping, noise }: Pick<RunSpec, 'clipping' | 'noise'>) {
  return { mechanism: noise, clipping: clipping === 'per-direction' ? clipping : ('joint' as const) }
}
/** The same as one asks for it. */
export const methodRequestShape = methodShape
/** What a lease charges: one release of a stage's mechanism. */
export type ChargedEvent = z.infer<typeof mechanismEventSchema>
type ChargedStage = Pick<z.infer<typeof stageSchema>, 'noiseMultiplier' | 'samplingRate' | 'rounds'>
/** The event that each round of a stage charges to every dataset. */
export function stageEvent({ noise }: Pick<RunSpec, 'noise'>, stage: Omit<ChargedStage, 'rounds'>): ChargedEvent {
  const { noiseMultiplier, samplingRate } = stage
  return { mechanism: noise, noiseMultiplier, samplingRate, neighbours: 'add-remove' }
}
/** The charges of a run that loses no lease: its schedule, fixed before any data are seen. */
export function scheduleOf(spec: Pick<RunSpec, 'stages' | 'noise'>): { event: ChargedEvent; count: number }[] {
  return spec.stages.map((stage) => ({ event: stageEvent(spec, stage), count: stage.rounds }))
}
/** Spare charges of a mechanism are at least so many, where a run has so many: one lost lease must not end a stage. */
const SPARES_LEAST = 4
/**
 * The most that a run may ever charge: its schedule, and the spare charges shared out among its distinct mechanisms by their
 * rounds, rounded up. Fixed by the spec, so that nobody can steer it by what was released.
 */
export function envelopeOf(spec: Pick<RunSpec, 'spareCharges' | 'noise'> & { stages: readonly ChargedStage[] }) {
  const rounds = spec.stages.reduce((sum, stage) => sum + stage.rounds, 0)
  const mechanisms = new Map<string, { event: ChargedEvent; count: number }>()
  for (const stage of spec.stages) {
    const key = `${stage.noiseMultiplier} ${stage.samplingRate}`
    const count = stage.rounds + (mechanisms.get(key)?.count ?? 0)
    mechanisms.set(key, { event: stageEvent(spec, stage), count })
  }
  const spares = (count: number) =>
    Math.min(spec.spareCharges, Math.max(SPARES_LEAST, Math.ceil((spec.spareCharges * count) / rounds)))
  return [...mechanisms.values()].map(({ event, count }) => ({ event, count: count + spares(count) }))
}
export type Task = z.infer<typeof taskSchema>
export type PromptClassification = z.infer<typeof promptClassificationSchema>
export type SequenceClassification = z.infer<typeof sequenceClassificationSchema>
/** Causal language modelling, by the form of the lines. */
export type CausalLm = z.infer<typeof completionLmSchema> | z.infer<typeof messagesLmSchema>
