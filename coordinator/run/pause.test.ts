import { beforeEach, describe, expect, it } from 'vitest'
import { verifyRun } from '../../shared/ledger/index.ts'
import { type Player, Theatre } from '../../test/rehearsal/theatre.ts'
import { EventFold } from './events.ts'

const stage = { rounds: 3, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 }
const code = (value: string) => expect.objectContaining({ code: value })

let theatre: Theatre
let north: Player

beforeEach(async () => {
  theatre = new Theatre()
  await theatre.addDataset('north')
  north = await theatre.player('w-north', 'north')
})

const state = async () => (await theatre.run.describe())?.state
const types = () => theatre.types().filter((type) => type !== 'charge')

describe('a paused run', () => {
  it('works off the round that is open, opens no other, and goes on when it is resumed', async () => {
    await theatre.begin({ stages: [stage] })
    await theatre.run.setPaused(true)
    expect(await state()).toBe('paused')
    expect(await theatre.play(north)).toMatchObject({ round: 0 })
    expect(types()).toEqual(['spec', 'open', 'pause', 'close'])
    expect(await theatre.run.takeLease(north)).toBeNull()
    await theatre.advance(3_600_000)
    expect(types().at(-1)).toBe('close')
    await theatre.run.setPaused(false)
    expect(types().slice(4)).toEqual(['resume', 'open'])
    await theatre.play(north)
    await theatre.play(north)
    expect(await state()).toBe('completed')
    verifyRun(theatre.log().records)
    expect(theatre.announced).toEqual(['running', 'paused', 'running', 'completed'])
  })

  it('is so after a restart too, and asked twice it is so once', async () => {
    await theatre.begin({ stages: [stage] })
    await theatre.run.setPaused(true)
    await theatre.run.setPaused(true)
    await theatre.play(north)
    await theatre.restart()
    await theatre.run.resume()
    expect(await state()).toBe('paused')
    expect(types()).toEqual(['spec', 'open', 'pause', 'close'])
    await theatre.run.setPaused(false)
    await theatre.run.setPaused(false)
    expect(types().slice(4)).toEqual(['resume', 'open'])
  })

  it('charges nothing while it is paused, and offers no public work', async () => {
    await theatre.begin({ stages: [stage], evaluation: { data: 'e'.repeat(64), every: 1 } })
    await theatre.run.setPaused(true)
    expect(await theatre.run.takeLease(north)).toBeNull()
    expect(theatre.dataset('north').describe()?.spent.charges).toBe(0)
    await theatre.run.setPaused(false)
    expect(await theatre.run.takeLease(north)).toMatchObject({ kind: 'evaluation', round: 0 })
  })

  it('may be cancelled; an ended run can be neither paused nor resumed', async () => {
    await theatre.begin({ stages: [stage] })
    await theatre.run.setPaused(true)
    await theatre.run.cancel()
    expect(await state()).toBe('cancelled')
    for (const paused of [true, false]) await expect(theatre.run.setPaused(paused)).rejects.toEqual(code('run_ended'))
  })

  it('tells since when it was what', async () => {
    await theatre.begin({ stages: [{ ...stage, rounds: 1 }] })
    const start = theatre.now
    await theatre.advance(1000)
    await theatre.run.setPaused(true)
    await theatre.advance(1000)
    await theatre.run.setPaused(false)
    await theatre.advance(1000)
    await theatre.play(north)
    expect((await theatre.run.describe())?.history).toEqual([
      { state: 'running', time: start },
      { state: 'paused', time: start + 1000 },
      { state: 'running', time: start + 2000 },
      { state: 'completed', time: start + 3000 },
    ])
    const fold = new EventFold()
    const events = theatre.log().records.map((record) => fold.push(record)?.type)
    expect(events.filter((type) => type?.startsWith('run.'))).toEqual([
      ...['run.created', 'run.paused', 'run.resumed', 'run.ended'],
    ])
  })
})
