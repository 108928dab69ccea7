import { z } from 'zod'
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
