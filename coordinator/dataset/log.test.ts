import { beforeEach, describe, expect, it } from 'vitest'
import { verifyEd25519 } from '../../cli/audit/log.ts'
import { datasetLog, EMPTY_LOG, readStanding } from '../../shared/ledger/index.ts'
import { type EventCount, gaussianEvent, odometer, RdpFilter } from '../../shared/privacy/index.ts'
import { backupOf } from '../../test/rehearsal/backup.ts'
import { MemoryStore } from '../../test/rehearsal/theatre.ts'
import { NodeStorage } from '../hosts/node-storage.ts'
import { openLogKey } from '../ledger/index.ts'
import { DatasetActor } from './index.ts'

const event = gaussianEvent({ noiseMultiplier: 2, samplingRate: 0.1 })
const other = gaussianEvent({ noiseMultiplier: 3, samplingRate: 0.1 })
const registration = { id: 'north', units: 1000, unit: 'record' as const, budget: { epsilon: 8, delta: 1e-5 } }
const terms = { epsilon: 1, noiseMultiplier: 2, quorum: 1, model: 'a'.repeat(64) }
const policy = { frozen: false, maxEpsilon: null, minNoiseMultiplier: null, minDatasets: null, models: null }
const SEED = new Uint8Array(32)

let storage: NodeStorage
let objects: MemoryStore
let actor: DatasetActor
let now: number
let faults: unknown[]

async function open(over = storage, synced = async () => {}): Promise<DatasetActor> {
  const logKey = await openLogKey('rehearsal', SEED)
  const onFault = (error: unknown) => void faults.push(error)
  return await DatasetActor.open({ storage: over, objects, logKey, now: () => now, onFault, synced })
}

beforeEach(async () => {
  storage = new NodeStorage(':memory:')
  objects = new MemoryStore()
  now = 1_800_000_000_000
  faults = []
  actor = await open()
  await actor.register(registration)
})

const logKeys = () => [...objects.objects.keys()].filter((key) => key.startsWith('datasets/north/log/')).sort()
/** The log as it lies in the bucket. */
function log() {
  let head = EMPTY_LOG
  return logKeys().flatMap((key) => {
    const read = datasetLog.read(head, new TextDecoder().decode(objects.objects.get(key)))
    head = read.head
    return read.records
  })
}
const types = () => log().map(({ type }) => type)
const reserve = (run: string, events: EventCount[]) => actor.reserve({ run, events, terms })
const charge = (run: string, n: number, of = event) => actor.charge({ id: `${run}-${n}`, run, event: of })

/** What a stranger reads of the log, with the signature checked. */
const read = async () => {
  const { publicKey } = await openLogKey('rehearsal', SEED)
  const source = { read: async (key: string) => objects.objects.get(key) ?? null }
  const { standing, checkpoint, head } = await readStanding(source, 'north', {
    name: 'rehearsal',
    publicKey,
    verify: verifyEd25519,
  })
  const sum = (entries: readonly EventCount[]) => entries.reduce((all, { count }) => all + count, 0)
  const { spent, reserved, isFrozen } = standing
  const counts = { charges: sum(spent), reserved: sum(reserved), isFrozen, unsigned: head.size - checkpoint.size }
  return { standing, counts }
}

describe('the log of a dataset', () => {
  it('says in the bucket what the database says, whatever is done to it', async () => {
    await reserve('r1', [
      { event, count: 3 },
      { event: other, count: 1 },
    ])
    await charge('r1', 0)
    await charge('r1', 1, other)
    await charge('r2', 0)
    await actor.setPolicy({ ...policy, frozen: true })
    await actor.setPolicy({ ...policy, frozen: true, minDatasets: 2 })
    await actor.setPolicy(policy)
    await actor.release('r1', [
      { event, count: 1 },
      { event: other, count: 1 },
    ])
    await actor.release('r1', [])
    await reserve('r3', [{ event: other, count: 5 }])
    expect(types()).toEqual([
      ...['register', 'reserve', 'charge', 'charge', 'charge', 'freeze', 'freeze', 'release', 'reserve'],
    ])
    const { standing, counts } = await read()
    const told = actor.describe()!
    expect(standing.dataset).toEqual(registration)
    expect(counts).toEqual({ charges: 3, reserved: 5, isFrozen: false, unsigned: 1 })
    expect(odometer(standing.spent, 1e-5).epsilon).toBe(told.spent.epsilon)
    const { budget } = registration
    expect(new RdpFilter(budget, standing.spent).epsilon()).toBe(told.spent.ofBudget)
    expect(new RdpFilter(budget, [...standing.spent, ...standing.reserved]).epsilon()).toBe(told.reserved.ofBudget)
    const shares = [...standing.runs].map(([run, { charged, left }]) => [run, charged.entries(), left.entries()])
    expect(shares).toEqual([
      [
        'r1',
        [
          { event, count: 1 },
          { event: other, count: 1 },
        ],
        [],
      ],
      ['r2', [{ event, count: 1 }], []],
      ['r3', [], [{ event: other, count: 5 }]],
    ])
  })

  it('has a reservation in the bucket before anybody is told, and a charge that nothing covers', async () => {
    objects.fault = 'unavailable'
    await expect(reserve('r1', [{ event, count: 3 }])).rejects.toMatchObject({ code: 'unavailable' })
    expect(types()).toEqual(['register'])
    objects.fault = null
    expect(await reserve('r1', [{ event, count: 3 }])).toEqual({ outcome: 'reserved' })
    expect(types()).toEqual(['register', 'reserve'])
    objects.fault = 'unavailable'
    await expect(charge('r2', 0)).rejects.toMatchObject({ code: 'unavailable' })
    objects.fault = null
    expect(types()).toEqual(['register', 'reserve'])
    expect(await charge('r2', 0)).toBe('charged')
    expect(await charge('r2', 0), 'counts once').toBe('charged')
    expect(types()).toHaveLength(3)
  })

  it('takes charges that a reservation covers without the bucket, and writes them every ten seconds', async () => {
    await reserve('r1', [{ event, count: 9 }])
    objects.fault = 'unavailable'
    for (let n = 0; n < 3; n++) expect(await charge('r1', n)).toBe('charged')
    await actor.idle()
    expect(types()).toEqual(['register', 'reserve'])
    now += 10_000
    await charge('r1', 3)
    await actor.idle()
    expect(faults).toHaveLength(1)
    objects.fault = null
    now += 10_000
    await charge('r1', 4)
    await actor.idle()
    await charge('r1', 5)
    await actor.idle()
    expect(logKeys()).toHaveLength(4)
    expect(types()).toHaveLength(2 + 5)
    await actor.release('r1', [{ event, count: 6 }])
    expect(types().slice(-2)).toEqual(['charge', 'release'])
    expect((await read()).counts).toMatchObject({ charges: 6, reserved: 0, unsigned: 0 })
  })

  it('puts nothing into the bucket that the database could come to forget', async () => {
    const order: string[] = []
    const { create } = objects
    objects.create = async (key, bytes) => {
      order.push(key.includes('/log/') ? 'created' : 'other')
      return await create.call(objects, key, bytes)
    }
    actor = await open(storage, async () => {
      const { staged } = storage.sql.exec('SELECT count(*) AS staged FROM segment WHERE stored = 0').one()
      order.push(`synced with ${staged} staged`)
    })
    // The first question compares what is there.
    await actor.reserve({ run: '', events: [], terms }, { dryRun: true })
    order.length = 0
    await reserve('r1', [{ event, count: 2 }])
    await charge('r1', 0)
    await actor.release('r1', [{ event, count: 1 }])
    expect(order).toEqual(['synced with 1 staged', 'created', 'synced with 1 staged', 'created'])
  })

  it('goes on after a restart, with what was written and not stored', async () => {
    await reserve('r1', [{ event, count: 9 }])
    await charge('r1', 0)
    actor = await open()
    await charge('r1', 1)
    await actor.idle()
    expect(types()).toEqual(['register', 'reserve', 'charge', 'charge'])
  })

  it('is refused where the database was rolled back: nothing is charged any more', async () => {
    const old = backupOf(storage)
    await reserve('r1', [{ event, count: 3 }])
    await actor.release('r1', [])
    storage = old
    actor = await open()
    const fault = { name: 'LogFaultError', code: 'ledger_behind_log' }
    await expect(charge('r2', 0)).rejects.toMatchObject(fault)
    await expect(reserve('r2', [{ event, count: 1 }])).rejects.toMatchObject(fault)
    await expect(actor.register(registration)).rejects.toMatchObject(fault)
    actor = await open()
    await expect(charge('r2', 0)).rejects.toMatchObject(fault)
    expect(actor.describe()).toMatchObject({ fault: 'ledger_behind_log', spent: { charges: 0 } })
  })

  it('is refused where it was begun anew over a bucket that has one', async () => {
    storage = new NodeStorage(':memory:')
    actor = await open()
    await expect(actor.register(registration)).rejects.toMatchObject({ code: 'ledger_behind_log' })
  })

  it('is refused where a run has charged more than it knows of, which the bucket did not have yet', async () => {
    await reserve('r1', [{ event, count: 9 }])
    const old = backupOf(storage)
    await charge('r1', 0)
    storage = old
    actor = await open()
    await charge('r1', 1)
    await expect(actor.release('r1', [{ event, count: 2 }])).rejects.toMatchObject({ code: 'ledger_behind_log' })
    expect(actor.describe()?.reserved.charges).toBe(8)
  })

  it('is refused where an object of it was changed', async () => {
    const [first] = logKeys()
    objects.objects.set(first!, new TextEncoder().encode('{}\n'))
    actor = await open()
    await expect(charge('r1', 0)).rejects.toMatchObject({ code: 'log_conflict' })
  })

  it('is begun by a database from before there were logs, with all that it has charged and reserved', async () => {
    await reserve('r1', [{ event, count: 3 }])
    await charge('r1', 0)
    await charge('r2', 0, other)
    await actor.setPolicy({ ...policy, frozen: true })
    const before = actor.describe()
    storage = backupOf(storage)
    for (const table of ['record', 'segment']) {
      storage.sql.exec(`DROP TRIGGER ${table}_stays`)
      storage.sql.exec(`DELETE FROM ${table}`)
    }
    objects = new MemoryStore()
    actor = await open()
    await actor.register(registration)
    expect(types()).toEqual(['register', 'charge', 'charge', 'reserve', 'freeze'])
    expect((await read()).counts).toMatchObject({ charges: 2, reserved: 2, isFrozen: true })
    expect(actor.describe()).toEqual(before)
  })

  it.each(['DELETE FROM record', "UPDATE record SET line = '{}'", 'DELETE FROM segment'])('refuses %s', (statement) => {
    expect(() => storage.sql.exec(statement)).toThrow()
  })
})
