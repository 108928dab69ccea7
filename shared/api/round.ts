import { z } from 'zod'
import { evaluationShape } from './lease.ts'
import { stageSchema } from './method.ts'
import { HexHash, Identifier } from './scalar.ts'

const time = z.int().describe('Milliseconds since 1970.')

export const stageProgressSchema = z
  .strictObject({
    stage: z.int(),
    first: z.int().describe('Its first round.'),
    closed: z.int().describe('Its closed rounds.'),
    state: z.enum(['waiting', 'running', 'closed', 'abandoned']),
    settings: stageSchema,
  })
  .meta({ id: 'StageProgress' })
export type StageProgress = z.infer<typeof stageProgressSchema>

const shape = {
  round: z.int(),
  stage: z.int(),
  state: z.enum(['open', 'closed', 'abandoned']).describe('abandoned: the run ended before it closed.'),
  opened: time,
  closed: time.nullable(),
  reports: z.int().describe('Accepted, of as many datasets.'),
  lost: z.int().describe('Leases that nobody answered for.'),
  privateLoss: z.number().nullable(),
  clippedShare: z.number().nullable(),
  signalToNoise: z.number().nullable(),
  stateHash: HexHash.nullable().describe('Of the trained state after it.'),
}
export const roundSchema = z.strictObject(shape).meta({ id: 'Round' })
export type Round = z.infer<typeof roundSchema>
export const roundDetailSchema = z
  .strictObject({
    ...shape,
    leases: z
      .array(
        z.strictObject({
          lease: Identifier,
          dataset: Identifier,
          attempt: z.int(),
          state: z.enum(['waiting', 'reported', 'lost']).describe('Each is charged.'),
          worker: Identifier.nullable().describe('Who reported.'),
        }),
      )
      .describe('In order of their charges.'),
  })
  .meta({ id: 'RoundDetail' })
export type RoundDetail = z.infer<typeof roundDetailSchema>

const column = <T extends z.ZodType>(item: T, what: string) => z.array(item).describe(what)

export const curvesSchema = z
  .strictObject({
    first: z.int().describe('The round of the first entry of each column.'),
    next: z.int().nullable().describe('`after` of the next page, or null where no more rounds are closed.'),
    closed: column(time, 'When the round closed.'),
    reports: column(z.int(), 'Accepted reports.'),
    lost: column(z.int(), 'Leases that nobody answered for.'),
    recharged: z
      .array(z.strictObject({ round: z.int(), dataset: Identifier }))
      .describe(
        'Charges beyond the one that each dataset has in each opened round, the open one included: of leases issued again.',
      ),
    privateLoss: column(z.number().nullable(), 'Private mean loss in nats, with its noise.'),
    lossDeviation: column(
      z.number().nullable(),
      'Standard deviation of that noise; null where no loss is told, or reports are not averaged.',
    ),
    clippedShare: column(z.number().nullable(), 'Noised share of clipped units.'),
    signalToNoise: column(z.number(), 'Power of signal over power of noise.'),
    evaluations: z
      .array(z.strictObject({ round: z.int().describe('Closed rounds of the model.'), ...evaluationShape }))
      .describe('On public data, among these rounds.'),
  })
  .meta({ id: 'Curves', description: 'Closed rounds of a run in columns, to be drawn.' })
export type Curves = z.infer<typeof curvesSchema>

export const reportMetadataSchema = z
  .strictObject({
    lease: Identifier,
    round: z.int(),
    dataset: Identifier,
    worker: Identifier,
    bytes: z.int().describe('Length of its body.'),
    taken: time.nullable().describe('When the lease was handed out.'),
    received: time.nullable(),
  })
  .meta({
    id: 'ReportMetadata',
    description: 'What is known of an accepted report, but for what it released: that is in the log.',
  })
export type ReportMetadata = z.infer<typeof reportMetadataSchema>
