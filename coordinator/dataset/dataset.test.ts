import { beforeEach, describe, expect, it } from 'vitest'
import { gaussianEvent, odometer, RdpFilter, spend } from '../../shared/privacy/index.ts'
import { MemoryStore } from '../../test/rehearsal/theatre.ts'
import { NodeStorage } from '../hosts/node-storage.ts'
import { openLogKey } from '../ledger/index.ts'
import { DatasetActor } from './index.ts'

const event = gaussianEvent({ noiseMultiplier: 2, samplingRate: 0.1 })
const dear = gaussianEvent({ noiseMultiplier: 1.5, samplingRate: 0.1 })
const registration = { id: 'north', units: 1000, unit: 'record' as const, budget: { epsilon: 3, delta: 1e-5 } }
let storage: NodeStorage
let actor: DatasetActor
let objects: MemoryStore

const openOver = async (over: NodeStorage) => {
  const logKey = await openLogKey('rehearsal', new Uint8Array(32))
  return await DatasetActor.open({ storage: over, objects, logKey, now: () => 1, onFault: () => undefined })
}
const reopen = async () => {
  actor = await openOver(storage)
}
/** Nothing is stored anywhere. */
const begin = async () => {
  storage = new NodeStorage(':memory:')
  objects = new MemoryStore()
  await reopen()
}
beforeEach(async () => {
  await begin()
  await actor.register(registration)
})

describe('register', () => {
  it('again is the same, with other content a conflict', async () => {
    expect(await actor.register(registration)).toBe('same')
    expect(await actor.register({ ...registration, units: 999 })).toBe('conflict')
    expect(await actor.register({ ...registration, budget: { epsilon: 4, delta: 1e-5 } })).toBe('conflict')
    expect(actor.describe()).toMatchObject({ ...registration, spent: { epsilon: 0, ofBudget: 0, charges: 0 } })
  })
})

describe('a dataset whose units are a private count', () => {
  const counted = { ...registration, units: 1013, count: { noiseMultiplier: 20 } }
  const release = { event: gaussianEvent({ noiseMultiplier: 20, samplingRate: 1 }), count: 1 }
  beforeEach(async () => {
    await begin()
  })

  it('is charged for it as it is registered, once', async () => {
    expect(await actor.register(counted)).toBe('created')
    expect(await actor.register(counted)).toBe('same')
    await reopen()
    expect(await actor.register(counted)).toBe('same')
    expect(await actor.register(registration)).toBe('conflict')
    expect(await actor.register({ ...counted, count: { noiseMultiplier: 21 } })).toBe('conflict')
    const { epsilon } = odometer([release], 1e-5)
    const ofBudget = new RdpFilter(registration.budget, [release]).epsilon()
    expect(actor.describe()).toMatchObject({ ...counted, spent: { epsilon, ofBudget, charges: 1 } })
  })

  it('has what is left of its budget for runs, and no lease takes the place of the count', async () => {
    const plain = actor
    await plain.register(registration)
    const without = plain.affordable(dear)!
    await begin()
    await actor.register({ ...counted, count: { noiseMultiplier: 2.5 } })
    expect(actor.affordable(dear)!).toBeLessThan(without)
    const other = gaussianEvent({ noiseMultiplier: 2.5, samplingRate: 1 })
    expect(await actor.charge({ id: 'count', run: 'r', event: other })).toBe('conflict')
  })

  it('is not registered where the budget does not pay for the count', async () => {
    const dearly = { ...counted, budget: { epsilon: 0.01, delta: 1e-5 } }
    expect(await actor.register(dearly)).toBe('exceeded')
    expect(actor.describe()).toBeNull()
  })
})

describe('charge', () => {
  it('again with the same id counts once; with other content it is a conflict', async () => {
    const charge = { id: 'c1', run: 'r1', event }
    expect(await actor.charge(charge)).toBe('charged')
    await reopen()
    expect(await actor.charge(charge)).toBe('charged')
    expect(await actor.charge({ ...charge, event: dear })).toBe('conflict')
    expect(await actor.charge({ ...charge, run: 'r2' })).toBe('conflict')
    const { epsilon } = odometer([{ event, count: 1 }], 1e-5)
    const ofBudget = new RdpFilter(registration.budget, [{ event, count: 1 }]).epsilon()
    expect(actor.describe()?.spent).toEqual({ epsilon, ofBudget, charges: 1 })
  })

  it('stops at the last one that fits, exactly, with events of several kinds', async () => {
    let count = 0
    const eventAt = (i: number) => (i % 2 === 0 ? event : dear)
    while ((await actor.charge({ id: `c${count}`, run: 'r', event: eventAt(count) })) === 'charged') count++
    const history = (n: number) => Array.from({ length: n }, (_, i) => ({ event: eventAt(i), count: 1 }))
    expect(count).toBeGreaterThan(3)
    const filtered = (n: number) => new RdpFilter(registration.budget, history(n)).epsilon()
    expect(filtered(count)).toBeLessThanOrEqual(3)
    expect(filtered(count + 1)).toBeGreaterThan(3)
    expect(spend(history(count), 1e-5).epsilon).toBeLessThan(3)
    const { epsilon } = odometer(history(count), 1e-5)
    expect(actor.describe()?.spent).toEqual({ epsilon, ofBudget: filtered(count), charges: count })
    expect(await actor.charge({ id: 'c0', run: 'r', event: eventAt(0) }), 'a repeat is no new spend').toBe('charged')
  })

  it('as a dry run answers the same and charges nothing', async () => {
    const affordable = actor.affordable(event)!
    for (let i = 0; i < affordable; i++) {
      expect(await actor.charge({ id: `c${i}`, run: 'r', event }, { dryRun: true })).toBe('charged')
      await actor.charge({ id: `c${i}`, run: 'r', event })
    }
    expect(await actor.charge({ id: 'more', run: 'r', event }, { dryRun: true })).toBe('exceeded')
    expect(actor.affordable(event)).toBe(0)
  })

  it('of a dataset that nobody registered is refused', async () => {
    const empty = await openOver(new NodeStorage(':memory:'))
    expect(await empty.charge({ id: 'c', run: 'r', event })).toBe('unknown')
    expect(empty.describe()).toBeNull()
  })
})

describe('the tables', () => {
  it.each([
    'DELETE FROM charge',
    "UPDATE charge SET run = 'other'",
    'DELETE FROM spend',
    'UPDATE spend SET count = count - 1',
    "UPDATE spend SET count = 1 WHERE event <> ''",
  ])('refuse %s', async (statement) => {
    await actor.charge({ id: 'c1', run: 'r', event })
    await actor.charge({ id: 'c2', run: 'r', event })
    expect(() => storage.sql.exec(statement)).toThrow()
    expect(actor.describe()?.spent.charges).toBe(2)
  })
})

/** What a policy looks at; every policy of these tests that says nothing of it lets it pass. */
const terms = { epsilon: 1, noiseMultiplier: 2, quorum: 2, model: 'a'.repeat(64) }

describe('reservations', () => {
  const reserve = async (run: string, count: number, options = {}) =>
    (await actor.reserve({ run, events: [{ event, count }], terms }, options)).outcome
  const fits = (count: number) => new RdpFilter(registration.budget, [{ event, count }]).epsilon() <= 3

  it('are of all that a run may charge, and leave others the rest', async () => {
    const whole = actor.affordable(event)!
    expect([fits(whole), fits(whole + 1)]).toEqual([true, false])
    expect(await reserve('r1', whole - 3)).toBe('reserved')
    expect([await reserve('r2', 4), await reserve('r2', 3, { dryRun: true }), await reserve('r2', 3)]).toEqual([
      ...['exceeded', 'reserved', 'reserved'],
    ])
    expect(actor.affordable(event)).toBe(0)
    expect(await actor.charge({ id: 'c', run: 'r3', event })).toBe('exceeded')
    expect(actor.describe()?.spent.charges).toBe(0)
    expect(actor.describe()?.reserved.charges).toBe(whole)
  })

  it('are drawn on by charges, so that together they stay what they were', async () => {
    const whole = actor.affordable(event)!
    await reserve('r1', whole)
    const before = actor.describe()!.reserved.ofBudget
    for (let n = 0; n < whole; n++) {
      expect(await actor.charge({ id: `c${n}`, run: 'r1', event })).toBe('charged')
      if (n === 1) await reopen()
      const { spent, reserved } = actor.describe()!
      expect([spent.charges, reserved.charges, reserved.ofBudget]).toEqual([n + 1, whole - n - 1, before])
    }
    expect(await actor.charge({ id: 'more', run: 'r1', event })).toBe('exceeded')
    expect(await actor.charge({ id: 'c0', run: 'r1', event }), 'a repeat draws nothing').toBe('charged')
  })

  it('pay for nothing but what they are of', async () => {
    await reserve('r1', actor.affordable(event)!)
    expect(await actor.charge({ id: 'c', run: 'r1', event: dear })).toBe('exceeded')
    expect(await actor.charge({ id: 'c', run: 'r2', event })).toBe('exceeded')
  })

  it('are made once for a run, and return what is left when it ends', async () => {
    const whole = actor.affordable(event)!
    await reserve('r1', whole)
    expect(await reserve('r1', whole)).toBe('reserved')
    expect(actor.describe()?.reserved.charges).toBe(whole)
    await actor.charge({ id: 'c', run: 'r1', event })
    await actor.release('r1', [])
    await actor.release('r1', [])
    await reopen()
    expect(actor.describe()).toMatchObject({ spent: { charges: 1 }, reserved: { charges: 0 } })
    expect(actor.affordable(event)).toBe(whole - 1)
    // It ended: asked again it has what it had, which is nothing.
    expect(await reserve('r1', whole)).toBe('reserved')
    expect(actor.describe()?.reserved.charges).toBe(0)
  })
})

describe('the policy of an owner', () => {
  const open = { frozen: false, maxEpsilon: null, minNoiseMultiplier: null, minDatasets: null, models: null }
  const outcome = (more: object = {}) =>
    actor.reserve({ run: 'r', events: [{ event, count: 1 }], terms: { ...terms, ...more } }, { dryRun: true })

  it.each([
    ['maxEpsilon', { maxEpsilon: 1 }, {}, { epsilon: 1.1 }],
    ['minNoiseMultiplier', { minNoiseMultiplier: 2 }, {}, { noiseMultiplier: 1.9 }],
    ['minDatasets', { minDatasets: 2 }, {}, { quorum: 1 }],
    ['models', { models: ['a'.repeat(64)] }, {}, { model: 'b'.repeat(64) }],
  ])(
    'lets a run pass that keeps to it, and names the limit of one that does not: %s',
    async (limit, policy, good, bad) => {
      expect(await actor.setPolicy({ ...open, ...policy })).toBe(true)
      expect(await outcome(good)).toEqual({ outcome: 'reserved' })
      expect(await outcome(bad)).toEqual({ outcome: 'policy', limit })
      expect(actor.describe()?.policy).toEqual({ ...open, ...policy })
    },
  )

  it('may freeze the dataset at once, for runs that have reserved too, and let it go', async () => {
    await actor.reserve({ run: 'r1', events: [{ event, count: 2 }], terms })
    await actor.charge({ id: 'c0', run: 'r1', event })
    await actor.setPolicy({ ...open, frozen: true })
    await reopen()
    expect(await outcome()).toEqual({ outcome: 'frozen' })
    expect(await actor.charge({ id: 'c1', run: 'r1', event })).toBe('frozen')
    expect(await actor.charge({ id: 'c1', run: 'r1', event }, { dryRun: true })).toBe('frozen')
    expect(await actor.charge({ id: 'c0', run: 'r1', event }), 'what is charged is charged').toBe('charged')
    await actor.setPolicy(open)
    expect(await actor.charge({ id: 'c1', run: 'r1', event })).toBe('charged')
  })

  it('is none of a dataset that nobody registered', async () => {
    const empty = await openOver(new NodeStorage(':memory:'))
    expect(await empty.setPolicy(open)).toBe(false)
    expect(await empty.reserve({ run: 'r', events: [], terms })).toEqual({ outcome: 'unknown' })
  })
})
