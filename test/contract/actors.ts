import { expect, it } from 'vitest'
import type { Remote } from '../../coordinator/api/index.ts'
import type { DatasetActor } from '../../coordinator/dataset/index.ts'
import type { Run } from '../../coordinator/run/index.ts'
import type { Lease } from '../../shared/api/index.ts'
import { verifyRun } from '../../shared/ledger/index.ts'
import { type AuditedLog, auditLog } from '../rehearsal/audit.ts'
import { smallSpec } from '../rehearsal/request.ts'
import { type Player, playerOf, repeatableReport } from '../rehearsal/worker.ts'

/** How an actor may lose its memory: told beforehand, or in the middle of what it does. */
export type Loss = 'evicted' | 'aborted'

/** One run and its datasets, on some host. */
export interface ActorStage {
  readonly runId: string
  /** Ids of two datasets that nobody has registered yet, ascending. */
  readonly datasets: readonly [string, string]
  run(): Remote<Run>
  dataset(id: string): Remote<DatasetActor>
  /** Every actor forgets what is not stored. */
  lose(loss: Loss): Promise<void>
  /** Fires the alarm of the run, asked for or not. */
  fireAlarm(): Promise<void>
  /** Lets time pass. */
  pass(ms: number): Promise<void>
  /** The log as it lies in the object store, every record checked. */
  log(): Promise<AuditedLog>
}

const LEASE_SECONDS = 0.5
const REQUEST = {
  leaseSeconds: LEASE_SECONDS * 120,
  stages: [
    { rounds: 2, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 },
    { rounds: 1, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 },
  ],
}

/** Of the state that a run of this spec and these reports ends with, wherever it is computed. */
const STATE_HASH = '73ee6d4bc75bd60c9aa4b910922ab77eed225164d6f9e3dc9eceb5fd76a7bf56'

/** What an actor is told of a worker. */
const callerOf = ({ id, dataset, publicKey }: Player) => ({ id, dataset, publicKey })

const specFor = ({ datasets }: ActorStage, change: object = {}) => smallSpec(datasets, { ...REQUEST, ...change })

async function register(stage: ActorStage, epsilon = 20): Promise<void> {
  for (const id of stage.datasets) {
    const budget = { epsilon, delta: 1e-5 }
    await stage.dataset(id).register({ id, units: 1000, unit: 'record', budget })
  }
}

const reportFor = async (stage: ActorStage, player: Player, lease: Lease, shift = 0) =>
  repeatableReport((await stage.run().describe())!, player, lease, shift)

/** Something that happens between two steps of a run. */
type Between = (stage: ActorStage) => Promise<void>

/** A whole run; `between` is called before its first step and after each. @returns the number of steps */
async function wholeRun(stage: ActorStage, between: (step: number) => Promise<void>): Promise<number> {
  const players = await Promise.all(stage.datasets.map((id) => playerOf(`worker-${id}`, id)))
  let steps = 0
  const step = async <T>(work: () => T): Promise<Awaited<T>> => {
    await between(steps++)
    return await work()
  }
  await step(() => register(stage))
  await step(() => stage.run().create(stage.runId, specFor(stage)))
  for (let round = 0; round < 3; round++) {
    for (const player of players) {
      const lease = await step(() => stage.run().takeLease(callerOf(player)))
      expect(lease).toMatchObject({ round, dataset: player.dataset, attempt: 0 })
      const again = await step(() => stage.run().heldLease(callerOf(player)))
      expect(again).toMatchObject({ id: lease!.id })
      const report = await reportFor(stage, player, lease!)
      await step(() => stage.run().report(callerOf(player), lease!.id, report))
      await stage.run().idle()
    }
  }
  await between(steps++)
  // Whatever was cut short, a worker that asks again sets going.
  await stage.run().takeLease(callerOf(players[0]!))
  return steps
}

/** One history, complete, each lease charged once in log and ledger alike. */
async function check(stage: ActorStage): Promise<string> {
  const { records } = await stage.log()
  const audited = auditLog(records)
  expect(records.at(-1)).toMatchObject({ type: 'end', outcome: 'completed', stateHash: audited.stateHash })
  expect(records.filter((record) => record.type === 'charge')).toHaveLength(6)
  for (const id of stage.datasets) {
    const described = await stage.dataset(id).describe()
    expect(described?.spent).toMatchObject({ epsilon: audited.odometer[id], charges: 3 })
  }
  expect(await stage.run().describe()).toMatchObject({ state: 'completed', stateHash: audited.stateHash })
  return audited.stateHash
}

const HAPPENINGS: Record<string, Between> = {
  'every actor evicted': (stage) => stage.lose('evicted'),
  'every actor aborted': (stage) => stage.lose('aborted'),
  'an alarm that nobody asked for': (stage) => stage.fireAlarm(),
  'an alarm, and one more': async (stage) => {
    await stage.fireAlarm()
    await stage.fireAlarm()
  },
  'an abort in the middle of an alarm': async (stage) => {
    const alarm = stage.fireAlarm().catch(() => undefined)
    await stage.lose('aborted')
    await alarm
  },
}

/** What run and dataset actors promise on every host. */
export function actorContract(open: () => Promise<ActorStage>): void {
  it('works a run off, and the same with anything between any two steps', async () => {
    const quiet = await open()
    const steps = await wholeRun(quiet, async () => undefined)
    const hash = await check(quiet)
    expect(hash, 'the same bits on every host').toBe(STATE_HASH)
    expect(steps).toBe(21)
    for (const [name, happens] of Object.entries(HAPPENINGS)) {
      for (let at = 0; at < steps; at++) {
        const stage = await open()
        await wholeRun(stage, async (step) => (step === at ? await happens(stage) : undefined))
        expect(await check(stage), `${name} before step ${at}`).toBe(hash)
      }
    }
  })

  it('waits for public work, whatever is lost between asking and answering', async () => {
    const [stageOne] = REQUEST.stages
    const change = {
      space: { kind: 'pruned', tensors: [{ name: 'a', shape: [4, 5], kept: 6 }], mask: 'c'.repeat(64) },
      stages: [
        { ...stageOne, rounds: 1 },
        { ...stageOne, rounds: 1, prune: { keep: 0.5 } },
      ],
      evaluation: { data: 'e'.repeat(64), every: 1 },
    }
    const hashes = new Set<string>()
    for (const loss of ['evicted', 'aborted', null] as const) {
      const stage = await open()
      await register(stage)
      await stage.run().create(stage.runId, specFor(stage, change))
      const players = await Promise.all(stage.datasets.map((id) => playerOf(`worker-${id}`, id)))
      const kinds: string[] = []
      for (let turn = 0; turn < 8; turn++) {
        const player = players[turn % 2]!
        const lease = await stage.run().takeLease(callerOf(player))
        if (!lease) continue
        kinds.push(lease.kind)
        if (loss) await stage.lose(loss)
        const report = await reportFor(stage, player, lease)
        await stage.run().report(callerOf(player), lease.id, report)
        await stage.run().idle()
      }
      expect(kinds).toEqual(['evaluation', 'round', 'round', 'evaluation', 'mask', 'round', 'round', 'evaluation'])
      const { records } = await stage.log()
      verifyRun(records)
      hashes.add(auditLog(records).stateHash)
      expect(await stage.run().describe()).toMatchObject({ state: 'completed', evaluation: { round: 2, correct: 52 } })
    }
    expect(hashes.size).toBe(1)
  })

  it('keeps the first report of a lease, whatever was lost in between', async () => {
    const stage = await open()
    await register(stage)
    await stage.run().create(stage.runId, specFor(stage))
    const player = await playerOf('worker', stage.datasets[0])
    const lease = (await stage.run().takeLease(callerOf(player)))!
    const report = await reportFor(stage, player, lease)
    await stage.run().report(callerOf(player), lease.id, report)
    for (const loss of ['evicted', 'aborted'] as const) {
      await stage.lose(loss)
      await stage.run().report(callerOf(player), lease.id, report)
      const other = await reportFor(stage, player, lease, 1)
      const refused = Promise.resolve(stage.run().report(callerOf(player), lease.id, other))
      await expect(refused).rejects.toMatchObject({ name: 'RunError', code: 'report_conflict' })
    }
  })

  it('charges a lost lease again, once, and closes its round', async () => {
    const stage = await open()
    await register(stage)
    await stage.run().create(stage.runId, specFor(stage, { leaseSeconds: LEASE_SECONDS }))
    const player = await playerOf('worker', stage.datasets[0])
    const first = (await stage.run().takeLease(callerOf(player)))!
    await stage.lose('aborted')
    await stage.pass(LEASE_SECONDS * 1000 + 100)
    await stage.fireAlarm()
    const late = await reportFor(stage, player, first)
    const refused = Promise.resolve(stage.run().report(callerOf(player), first.id, late))
    await expect(refused).rejects.toMatchObject({ name: 'RunError', code: 'lease_closed' })
    const second = (await stage.run().takeLease(callerOf(player)))!
    expect(second).toMatchObject({ round: 0, attempt: 1 })
    expect(await stage.dataset(stage.datasets[0]).describe()).toMatchObject({ spent: { charges: 2 } })
  })

  it('ends the run where a dataset can not pay', async () => {
    const stage = await open()
    await register(stage, 0.05)
    await stage.run().create(stage.runId, specFor(stage))
    await stage.run().idle()
    await stage.lose('aborted')
    expect(await stage.run().describe()).toMatchObject({ state: 'budget_exhausted' })
    expect(await stage.dataset(stage.datasets[0]).describe()).toMatchObject({ spent: { charges: 0 } })
  })
}
