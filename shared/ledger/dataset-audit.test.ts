import { beforeAll, describe, expect, it } from 'vitest'
import { verifyEd25519 } from '../../cli/audit/log.ts'
import { openLogKey } from '../../coordinator/ledger/index.ts'
import { finishedRun, type Theatre } from '../../test/rehearsal/theatre.ts'
import { gaussianEvent } from '../privacy/index.ts'
import { auditRun } from './audit.ts'
import { datasetLog, EMPTY_LOG, LedgerError } from './chain.ts'
import { COUNT, countEvent, verifyDataset } from './dataset.ts'
import { auditDataset } from './dataset-audit.ts'
import type { DatasetEntry, DatasetRecord } from './dataset-record.ts'
import { rootOf } from './merkle.ts'
import { signCheckpoint } from './note.ts'
import type { AuditError } from './read.ts'

let theatre: Theatre
let key: Awaited<ReturnType<typeof openLogKey>>
beforeAll(async () => {
  theatre = await finishedRun()
  key = await openLogKey('rehearsal', new Uint8Array(32))
})

const signed = () => ({ name: 'rehearsal', publicKey: key.publicKey, verify: verifyEd25519 })
const sourceOf = (objects: ReadonlyMap<string, Uint8Array>) => ({ read: async (at: string) => objects.get(at) ?? null })
const auditOf = (objects: ReadonlyMap<string, Uint8Array>) =>
  auditDataset(sourceOf(objects), { dataset: 'north', ...signed() })
const faultOf = async (audit: Promise<unknown>) =>
  await audit.then(
    () => 'holds',
    (error: AuditError) => `${error.code} ${error.object}`,
  )

function recordsOf(objects: ReadonlyMap<string, Uint8Array>): DatasetRecord[] {
  let head = EMPTY_LOG
  const keys = [...objects.keys()].filter((at) => at.startsWith('datasets/north/log/')).sort()
  return keys.flatMap((at) => {
    const segment = datasetLog.read(head, Buffer.from(objects.get(at)!).toString())
    head = segment.head
    return segment.records
  })
}

/** The same bucket, with a log of the dataset that its own key signed anew: what a coordinator could do. */
async function forged(change: (entries: DatasetEntry[]) => DatasetEntry[]): Promise<Map<string, Uint8Array>> {
  const { objects } = theatre.objects
  const entries = recordsOf(objects).map(({ seq: _, prev: __, time: ___, ...entry }) => entry as DatasetEntry)
  const { segment, head } = datasetLog.append(EMPTY_LOG, change(entries), 1)
  const signer = { name: datasetLog.logName('rehearsal', 'north'), publicKey: key.publicKey }
  const note = await signCheckpoint({ origin: signer.name, size: head.size, root: rootOf(head.tree) }, signer, key.sign)
  return new Map([
    ...[...objects].filter(([at]) => !at.startsWith('datasets/north/')),
    [datasetLog.segmentKey('north', 0), Buffer.from(segment.text)],
    [datasetLog.checkpointKey('north'), Buffer.from(note)],
  ])
}

describe("an audit of a dataset's life", () => {
  it('tells what the coordinator tells, from the bucket alone', async () => {
    const audit = await auditOf(theatre.objects.objects)
    const { spent, reserved } = theatre.dataset('north').describe()!
    expect(audit).toMatchObject({ charges: 5, reserved: 0, unsigned: 0, isFrozen: false })
    expect(audit.epsilon).toBe(spent.epsilon)
    expect(audit.ofBudget).toBe(spent.ofBudget)
    expect(audit.ofBudgetWithReserved).toBe(reserved.ofBudget)
    expect(audit.lower).toBeLessThanOrEqual(audit.epsilon)
    const facts = (await theatre.run.describe())!
    const told = facts.spent.find(({ dataset }) => dataset === 'north')!
    expect(audit.runs).toEqual([{ run: theatre.runId, charges: 5, left: 0, epsilon: told.epsilon }])
  })

  it('finds every object of the log that is flipped, cut, gone or swapped', async () => {
    const { objects } = theatre.objects
    const keys = [...objects.keys()].filter((at) => at.startsWith('datasets/north/'))
    expect(keys.length).toBeGreaterThan(2)
    for (const at of keys) {
      const bytes = objects.get(at)!
      for (let place = 0; place < bytes.length; place += 7) {
        const flipped = bytes.slice()
        flipped[place]! ^= 1
        expect(await faultOf(auditOf(new Map(objects).set(at, flipped))), `${at} at ${place}`).not.toBe('holds')
      }
      expect(await faultOf(auditOf(new Map(objects).set(at, bytes.slice(0, -1))))).not.toBe('holds')
      const without = new Map(objects)
      without.delete(at)
      expect(await faultOf(auditOf(without))).not.toBe('holds')
    }
    const other = new Map(objects)
    for (const at of keys) other.set(at, objects.get(at.replace('/north/', '/south/')) ?? objects.get(at)!)
    expect(await faultOf(auditOf(other))).toContain('unsigned')
  })

  it('finds what a coordinator leaves out that has the key of its logs', async () => {
    expect(await faultOf(auditOf(await forged((entries) => entries)))).toBe('holds')
    const at = datasetLog.segmentKey('north', 0)
    const run = `runs/${theatre.runId}/log/00000000.jsonl`
    const cases: [string, string, (entries: DatasetEntry[]) => DatasetEntry[]][] = [
      // The charge is returned as if it had not been made.
      [
        `hidden_charge ${at}`,
        'a charge',
        (entries) => {
          const [gone] = entries.filter((entry) => entry.type === 'charge')
          return entries
            .filter((entry) => entry !== gone)
            .map((entry) =>
              entry.type === 'release' && gone?.type === 'charge'
                ? { ...entry, events: entry.events.map((each) => ({ ...each, count: each.count + 1 })) }
                : entry,
            )
        },
      ],
      [`not_reserved ${at}`, 'the reservation', (entries) => entries.filter(({ type }) => type !== 'reserve')],
      [
        `over_lifetime_budget ${at}`,
        'a smaller budget',
        (entries) =>
          entries.map((entry) =>
            entry.type === 'register'
              ? { ...entry, dataset: { ...entry.dataset, budget: { epsilon: 0.1, delta: 1e-5 } } }
              : entry,
          ),
      ],
    ]
    for (const [fault, what, change] of cases)
      expect([what, await faultOf(auditOf(await forged(change)))]).toEqual([what, fault])
    // Whoever audits the run is told as well that its charges were left out of the dataset's log.
    const nothing = await forged((entries) => entries.slice(0, 1))
    const audit = auditRun(sourceOf(nothing), { run: theatre.runId, ...signed() })
    expect(await faultOf(audit)).toBe(`hidden_charge ${at}`)
    expect(await faultOf(auditOf(nothing)), 'the dataset log alone can not know of it').toBe('holds')
    const gone = new Map(theatre.objects.objects)
    gone.delete(run)
    expect(await faultOf(auditOf(gone))).toBe(`truncated ${run}`)
  })
})

const event = gaussianEvent({ noiseMultiplier: 2, samplingRate: 0.1 })
const registered = { id: 'north', units: 1000, unit: 'record' as const, budget: { epsilon: 3, delta: 1e-5 } }
const register: DatasetEntry = { type: 'register', dataset: registered }
const reserve: DatasetEntry = { type: 'reserve', run: 'r', events: [{ event, count: 2 }] }
const charge = (lease: string, reserved = true, run = 'r'): DatasetEntry => ({
  type: 'charge',
  run,
  lease,
  event,
  reserved,
})
const release = (count: number): DatasetEntry => ({
  type: 'release',
  run: 'r',
  events: count === 0 ? [] : [{ event, count }],
})
const count = { noiseMultiplier: 20 }
const counted: DatasetEntry = { type: 'register', dataset: { ...registered, count } }
const itsCount: DatasetEntry = { type: 'charge', run: COUNT, lease: COUNT, event: countEvent(count), reserved: false }
const freeze = (frozen: boolean): DatasetEntry => ({ type: 'freeze', frozen })

describe('the rules of the log of a dataset', () => {
  const codeOf = (...entries: DatasetEntry[]) => {
    try {
      verifyDataset(datasetLog.append(EMPTY_LOG, entries, 1).segment.records)
      return 'holds'
    } catch (error) {
      return error instanceof LedgerError ? error.code : String(error)
    }
  }

  it.each<[string, DatasetEntry[], string]>([
    ['nothing but a registration', [register], 'holds'],
    ['a reservation, drawn on and released', [register, reserve, charge('a'), release(1)], 'holds'],
    ['a charge that asked the budget', [register, charge('a', false)], 'holds'],
    ['a count, paid first', [counted, itsCount, reserve], 'holds'],
    ['a freeze, and its end', [register, freeze(true), freeze(false), reserve], 'holds'],
    ['no registration', [reserve], 'not_a_record'],
    ['two registrations', [register, register], 'out_of_order'],
    ['a second reservation', [register, reserve, reserve], 'out_of_order'],
    ['a reservation in a freeze', [register, freeze(true), reserve], 'out_of_order'],
    ['a charge in a freeze', [register, reserve, freeze(true), charge('a')], 'out_of_order'],
    ['a freeze of what is frozen', [register, freeze(false)], 'out_of_order'],
    ['a lease charged twice', [register, reserve, charge('a'), charge('a')], 'out_of_order'],
    ['more than was reserved', [register, reserve, charge('a'), charge('b'), charge('c')], 'not_reserved'],
    ["another run's reservation", [register, reserve, charge('a', true, 's')], 'not_reserved'],
    ['a release of more than is left', [register, reserve, charge('a'), release(2)], 'not_reserved'],
    ['a release of less than is left', [register, reserve, release(0)], 'not_reserved'],
    ['a second release', [register, reserve, release(2), release(0)], 'not_reserved'],
    ['a count that nobody paid for', [counted], 'out_of_order'],
    ['a count paid late', [counted, charge('a', false), itsCount], 'out_of_order'],
    ['a count of a dataset that has none', [register, itsCount], 'out_of_order'],
    [
      'more than the budget pays for',
      [register, { type: 'reserve', run: 'r', events: [{ event, count: 1e6 }] }],
      'over_lifetime_budget',
    ],
  ])('%s', (_, entries, code) => {
    expect(codeOf(...entries)).toBe(code)
  })
})
