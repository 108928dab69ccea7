import { z } from 'zod'
import { elementsOf, RANK_MAX, type Space, spaceDimension } from '../zo/space.ts'
import { HexHash, scale } from './scalar.ts'

/** Trained coordinates: half a gibibyte of float32 for each stage. */
export const DIMENSION_MAX = 2 ** 27

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
    mask: HexHash.describe('SHA-256 of the mask, which is one of the files of the model under masks/.'),
    weighted: z
      .boolean()
      .default(false)
      .describe(
        'Whether the mask has a factor for each entry, by which its perturbation is multiplied (rank-weighted).',
      ),
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

/** Coordinates of a report: each is a direction of the mechanism. */
const STATISTIC_MAX = 4096

export const statisticSpaceSchema = z
  .strictObject({
    kind: z.literal('statistic'),
    activation: z
      .string()
      .regex(/^layer\.\d{1,4}$/)
      .describe('layer.3: the sum that ends layer 3. "sotto model check" lists those of a model.'),
    size: z.int().min(1).max(STATISTIC_MAX).describe('Width of the activation.'),
    token: z.literal('last').default('last').describe('The last token of the completion.'),
  })
  .meta({
    id: 'StatisticSpace',
    description:
      'Nothing is trained: the mean over units of the difference that two completions of a prompt make to an activation (PSA).',
  })

/** A space as one asks for it. */
export type SpaceRequest = z.input<typeof spaceSchema>

/** What a run is about. */
export const runSpaceSchema = z
  .discriminatedUnion('kind', [loraSpaceSchema, fullSpaceSchema, prunedSpaceSchema, statisticSpaceSchema])
  .meta({ id: 'RunSpace' })

/** Names and shapes of what a space trains: of its sites or its tensors. */
export function outlineOf(space: Space): string {
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
