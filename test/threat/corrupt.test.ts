import { describe, expect, it } from 'vitest'
import { commitObject } from '../../coordinator/objects/index.ts'
import { tamperings } from '../rehearsal/tampering.ts'
import { MemoryStore, twoSites } from '../rehearsal/theatre.ts'
import { randomOf } from '../simulation/random.ts'

const stage = { rounds: 3, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 }

describe('an object that was changed', () => {
  it('is found by an audit, whichever it is and however it was changed', async () => {
    const { tried, missed } = await tamperings(120, randomOf(20))
    expect({ tried, missed }).toEqual({ tried: 120, missed: [] })
  })

  it('is never taken for what the coordinator was about to write', async () => {
    const store = new MemoryStore()
    const bytes = new TextEncoder().encode('a segment')
    for (let place = 0; place < bytes.length; place++) {
      const other = bytes.slice()
      other[place]! ^= 1
      store.objects.set('key', other)
      await expect(commitObject(store, 'key', bytes)).rejects.toMatchObject({ code: 'conflict' })
    }
    store.objects.set('key', bytes.slice(0, -1))
    await expect(commitObject(store, 'key', bytes)).rejects.toMatchObject({ code: 'conflict' })
    store.objects.set('key', bytes)
    await commitObject(store, 'key', bytes)
  })

  it.each(['runs/run-0123456789abcdef/log/', 'datasets/north/log/'])(
    'stops the coordinator that reads it: %s',
    async (at) => {
      const { theatre, north, south } = await twoSites()
      await theatre.begin({ stages: [stage] })
      await theatre.play(north)
      await theatre.play(south)
      const last = [...theatre.objects.objects.keys()]
        .filter((key) => key.startsWith(at))
        .sort()
        .at(-1)!
      theatre.objects.objects.get(last)![20]! ^= 1
      await theatre.reopenDataset('north')
      await theatre.restart()
      await theatre.run.resume()
      for (let turn = 0; turn < 4; turn++) {
        const lease = await theatre.run.takeLease(north).catch(() => null)
        if (lease)
          await theatre.run.report(north, lease.id, await theatre.reportFor(north, lease)).catch(() => undefined)
        await theatre.play(south).catch(() => null)
      }
      const facts = (await theatre.run.describe())!
      const { fault } = theatre.dataset('north').describe()!
      expect([facts.reason ?? '', fault ?? ''].join()).toContain('log_conflict')
      expect(facts.round, 'no round after the one that was open').toBeLessThanOrEqual(2)
    },
  )
})
