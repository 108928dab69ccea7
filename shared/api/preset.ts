import { z } from 'zod'
import type { Preset } from '../zo/presets.ts'
import { pruneSchema } from './method.ts'
import { clipPart, scale } from './scalar.ts'

const common = {
  samplingRate: z.number().gte(1e-6).lte(1).describe('q: expected batch over units.'),
  rounds: z.int().min(1).max(1_000_000).optional().describe('All stages together.'),
  learningRate: scale.optional().describe('Of the first stage.'),
  directions: z.int().min(1).max(4096).optional().describe('K'),
  clip: scale.optional(),
  lossShare: clipPart.optional(),
  lossBound: z.number().positive().max(1000).optional(),
  clipShare: clipPart.optional(),
}
const { learningRate: _, ...withoutRate } = common
const radius = scale.optional()

const staged = {
  ...common,
  stages: z.int().min(1).max(16).optional(),
  radius: z.strictObject({ start: scale, end: scale }).optional(),
  prox: z.number().nonnegative().max(1e6).optional(),
}
const share = z.number().gt(0).lte(1)
const remade = pruneSchema
  .extend({
    keep: z
      .union([share, z.strictObject({ start: share, end: share })])
      .describe('Of all remade masks; or of the first stage and the last, geometric between.'),
  })
  .describe('Masks of the stages after the first are made anew; left out, all stages train what one mask keeps.')

/** A published method, by its name and the numbers that differ from its defaults; the plan expands it to stages. */
export const presetSchema = z
  .discriminatedUnion('name', [
    z.strictObject({ name: z.literal('dp-zoso'), ...staged }),
    z
      .strictObject({ name: z.literal('dp-zopo'), ...staged, prune: remade.optional() })
      .describe('dp-zoso in a pruned space.'),
    z.strictObject({ name: z.literal('dpzero'), ...common, radius }),
    z.strictObject({ name: z.literal('dp-zo'), ...common, radius, noise: z.enum(['gaussian', 'laplace']).optional() }),
    z.strictObject({
      name: z.literal('dp-aggzo'),
      ...withoutRate,
      radius,
      step: scale.optional().describe('Learning rate times clip: the one knob that they are.'),
    }),
    z.strictObject({ name: z.literal('sotto'), ...common, radius }),
    z
      .strictObject({
        name: z.literal('psa'),
        samplingRate: common.samplingRate.default(1),
        clip: scale.optional(),
        clipShare: clipPart.optional(),
      })
      .describe('Private steering vectors: one round of a statistic.'),
  ])
  .meta({ id: 'Preset' }) satisfies z.ZodType<Preset>
