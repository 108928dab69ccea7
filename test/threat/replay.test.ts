import { describe, expect, it } from 'vitest'
import type { Report } from '../../shared/api/index.ts'
import { type Player, Theatre } from '../rehearsal/theatre.ts'

const SITES = ['a', 'b', 'c', 'd']
const stage = { rounds: 2, learningRate: 0.1, radius: 0.01, directions: 1, clip: 1, samplingRate: 0.1, lossShare: 0 }

/** Worker i reports 2^i: the sum says who counted, and how often. */
async function setUp() {
  const theatre = new Theatre()
  for (const id of SITES) await theatre.addDataset(id)
  await theatre.begin({ stages: [stage] })
  const players: Player[] = []
  for (const id of SITES) players.push(await theatre.player(`w-${id}`, id))
  return { theatre, players }
}

type Set = Awaited<ReturnType<typeof setUp>>

async function reportOf({ theatre, players }: Set, index: number): Promise<{ player: Player; report: Report }> {
  const player = players[index]!
  const lease = (await theatre.run.heldLease(player)) ?? (await theatre.run.takeLease(player))!
  const { signature: _, ...unsigned } = await theatre.roundReportFor(player, lease)
  return { player, report: await player.signer.sign({ ...unsigned, integers: [2 ** index] }) }
}

const send = async ({ theatre }: Set, { player, report }: { player: Player; report: Report }) =>
  await theatre.run.report(player, report.lease, report).then(
    () => 'stored',
    (error: { code: string }) => error.code,
  )

const sums = ({ theatre }: Set) =>
  theatre
    .log()
    .records.flatMap((record) =>
      record.type === 'close' ? [record.reports.reduce((sum, { integers }) => sum + integers[0]!, 0)] : [],
    )

describe('a report that comes again', () => {
  it.each(['warm', 'cold', 'half-warm'])('counts once, with %s memory of the coordinator', async (memory) => {
    const set = await setUp()
    const kept = await Promise.all(SITES.map((_, index) => reportOf(set, index)))
    for (const [index, each] of kept.entries()) {
      for (let copy = 0; copy < 3; copy++) {
        expect(await send(set, each)).toBe('stored')
        if (memory === 'cold' || (memory === 'half-warm' && copy === index % 3)) await set.theatre.restart()
      }
    }
    await set.theatre.run.resume()
    await set.theatre.run.idle()
    expect(sums(set)).toEqual([0b1111])
    // The round is closed; its reports get their first answer for as long as the run lives, and count for nothing more.
    for (const each of kept) expect(await send(set, each)).toBe('stored')
    for (let index = 0; index < SITES.length; index++) await send(set, await reportOf(set, index))
    await set.theatre.run.idle()
    expect(sums(set)).toEqual([0b1111, 0b1111])
    for (const each of kept) expect(await send(set, each)).toBe('stored')
    expect(sums(set)).toEqual([0b1111, 0b1111])
  })

  it('with other bytes is a conflict, before its round is closed and after', async () => {
    const set = await setUp()
    const first = await reportOf(set, 0)
    expect(await send(set, first)).toBe('stored')
    const { signature: _, ...unsigned } = first.report
    const other = await first.player.signer.sign({ ...unsigned, integers: [7] } as typeof unsigned)
    const changed = { player: first.player, report: other as Report }
    expect(await send(set, changed)).toBe('report_conflict')
    for (const index of [1, 2, 3]) await send(set, await reportOf(set, index))
    await set.theatre.run.idle()
    expect(await send(set, changed)).toBe('report_conflict')
    expect(sums(set)).toEqual([0b1111])
  })

  it('under the name of another worker, lease or run is nobody’s', async () => {
    const set = await setUp()
    const { player, report } = await reportOf(set, 0)
    expect(await send(set, { player: set.players[1]!, report })).toBe('bad_signature')
    const named = async (change: Partial<Report>) => {
      const { signature: _, ...unsigned } = report
      return { player, report: (await player.signer.sign({ ...unsigned, ...change } as typeof unsigned)) as Report }
    }
    const other = await reportOf(set, 1)
    expect(await send(set, await named({ lease: other.report.lease }))).toBe('not_found')
    expect(await send(set, await named({ run: 'run-other' }))).toBe('bad_report')
    expect(await send(set, await named({ dataset: 'b' }))).toBe('bad_report')
    expect(await send(set, await named({ round: 1 }))).toBe('bad_report')
  })
})
