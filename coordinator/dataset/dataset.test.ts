import fc from 'fast-check'
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
    expect(actor.describe()).toMatchObject({ ...registration, spent: { epsilon: 0, ofBudget: 0, charges: 0 } })
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
    expect(actor.describe()).toMatchObject({ ...counted, spent: { epsilon, ofBudget, charges: 1 } })
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

/** What a policy looks at; every policy of these tests that says nothing of it lets it pass. */
const terms = { epsilon: 1, noiseMultiplier: 2, quorum: 2, model: 'a'.repeat(64) }

describe('reservations', () => {
  const reserve = (run: string, count: number, options = {}) =>
    actor.reserve({ run, events: [{ event, count }], terms }, options).outcome
  const fits = (count: number) => new RdpFilter(registration.budget, [{ event, count }]).epsilon() <= 3

  it('are of all that a run may charge, and leave others the rest', () => {
    const whole = actor.affordable(event)!
    expect([fits(whole), fits(whole + 1)]).toEqual([true, false])
    expect(reserve('r1', whole - 3)).toBe('reserved')
    expect([reserve('r2', 4), reserve('r2', 3, { dryRun: true }), reserve('r2', 3)]).toEqual([
      ...['exceeded', 'reserved', 'reserved'],
    ])
    expect(actor.affordable(event)).toBe(0)
    expect(actor.charge({ id: 'c', run: 'r3', event })).toBe('exceeded')
    expect(actor.describe()?.spent.charges).toBe(0)
    expect(actor.describe()?.reserved.charges).toBe(whole)
  })

  it('are drawn on by charges, so that together they stay what they were', async () => {
    const whole = actor.affordable(event)!
    reserve('r1', whole)
    const before = actor.describe()!.reserved.ofBudget
    for (let n = 0; n < whole; n++) {
      expect(actor.charge({ id: `c${n}`, run: 'r1', event })).toBe('charged')
      if (n === 1) await reopen()
      const { spent, reserved } = actor.describe()!
      expect([spent.charges, reserved.charges, reserved.ofBudget]).toEqual([n + 1, whole - n - 1, before])
    }
    expect(actor.charge({ id: 'more', run: 'r1', event })).toBe('exceeded')
    expect(actor.charge({ id: 'c0', run: 'r1', event }), 'a repeat draws nothing').toBe('charged')
  })

  it('pay for nothing but what they are of', () => {
    reserve('r1', actor.affordable(event)!)
    expect(actor.charge({ id: 'c', run: 'r1', event: dear })).toBe('exceeded')
    expect(actor.charge({ id: 'c', run: 'r2', event })).toBe('exceeded')
  })

  it('are made once for a run, and return what is left when it ends', async () => {
    const whole = actor.affordable(event)!
    reserve('r1', whole)
    expect(reserve('r1', whole)).toBe('reserved')
    expect(actor.describe()?.reserved.charges).toBe(whole)
    actor.charge({ id: 'c', run: 'r1', event })
    actor.release('r1')
    actor.release('r1')
    await reopen()
    expect(actor.describe()).toMatchObject({ spent: { charges: 1 }, reserved: { charges: 0 } })
    expect(actor.affordable(event)).toBe(whole - 1)
    // It ended: asked again it has what it had, which is nothing.
    expect(reserve('r1', whole)).toBe('reserved')
    expect(actor.describe()?.reserved.charges).toBe(0)
  })

  it('never exceed the budget however fifty runs interleave, and always reconcile with the charges', async () => {
    const least = gaussianEvent({ noiseMultiplier: 3, samplingRate: 0.1 })
    const interleaving = fc.array(fc.tuple(fc.integer({ min: 0, max: 49 }), fc.integer({ min: 0, max: 9 })), {
      minLength: 20,
      maxLength: 20,
    })
    storage = new NodeStorage(':memory:')
    await reopen()
    actor.register({ ...registration, budget: { epsilon: 1, delta: 1e-5 } })
    const budget = actor.describe()!.budget
    // One dataset for all of them: what earlier interleavings charged stays charged, and the later meet its end.
    const ids = new Map<string, number>()
    let runs = 0
    fc.assert(
      fc.property(interleaving, (steps) => {
        runs++
        for (const [n, what] of steps) {
          const run = `${runs % 40}-${n}`
          const count = (n % 7) + 1
          if (what < 3) actor.reserve({ run, events: [{ event: n % 2 ? event : least, count }], terms })
          else if (what < 8) {
            const id = `${run}-${ids.size}`
            if (actor.charge({ id, run, event: n % 2 ? event : least }) === 'charged') ids.set(id, 1)
          } else actor.release(run)
        }
        const { spent, reserved } = actor.describe()!
        expect(spent.charges).toBe(ids.size)
        expect(Math.max(spent.ofBudget, reserved.ofBudget)).toBeLessThanOrEqual(budget.epsilon)
      }),
      { seed: 17, numRuns: 1000 },
    )
    expect(ids.size).toBeGreaterThan(10)
    const charged = storage.sql.exec('SELECT count(*) AS n FROM charge').one().n
    const counted = storage.sql.exec('SELECT sum(count) AS n FROM spend').one().n
    expect([charged, counted]).toEqual([ids.size, ids.size])
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
  ])('lets a run pass that keeps to it, and names the limit of one that does not: %s', (limit, policy, good, bad) => {
    expect(actor.setPolicy({ ...open, ...policy })).toBe(true)
    expect(outcome(good)).toEqual({ outcome: 'reserved' })
    expect(outcome(bad)).toEqual({ outcome: 'policy', limit })
    expect(actor.describe()?.policy).toEqual({ ...open, ...policy })
  })

  it('may freeze the dataset at once, for runs that have reserved too, and let it go', async () => {
    actor.reserve({ run: 'r1', events: [{ event, count: 2 }], terms })
    actor.charge({ id: 'c0', run: 'r1', event })
    actor.setPolicy({ ...open, frozen: true })
    await reopen()
    expect(outcome()).toEqual({ outcome: 'frozen' })
    expect(actor.charge({ id: 'c1', run: 'r1', event })).toBe('frozen')
    expect(actor.charge({ id: 'c1', run: 'r1', event }, { dryRun: true })).toBe('frozen')
    expect(actor.charge({ id: 'c0', run: 'r1', event }), 'what is charged is charged').toBe('charged')
    actor.setPolicy(open)
    expect(actor.charge({ id: 'c1', run: 'r1', event })).toBe('charged')
  })

  it('is none of a dataset that nobody registered', async () => {
    const empty = await DatasetActor.open({ storage: new NodeStorage(':memory:'), now: () => 1 })
    expect(empty.setPolicy(open)).toBe(false)
    expect(empty.reserve({ run: 'r', events: [], terms })).toEqual({ outcome: 'unknown' })
  })
})
