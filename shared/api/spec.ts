import { z } from 'zod'
import { keptInAll } from '../zo/pruning/keep.ts'
import { type Stage, totalRounds } from '../zo/schedule.ts'
import type { RunSpace, Space } from '../zo/space.ts'
import { fewestReports } from '../zo/update.ts'
import { bounds, methodShape, noiseSchema, stageSchema } from './method.ts'
import { HexHash, Identifier, Seed } from './scalar.ts'
import { DIMENSION_MAX, outlineOf, runSpaceSchema } from './space.ts'
import { taskSchema } from './task.ts'

/** Format of the spec: another number where an old one would be read as something else. */
export const SPEC_VERSION = 5
/** A larger delta allows to publish one unit in a hundred as it is: no privacy. */
const DELTA_MAX = 0.01

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

export const countSchema = z
  .strictObject({
    noiseMultiplier: z.number().min(0.1).max(1e6).describe('Standard deviation of the Gaussian noise, in units.'),
  })
  .describe(
    'Where the units are a private count ("sotto dataset count"): it is charged when the dataset is registered.',
  )

export const cosignaturesSchema = z
  .int()
  .min(1)
  .max(16)
  .describe(
    'Witnesses that must have cosigned the log before a worker reads its data. Left out: those that a site asks for.',
  )

/** What loss and clipped units may take of the clip together. */
const SHARES_MAX = 0.99

interface Trained {
  readonly space: RunSpace
  readonly stages: readonly { readonly space?: Space | undefined }[]
}

/** Stages may differ in rank, mask and directions, not in the tensors that they train. */
const trainAlike = ({ space, stages }: Trained): boolean =>
  stages.every(
    (stage) => stage.space === undefined || (space.kind !== 'statistic' && outlineOf(stage.space) === outlineOf(space)),
  )

/** New masks are of stages after the first, keep what memory holds, and stand in the place of a space. */
const remakeable = ({ space, stages }: Pick<MaybeStatistic, 'space' | 'stages'>): boolean =>
  stages.every(({ prune, space: own }, index) => {
    if (!prune) return true
    const fits = space.kind === 'pruned' && keptInAll(space.tensors, prune) <= DIMENSION_MAX
    return index > 0 && own === undefined && fits
  })

interface MaybeStatistic {
  readonly space: RunSpace
  readonly task: { readonly kind: string }
  readonly clipping: string
  readonly stages: readonly Stage[]
  readonly evaluation: unknown
}

/**
 * A statistic is one round in which each coordinate is a direction; a preset, or the plan, sets what only training has to these
 * values, so that nothing in a spec seems to do what it does not.
 */
function isWholeStatistic({ space, task, clipping, stages, evaluation }: MaybeStatistic): boolean {
  if (space.kind !== 'statistic') return task.kind !== 'preference-pairs'
  const [stage] = stages
  const isOneRound = stages.length === 1 && stage?.rounds === 1 && stage.directions === space.size
  const isPlain =
    stage?.learningRate === 1 && stage.radius === 1 && stage.prox === 0 && stage.lossShare === 0 && !stage.normalise
  const isAlone = !stage?.momentum && !stage?.average && evaluation === null && clipping !== 'per-direction'
  return task.kind === 'preference-pairs' && isOneRound && isPlain && isAlone
}

export const evaluationSettingsSchema = z
  .strictObject({
    data: HexHash.describe(
      'SHA-256 of a JSONL file, which is one of the files of the model under evaluation/. Public.',
    ),
    every: z
      .int()
      .min(1)
      .max(1_000_000)
      .describe('Closed rounds between two evaluations; one is at the start, one at the end.'),
  })
  .meta({
    id: 'EvaluationSettings',
    description: 'Evaluation on public data by a worker, for which the run waits. No privacy is spent.',
  })

/** Everything a run does, explicit; its hash is the run's identity, and a worker accepts work for no other. */
export const runSpecSchema = z
  .strictObject({
    version: z.literal(SPEC_VERSION),
    model: HexHash.describe('Hash of the model manifest.'),
    task: taskSchema,
    space: runSpaceSchema,
    ...methodShape,
    stages: z.array(stageSchema).min(1).max(64),
    datasets: z
      .array(
        z.strictObject({
          id: Identifier,
          units: z.int().positive(),
          unit: z.enum(['record', 'user']),
          mostUnits: z
            .int()
            .positive()
            .optional()
            .describe('Where the units are a count with noise: what their number is below, whatever the noise was.'),
        }),
      )
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
    cosignatures: cosignaturesSchema.optional(),
    deadlineSeconds: z.number().positive(),
    leaseSeconds: z.number().positive(),
    evaluation: evaluationSettingsSchema.nullable(),
    seed: Seed,
  })
  .refine((spec) => new Set(spec.datasets.map((d) => d.id)).size === spec.datasets.length, 'a dataset is named twice')
  .refine((spec) => spec.quorum <= spec.datasets.length, 'the quorum exceeds the datasets')
  .refine((spec) => spec.stages.every((stage) => bounds(spec, stage)), {
    path: ['clipping'],
    message:
      'a clip that does not bound the norm of the noise: Gaussian noise wants joint or per-direction, Laplace joint-l1 or per-direction',
  })
  .refine((spec) => spec.stages.every(({ lossShare, clipShare }) => lossShare + clipShare <= SHARES_MAX), {
    path: ['stages', 'clipShare'],
    message: 'the shares of loss and clipped units leave the differences nothing',
  })
  .refine((spec) => spec.quorum >= fewestReports(spec.aggregation), {
    path: ['aggregation'],
    message: 'the rule needs more datasets than the quorum',
  })
  .refine(remakeable, {
    path: ['stages', 'prune'],
    message: 'a mask is made anew for stages after the first of a pruned space, in the place of a space of their own',
  })
  .refine(isWholeStatistic, {
    path: ['space', 'kind'],
    message:
      'a statistic has the task preference-pairs, and no other run has it; it is one round of as many directions as its size, clipped jointly, and trains and evaluates nothing: preset psa',
  })
  .refine(trainAlike, { path: ['stages', 'space'], message: 'stages train the same tensors' })
  .meta({ id: 'RunSpec' })
export type RunSpec = z.infer<typeof runSpecSchema>
/** What a run is for. */
export const jobOf = ({ space }: Pick<RunSpec, 'space'>) =>
  space.kind === 'statistic' ? ('statistic' as const) : ('training' as const)
/** Whether a run evaluates its model after so many closed rounds. */
export function isEvaluated({ evaluation, stages }: Pick<RunSpec, 'evaluation' | 'stages'>, closed: number): boolean {
  return evaluation !== null && (closed % evaluation.every === 0 || closed === totalRounds(stages))
}
/** How losses become a report. */
export type Method = Pick<RunSpec, 'clipping' | 'noise' | 'sides'>
/** How a unit's vector is bounded: by which clip, and in the norm that the noise of this mechanism hides. */
export function unitBoundOf({ clipping, noise }: Pick<RunSpec, 'clipping' | 'noise'>) {
  return { mechanism: noise, clipping: clipping === 'per-direction' ? clipping : ('joint' as const) }
}
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
