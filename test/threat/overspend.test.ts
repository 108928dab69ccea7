import fc from 'fast-check'
import { expect, it } from 'vitest'
import { DatasetActor } from '../../coordinator/dataset/index.ts'
import { NodeStorage } from '../../coordinator/hosts/node-storage.ts'
import { openLogKey } from '../../coordinator/ledger/index.ts'
import { datasetLog, EMPTY_LOG, type LogHead, verifyDataset } from '../../shared/ledger/index.ts'
import { gaussianEvent, odometer, RdpFilter } from '../../shared/privacy/index.ts'
import { MemoryStore } from '../rehearsal/theatre.ts'

const SCHEDULES = 1000
const dear = gaussianEvent({ noiseMultiplier: 2, samplingRate: 0.1 })
const cheap = gaussianEvent({ noiseMultiplier: 3, samplingRate: 0.1 })
const terms = { epsilon: 1, noiseMultiplier: 2, quorum: 1, model: 'a'.repeat(64) }
const budget = { epsilon: 1, delta: 1e-5 }

it('fifty runs never overspend a dataset, however they interleave; ledger, log and accountant agree', async () => {
  const storage = new NodeStorage(':memory:')
  const objects = new MemoryStore()
  let now = 1
  const logKey = await openLogKey('rehearsal', new Uint8Array(32))
  const actor = await DatasetActor.open({ storage, objects, logKey, now: () => now, onFault: () => undefined })
  await actor.register({ id: 'north', units: 1000, unit: 'record', budget })

  const step = fc.tuple(fc.integer({ min: 0, max: 49 }), fc.integer({ min: 0, max: 9 }))
  const schedule = fc.array(step, { minLength: 20, maxLength: 20 })
  // One dataset for all of them: what earlier schedules charged stays charged, and the later meet its end.
  const charged = new Set<string>()
  let schedules = 0
  await fc.assert(
    fc.asyncProperty(schedule, async (steps) => {
      schedules++
      now += 100
      // Begun all at once, as fifty actors would.
      await Promise.all(
        steps.map(async ([n, what], index) => {
          const run = `r${schedules % 40}-${n}`
          const event = n % 2 ? dear : cheap
          if (what < 3) await actor.reserve({ run, events: [{ event, count: (n % 7) + 1 }], terms })
          else if (what < 8) {
            const id = `${run}-${schedules}-${index}`
            if ((await actor.charge({ id, run, event })) === 'charged') charged.add(id)
          } else await actor.release(run, [])
        }),
      )
      const { spent, reserved } = actor.describe()!
      expect(spent.charges).toBe(charged.size)
      expect(Math.max(spent.ofBudget, reserved.ofBudget)).toBeLessThanOrEqual(budget.epsilon)
    }),
    { seed: 17, numRuns: SCHEDULES },
  )
  expect(charged.size).toBeGreaterThan(10)

  now += 2000
  await actor.release('r0-0', [])
  let head: LogHead = EMPTY_LOG
  const keys = [...objects.objects.keys()].filter((key) => key.startsWith('datasets/north/log/')).sort()
  const records = keys.flatMap((key) => {
    const segment = datasetLog.read(head, new TextDecoder().decode(objects.objects.get(key)))
    head = segment.head
    return segment.records
  })
  const standing = verifyDataset(records)
  const { spent, reserved } = actor.describe()!
  expect(new Set(records.flatMap((record) => (record.type === 'charge' ? [record.lease] : [])))).toEqual(charged)
  expect(odometer(standing.spent, budget.delta).epsilon).toBe(spent.epsilon)
  expect(new RdpFilter(budget, standing.spent).epsilon()).toBe(spent.ofBudget)
  expect(new RdpFilter(budget, [...standing.spent, ...standing.reserved]).epsilon()).toBe(reserved.ofBudget)
  const rows = storage.sql.exec('SELECT count(*) AS n FROM charge').one().n
  const counted = storage.sql.exec('SELECT sum(count) AS n FROM spend').one().n
  expect([rows, counted]).toEqual([charged.size, charged.size])
})
