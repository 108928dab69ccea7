import { describe, expect, it } from 'vitest'
import { reportSchema } from '../../shared/api/index.ts'
import { epsilonBounds } from '../../shared/privacy/index.ts'
import { auditLog } from '../rehearsal/audit.ts'
import { type Player, Theatre } from '../rehearsal/theatre.ts'

const stage = { rounds: 1, learningRate: 0.1, radius: 0.01, directions: 3, clip: 1, samplingRate: 0.1, lossShare: 0 }
const SITES = ['a', 'b', 'c', 'd', 'e']

async function setUp(aggregation: { rule: 'median' } | { rule: 'trimmed-mean'; trim: number }) {
  const theatre = new Theatre()
  for (const id of SITES) await theatre.addDataset(id)
  await theatre.begin({ stages: [stage], aggregation })
  const players = new Map<string, Player>()
  for (const id of SITES) players.set(id, await theatre.player(`w-${id}`, id))
  return { theatre, players }
}

/** Works the round off: those named report what they are given, the others small numbers. */
async function coefficientsWith(
  aggregation: Parameters<typeof setUp>[0],
  extremes: ReadonlyMap<string, (reach: number) => number[]>,
) {
  const { theatre, players } = await setUp(aggregation)
  const { grid, clip } = (await theatre.run.describe())!.spec.stages[0]!
  // Every unit of a dataset at its clip: what an honest report can reach but for its noise.
  const reach = 1000 * Math.ceil(clip / grid)
  for (const [index, id] of SITES.entries()) {
    const player = players.get(id)!
    const lease = (await theatre.run.takeLease(player))!
    const { signature: _, ...report } = await theatre.roundReportFor(player, lease)
    const integers = extremes.get(id)?.(reach) ?? report.integers.map((n) => n * (index + 1))
    await theatre.run.report(player, lease.id, await player.signer.sign({ ...report, integers }))
    await theatre.run.idle()
  }
  const { records } = theatre.log()
  const close = records.find((record) => record.type === 'close')!
  return { theatre, coefficients: close.coefficients, records }
}

describe('a worker that reports what it likes', () => {
  it('is refused numbers that no data lead to, and is asked again', async () => {
    const { theatre, players } = await setUp({ rule: 'median' })
    const player = players.get('a')!
    const lease = (await theatre.run.takeLease(player))!
    const { signature: _, ...report } = await theatre.roundReportFor(player, lease)
    const bad: number[][] = [
      [2 ** 42, 0, 0],
      [0, -(2 ** 42), 0],
      [0, 0],
      [0, 0, 0, 0],
    ]
    for (const integers of bad) {
      const sent = await player.signer.sign({ ...report, integers })
      await expect(theatre.run.report(player, lease.id, sent)).rejects.toMatchObject({ code: 'bad_report' })
    }
    const signed = await player.signer.sign(report)
    expect(reportSchema.safeParse(signed).success).toBe(true)
    for (const odd of [Number.NaN, Number.POSITIVE_INFINITY, 0.5, 2 ** 53, Number.MAX_SAFE_INTEGER, '1'])
      expect(reportSchema.safeParse({ ...signed, integers: [odd, 0, 0] }).success, String(odd)).toBe(false)
    await theatre.run.report(player, lease.id, signed)
    expect(theatre.types()).not.toContain('close')
  })

  it.each([
    [{ rule: 'median' as const }, 2],
    [{ rule: 'trimmed-mean' as const, trim: 2 }, 2],
  ])('moves no coefficient beyond those of honest ones, %o, %i of five at most', async (aggregation, liars) => {
    const honest = SITES.slice(liars)
    const quiet = await coefficientsWith(aggregation, new Map())
    const estimates = quiet.records.flatMap((record) => (record.type === 'close' ? record.reports : []))
    const { grid, samplingRate } = (await quiet.theatre.run.describe())!.spec.stages[0]!
    for (const sign of [1, -1]) {
      const extremes = new Map(
        SITES.slice(0, liars).map((id) => [id, (reach: number) => [sign * reach, 0, -sign * reach]]),
      )
      const { coefficients } = await coefficientsWith(aggregation, extremes)
      for (const [k, coefficient] of coefficients.entries()) {
        const own = estimates
          .filter(({ dataset }) => honest.includes(dataset))
          .map(({ integers }) => (grid * integers[k]!) / (samplingRate * 1000))
        expect(coefficient).toBeGreaterThanOrEqual(Math.min(0, ...own))
        expect(coefficient).toBeLessThanOrEqual(Math.max(0, ...own))
      }
    }
  })

  it("costs others nothing: each dataset's own noise is all that its epsilon counts on", async () => {
    const { records, theatre } = await coefficientsWith(
      { rule: 'median' },
      new Map([['a', (reach) => [reach, reach, reach]]]),
    )
    const { spec } = (await theatre.run.describe())!
    const alone = [{ event: { mechanism: spec.noise, ...eventOf(spec.stages[0]!) }, count: 1 }]
    const { epsilon } = epsilonBounds(alone, spec.budget.delta)
    for (const id of SITES) expect(auditLog(records).epsilon[id]).toBe(epsilon)
  })
})

const eventOf = ({ noiseMultiplier, samplingRate }: { noiseMultiplier: number; samplingRate: number }) => ({
  noiseMultiplier,
  samplingRate,
  neighbours: 'add-remove' as const,
})
