import { beforeEach, describe, expect, it } from 'vitest'
import { gaussianEvent, odometer, RdpFilter, spend } from '../../shared/privacy/index.ts'
import { NodeStorage } from '../hosts/node-storage.ts'
import { DatasetActor } from './index.ts'

const event = gaussianEvent({ noiseMultiplier: 2, samplingRate: 0.1 })
const dear = gaussianEvent({ noiseMultiplier: 1.5, samplingRate: 0.1 })
const registration = { id: 'north', units: 1000, unit: 'record' as const, budget: { epsilon: 3, delta: 1e-5 } }
let storage: NodeStorage
let actor: DatasetActor
const reopen = async () => {
  actor = await DatasetActor.open({ storage, now: () => 1 })
}
beforeEach(async () => {
  storage = new NodeStorage(':memory:')
  await reopen()
  actor.register(registration)
})

describe('register', () => {
  it('again is the same, with other content a conflict', () => {
    expect(actor.register(registration)).toBe('same')
    expect(actor.register({ ...registration, units: 999 })).toBe('conflict')
    expect(actor.register({ ...registration, budget: { epsilon: 4, delta: 1e-5 } })).toBe('conflict')
    expect(actor.describe()).toEqual({ ...registration, spent: { epsilon: 0, ofBudget: 0, charges: 0 } })
  })
})

describe('a dataset whose units are a private count', () => {
  const counted = { ...registration, units: 1013, count: { noiseMultiplier: 20 } }
  const release = { event: gaussianEvent({ noiseMultiplier: 20, samplingRate: 1 }), count: 1 }
  beforeEach(async () => {
    storage = new NodeStorage(':memory:')
    await reopen()
  })

  it('is charged for it as it is registered, once', async () => {
    expect(actor.register(counted)).toBe('created')
    expect(actor.register(counted)).toBe('same')
    await reopen()
    expect(actor.register(counted)).toBe('same')
    expect(actor.register(registration)).toBe('conflict')
    expect(actor.register({ ...counted, count: { noiseMultiplier: 21 } })).toBe('conflict')
    const { epsilon } = odometer([release], 1e-5)
    const ofBudget = new RdpFilter(registration.budget, [release]).epsilon()
    expect(actor.describe()).toEqual({ ...counted, spent: { epsilon, ofBudget, charges: 1 } })
  })

  it('has what is left of its budget for runs, and no lease takes the place of the count', () => {
    const plain = actor
    plain.register(registration)
    const without = plain.affordable(dear)!
    storage = new NodeStorage(':memory:')
    return reopen().then(() => {
      actor.register({ ...counted, count: { noiseMultiplier: 2.5 } })
      expect(actor.affordable(dear)!).toBeLessThan(without)
      const other = gaussianEvent({ noiseMultiplier: 2.5, samplingRate: 1 })
      expect(actor.charge({ id: 'count', run: 'r', event: other })).toBe('conflict')
    })
  })

  it('is not registered where the budget does not pay for the count', () => {
    const dearly = { ...counted, budget: { epsilon: 0.01, delta: 1e-5 } }
    expect(actor.register(dearly)).toBe('exceeded')
    expect(actor.describe()).toBeNull()
  })
})

describe('charge', () => {
  it('again with the same id counts once; with other content it is a conflict', async () => {
    const charge = { id: 'c1', run: 'r1', event }
    expect(actor.charge(charge)).toBe('charged')
    await reopen()
    expect(actor.charge(charge)).toBe('charged')
    expect(actor.charge({ ...charge, event: dear })).toBe('conflict')
    expect(actor.charge({ ...charge, run: 'r2' })).toBe('conflict')
    const { epsilon } = odometer([{ event, count: 1 }], 1e-5)
    const ofBudget = new RdpFilter(registration.budget, [{ event, count: 1 }]).epsilon()
    expect(actor.describe()?.spent).toEqual({ epsilon, ofBudget, charges: 1 })
  })

  it('stops at the last one that fits, exactly, with events of several kinds', () => {
    let count = 0
    const eventAt = (i: number) => (i % 2 === 0 ? event : dear)
    while (actor.charge({ id: `c${count}`, run: 'r', event: eventAt(count) }) === 'charged') count++
    const history = (n: number) => Array.from({ length: n }, (_, i) => ({ event: eventAt(i), count: 1 }))
    expect(count).toBeGreaterThan(3)
    const filtered = (n: number) => new RdpFilter(registration.budget, history(n)).epsilon()
    expect(filtered(count)).toBeLessThanOrEqual(3)
    expect(filtered(count + 1)).toBeGreaterThan(3)
    expect(spend(history(count), 1e-5).epsilon).toBeLessThan(3)
    const { epsilon } = odometer(history(count), 1e-5)
    expect(actor.describe()?.spent).toEqual({ epsilon, ofBudget: filtered(count), charges: count })
    expect(actor.charge({ id: 'c0', run: 'r', event: eventAt(0) }), 'a repeat is no new spend').toBe('charged')
  })

  it('as a dry run answers the same and charges nothing', () => {
    const affordable = actor.affordable(event)!
    for (let i = 0; i < affordable; i++) {
      expect(actor.charge({ id: `c${i}`, run: 'r', event }, { dryRun: true })).toBe('charged')
      actor.charge({ id: `c${i}`, run: 'r', event })
    }
    expect(actor.charge({ id: 'more', run: 'r', event }, { dryRun: true })).toBe('exceeded')
    expect(actor.affordable(event)).toBe(0)
    expect(actor.preview([{ event, count: 1 }])?.ok).toBe(false)
  })

  it('of a dataset that nobody registered is refused', async () => {
    const empty = await DatasetActor.open({ storage: new NodeStorage(':memory:'), now: () => 1 })
    expect(empty.charge({ id: 'c', run: 'r', event })).toBe('unknown')
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
  ])('refuse %s', (statement) => {
    actor.charge({ id: 'c1', run: 'r', event })
    actor.charge({ id: 'c2', run: 'r', event })
    expect(() => storage.sql.exec(statement)).toThrow()
    expect(actor.describe()?.spent.charges).toBe(2)
  })
})
