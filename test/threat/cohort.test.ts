import { describe, expect, it } from 'vitest'
import { Theatre } from '../rehearsal/theatre.ts'

const stage = { rounds: 2, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 }
const SITES = ['a', 'b', 'c']

async function setUp(quorum: number) {
  const theatre = new Theatre()
  for (const id of SITES) await theatre.addDataset(id)
  await theatre.begin({ stages: [stage], quorum, deadlineSeconds: 60, leaseSeconds: 3600 })
  const players = await Promise.all(SITES.map((id) => theatre.player(`w-${id}`, id)))
  return { theatre, players }
}
const closes = (theatre: Theatre) => theatre.log().records.filter((record) => record.type === 'close')

describe('a round', () => {
  it('is not closed by one dataset less than its quorum, however long that takes', async () => {
    const { theatre, players } = await setUp(3)
    for (const player of players.slice(0, 2)) await theatre.play(player)
    await theatre.advance(24 * 3600_000)
    theatre.run.alarm()
    await theatre.run.idle()
    expect(closes(theatre)).toHaveLength(0)
    // The lease is long lost; a new one, with a charge of its own, makes the quorum full.
    await theatre.play(players[2]!)
    expect(closes(theatre).map(({ reports }) => reports.length)).toEqual([3])
  })

  it('is released once: who comes after the deadline is told that it is closed, and makes no second sum', async () => {
    const { theatre, players } = await setUp(2)
    const late = (await theatre.run.takeLease(players[2]!))!
    const report = await theatre.reportFor(players[2]!, late)
    for (const player of players.slice(0, 2)) await theatre.play(player)
    await theatre.advance(60_000)
    expect(closes(theatre).map(({ reports }) => reports.map(({ dataset }) => dataset))).toEqual([['a', 'b']])
    await expect(theatre.run.report(players[2]!, late.id, report)).rejects.toMatchObject({ code: 'lease_closed' })
    await theatre.run.idle()
    expect(closes(theatre)).toHaveLength(1)
  })

  it('that was begun is paid for, and nobody is paid back for one that comes to nothing', async () => {
    const { theatre } = await setUp(3)
    await theatre.run.cancel()
    expect(closes(theatre)).toHaveLength(0)
    for (const id of SITES)
      expect(theatre.dataset(id).describe()).toMatchObject({ spent: { charges: 1 }, reserved: { charges: 0 } })
  })
})
