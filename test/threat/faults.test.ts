import { describe, expect, it } from 'vitest'
import { verifyEd25519 } from '../../cli/audit/log.ts'
import { openLogKey } from '../../coordinator/ledger/index.ts'
import { StoreError } from '../../coordinator/objects/index.ts'
import { StorageError } from '../../coordinator/storage/index.ts'
import type { RunRequest } from '../../shared/api/index.ts'
import { auditDataset, auditRun, type RunRecord } from '../../shared/ledger/index.ts'
import { auditLog } from '../rehearsal/audit.ts'
import { type Mishap, type Player, Theatre } from '../rehearsal/theatre.ts'

const REQUEST = {
  stages: [
    { rounds: 2, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 },
    { rounds: 1, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 },
  ],
}

/** The same with public work between the rounds: an evaluation before, in the middle and after, and a mask for the second stage. */
const PUBLIC: Partial<RunRequest> = {
  space: { kind: 'pruned', tensors: [{ name: 'a', shape: [4, 5], kept: 6 }], mask: 'c'.repeat(64) },
  stages: [REQUEST.stages[0]!, { ...REQUEST.stages[1]!, prune: { keep: 0.5, score: 'magnitude' } }],
  evaluation: { data: 'e'.repeat(64), every: 2 },
}

async function setUp(): Promise<{ theatre: Theatre; players: Player[] }> {
  const theatre = new Theatre({ checkpointEvery: 2 })
  await theatre.addDataset('north')
  await theatre.addDataset('south')
  await theatre.restart()
  return { theatre, players: [await theatre.player('w-north', 'north'), await theatre.player('w-south', 'south')] }
}

const isFault = (error: unknown) => error instanceof StoreError || error instanceof StorageError

/** Does it again until it goes through: after each fault in a new process, or in the same. */
async function persist<T>(theatre: Theatre, restarts: boolean, work: () => Promise<T>): Promise<T> {
  for (let attempt = 0; attempt < 5; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (!isFault(error)) throw error
      if (restarts) await persist(theatre, false, () => theatre.restart())
    }
  }
  throw new Error('the fault did not pass')
}

/** A whole run, from create to the end, with leases checked against the object store as they are given. */
async function wholeRun(request: Partial<RunRequest>, mishap: Mishap | null, restarts: boolean) {
  const { theatre, players } = await setUp()
  theatre.stagehand.writes = 0
  theatre.stagehand.mishap = mishap
  const spec = theatre.spec(request)
  await persist(theatre, restarts, () => theatre.run.create(theatre.runId, spec))
  for (let turn = 0; turn < 12; turn++) {
    for (const player of players) {
      await persist(theatre, restarts, async () => {
        const lease = await theatre.run.takeLease(player)
        if (!lease) return
        const charged = theatre.log().records.some((record) => record.type === 'charge' && record.lease === lease.id)
        expect(charged, 'a lease that reads data stands for a stored charge').toBe(lease.kind === 'round')
        const report = await theatre.reportFor(player, lease)
        await persist(theatre, restarts, () => theatre.run.report(player, lease.id, report))
      })
      await theatre.run.idle()
    }
  }
  theatre.stagehand.mishap = null
  return theatre
}

/** What must hold at the end of every row: one history, complete, each lease charged once in log and ledger alike, every tree as signed. */
async function check(theatre: Theatre): Promise<void> {
  const { records } = theatre.log()
  expect(records.at(-1)).toMatchObject({ type: 'end', outcome: 'completed' })
  verifyAnswers(records)
  const audited = auditLog(records)
  expect(records.at(-1)).toMatchObject({ stateHash: audited.stateHash })
  for (const id of ['north', 'south']) {
    expect(theatre.dataset(id).describe()?.spent).toMatchObject({ epsilon: audited.odometer[id], charges: 3 })
  }
  expect(records.filter((record) => record.type === 'charge')).toHaveLength(6)
  const source = { read: async (key: string) => theatre.objects.objects.get(key) ?? null }
  const { publicKey } = await openLogKey('rehearsal', new Uint8Array(32))
  const signed = { name: 'rehearsal', publicKey, verify: verifyEd25519 }
  await auditRun(source, { run: theatre.runId, ...signed })
  for (const dataset of ['north', 'south'])
    expect(await auditDataset(source, { dataset, ...signed })).toMatchObject({ charges: 3, reserved: 0 })
}

/** Public work is in the log once each. */
function verifyAnswers(records: readonly RunRecord[]): void {
  const done = records.flatMap((record) =>
    record.type === 'evaluation' || record.type === 'mask' ? [`${record.type} ${record.answer?.report.round}`] : [],
  )
  const [first] = records
  const isPublic = first?.type === 'spec' && first.spec.evaluation !== null
  expect(done).toEqual(isPublic ? ['evaluation 0', 'evaluation 2', 'mask 2', 'evaluation 3'] : [])
}

describe.each([
  ['a run', REQUEST],
  ['a run with public work', PUBLIC],
])('every write of %s, lost or kept but reported lost', async (_, request) => {
  const reference = await wholeRun(request, null, false)
  const { writes } = reference.stagehand
  await check(reference)
  const { stateHash } = auditLog(reference.log().records)

  it('has writes enough to be worth a table', () => expect(writes).toBeGreaterThan(40))

  for (const mode of ['lost', 'kept'] as const) {
    for (const restarts of [true, false]) {
      it(`converges after each ${mode} write, ${restarts ? 'in a new process' : 'in the same process'}`, async () => {
        for (let at = 0; at < writes; at++) {
          const theatre = await wholeRun(request, { at, mode }, restarts)
          await check(theatre)
          expect(auditLog(theatre.log().records).stateHash, `write ${at}`).toBe(stateHash)
        }
      })
    }
  }
})
