import { z } from 'zod'
import { QUERIES_MAX } from '../zo/pruning/stream.ts'
import { clipPart, SCALE_MAX, scale } from './scalar.ts'
import { spaceSchema } from './space.ts'

export const noiseSchema = z.enum(['gaussian', 'laplace'])

export const pruneSchema = z
  .strictObject({
    score: z.enum(['forward', 'magnitude', 'random']).default('forward'),
    keep: z.number().gt(0).lte(1).describe('Share of the entries that the mask keeps.'),
    order: z.enum(['highest', 'lowest']).default('highest'),
    scope: z.enum(['global', 'layer']).default('global'),
    weighted: z.boolean().default(false).describe('Whether entries have factors by their rank.'),
    queries: z.int().min(1).max(QUERIES_MAX).default(1).describe('Of the forward score, as radius and tokens are.'),
    radius: scale.default(1e-3),
    tokens: z.int().min(1).max(8192).default(16),
  })
  .meta({ id: 'Prune', description: 'A mask made anew of the weights that a stage begins with.' })

const stageShape = {
  rounds: z.int().min(1).max(1_000_000),
  learningRate: scale,
  radius: scale,
  directions: z.int().min(1).max(4096),
  clip: scale,
  grid: scale,
  samplingRate: z.number().gte(1e-6).lte(1),
  prox: z.number().nonnegative().max(SCALE_MAX),
  lossShare: clipPart,
  lossBound: z.number().positive().max(1000),
  clipShare: clipPart
    .default(0)
    .describe('Share of the clip given to the share of clipped units, told beside the loss.'),
  momentum: z.number().gte(0).lt(1).default(0).describe('mu of heavy-ball momentum.'),
  average: z.boolean().default(false).describe('The stage ends at the mean of its iterates.'),
  normalise: z.boolean().default(false).describe('Coefficients of a round are divided by their root mean square.'),
  space: spaceSchema
    .optional()
    .describe('Where this stage trains, if elsewhere than the run: another rank, another mask.'),
  prune: pruneSchema
    .optional()
    .describe(
      'Of stages after the first, in a pruned space: a mask made anew by a worker when the stage before has ended.',
    ),
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
/** A stage as one asks for it. */
export type StageRequest = z.input<typeof stageRequestSchema>

const aggregationSchema = z
  .discriminatedUnion('rule', [
    z.strictObject({ rule: z.literal('mean') }),
    z.strictObject({ rule: z.literal('median') }),
    z.strictObject({ rule: z.literal('trimmed-mean'), trim: z.int().min(1).max(499) }),
  ])
  .meta({ id: 'Aggregation', description: 'How the reports of several datasets become one update.' })

/** How losses become a report, the same in all stages. */
export const methodShape = {
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
export function bounds(
  { clipping, noise }: MethodOf,
  { directions, lossShare, clipShare }: { directions: number; lossShare: number; clipShare: number },
) {
  if (noise === 'gaussian') return clipping !== 'joint-l1'
  return clipping !== 'joint' || (directions === 1 && lossShare + clipShare === 0)
}
