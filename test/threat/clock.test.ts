import { beforeEach, describe, expect, it } from 'vitest'
import { verifyRun } from '../../shared/ledger/index.ts'
import { type Player, type Theatre, twoSites } from '../rehearsal/theatre.ts'

const stage = { rounds: 3, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 }
const MINUTES = 60_000

let theatre: Theatre
let north: Player
let south: Player
beforeEach(async () => {
  ;({ theatre, north, south } = await twoSites())
})

const isCompleted = async () => {
  verifyRun(theatre.log().records)
  const times = theatre.log().records.map(({ time }) => time)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
  return (await theatre.run.describe())!.state === 'completed'
}

describe('a clock', () => {
  it.each<[string, (step: number) => number]>([
    ['ten minutes ahead, then behind, at every step', (step) => (step % 2 === 0 ? 10 : -10) * MINUTES],
    ['that runs backwards', () => -MINUTES],
    ['that stands still', () => 0],
    ['that jumps a day', () => 24 * 60 * MINUTES],
  ])('%s: the run completes, and its log never goes back', async (_, jump) => {
    await theatre.begin({ stages: [stage] })
    for (let step = 0; step < 12; step++) {
      theatre.now += jump(step)
      await theatre.play(north)
      theatre.now += jump(step + 1)
      await theatre.play(south)
    }
    expect(await isCompleted()).toBe(true)
  })
})

describe('an alarm', () => {
  it('that fires twice voids a lost lease once', async () => {
    await theatre.begin({ stages: [stage], leaseSeconds: 30 })
    await theatre.run.takeLease(north)
    theatre.now += 30_000
    theatre.run.alarm()
    theatre.run.alarm()
    await theatre.run.idle()
    expect(theatre.types().filter((type) => type === 'void')).toHaveLength(1)
  })

  it('that never fires costs nothing but time: the next who asks finds the lease lost', async () => {
    await theatre.begin({ stages: [stage], leaseSeconds: 30 })
    await theatre.run.takeLease(north)
    theatre.now += 30_000
    const again = (await theatre.run.takeLease(north))!
    expect(again.kind === 'round' && again.attempt).toBe(1)
    expect(theatre.types().filter((type) => type === 'void')).toHaveLength(1)
  })

  it('that fails seven times in a row is asked for again each time, and works at the eighth', async () => {
    await theatre.begin({ stages: [stage], leaseSeconds: 30 })
    await theatre.run.takeLease(north)
    theatre.objects.fault = 'unavailable'
    theatre.now += 30_000
    for (let i = 0; i < 7; i++) {
      theatre.alarmAt = null
      theatre.run.alarm()
      await theatre.run.idle()
      expect(theatre.alarmAt).toBeGreaterThan(theatre.now)
      theatre.now = theatre.alarmAt!
    }
    expect(theatre.types()).not.toContain('void')
    theatre.objects.fault = null
    theatre.run.alarm()
    await theatre.run.idle()
    expect(theatre.types().filter((type) => type === 'void')).toHaveLength(1)
  })
})
