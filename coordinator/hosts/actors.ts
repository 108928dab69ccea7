import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { LogLine, Remote } from '../api/index.ts'
import { DatasetActor } from '../dataset/index.ts'
import type { Directory, RandomBytes } from '../directory/index.ts'
import type { LogKey } from '../ledger/index.ts'
import type { ObjectStore } from '../objects/index.ts'
import { type Bell, type DatasetLedger, faultCode, Run, runOfTopic } from '../run/index.ts'
import { Webhooks } from '../webhooks/index.ts'
import { NodeStorage, type NodeStorageOptions } from './node-storage.ts'

/** Longest span of a Node timer; a later alarm is asked for again when this one fires. */
const MAX_TIMER_MS = 2 ** 31 - 1

export interface ActorHost {
  readonly datasets: { get(id: string): Promise<Remote<DatasetActor>> }
  readonly runs: { get(id: string): Promise<Run> }
  readonly webhooks: Webhooks
  close(): Promise<void>
}

interface Surroundings {
  readonly folder: string
  readonly directory: Directory
  readonly objects: ObjectStore
  readonly logKey: LogKey
  readonly bell: Bell
  readonly now: () => number
  readonly random: RandomBytes
  readonly log: (line: LogLine) => void
  readonly storage: NodeStorageOptions
  readonly checkpointEvery: number | undefined
}

/** Keeps one actor for each id, opened when first asked for; what fails to open is asked for again. */
function registry<T>(open: (id: string) => Promise<T>) {
  const known = new Map<string, Promise<T>>()
  function get(id: string): Promise<T> {
    const actor = known.get(id) ?? open(id)
    known.set(id, actor)
    actor.catch(() => known.delete(id))
    return actor
  }
  return { get, all: () => [...known.values()] }
}

/** An actor whose calls are answered when what they changed outlives power loss. */
function synced<T extends object>(actor: T, storage: NodeStorage): Remote<T> {
  return new Proxy(actor, {
    get: (target, name) => {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      return async (...args: unknown[]): Promise<unknown> => {
        const answer: unknown = await method.apply(target, args)
        await storage.synced()
        return answer
      }
    },
  }) as unknown as Remote<T>
}

/** The actors of one process, one SQLite file each: `datasets/<id>.sqlite`, `runs/<id>.sqlite`, `webhooks.sqlite`. */
export async function openActors(around: Surroundings): Promise<ActorHost> {
  const files: NodeStorage[] = []
  const alarms = new Map<string, NodeJS.Timeout>()
  let closed = false

  function storageAt(kind: 'datasets' | 'runs', id: string, options: NodeStorageOptions): NodeStorage {
    mkdirSync(join(around.folder, kind), { recursive: true })
    const storage = new NodeStorage(join(around.folder, kind, `${id}.sqlite`), options)
    files.push(storage)
    return storage
  }

  const datasets = registry((id) => {
    // A charge lost to a power cut would be spent twice, and nothing else would know: these files are always synced.
    const storage = storageAt('datasets', id, { synchronous: 'normal' })
    return DatasetActor.open({
      storage,
      objects: around.objects,
      logKey: around.logKey,
      now: around.now,
      onFault: (error) => around.log({ event: 'fault', dataset: id, code: faultCode(error) }),
      synced: () => storage.synced(),
    }).then((actor) => synced(actor, storage))
  })
  const ledger: DatasetLedger = {
    charge: async (dataset, charge, options) => (await datasets.get(dataset)).charge(charge, options),
    reserve: async (dataset, reservation) => (await datasets.get(dataset)).reserve(reservation),
    release: async (dataset, run, charged) => (await datasets.get(dataset)).release(run, charged),
  }

  /** Calls `ring` at a time, in place of what was asked before under this name. */
  function setAlarm(name: string, at: number | null, ring: () => void): void {
    clearTimeout(alarms.get(name))
    alarms.delete(name)
    if (at === null || closed) return
    const ms = Math.min(Math.max(0, at - around.now()), MAX_TIMER_MS)
    alarms.set(name, setTimeout(ring, ms))
  }

  function alarmOf(id: string): void {
    runs.get(id).then(
      (run) => run.alarm(),
      () => around.log({ event: 'fault', run: id, code: 'open' }),
    )
  }

  const runs = registry((id) =>
    Run.open({
      storage: storageAt('runs', id, around.storage),
      objects: around.objects,
      logKey: around.logKey,
      datasets: ledger,
      now: around.now,
      setAlarm: (at) => setAlarm(`run/${id}`, at, () => alarmOf(id)),
      ring: (topic) => {
        around.bell.ring(topic)
        const run = runOfTopic(topic)
        if (run !== null) webhooks.notice(run)
      },
      announce: async (run, state) => around.directory.noteRun(run, state),
      onFault: (run, code) => around.log({ event: 'fault', run, code }),
      ...(around.checkpointEvery === undefined ? {} : { checkpointEvery: around.checkpointEvery }),
    }),
  )

  const webhooksFile = new NodeStorage(join(around.folder, 'webhooks.sqlite'))
  files.push(webhooksFile)
  const webhooks: Webhooks = await Webhooks.open({
    storage: webhooksFile,
    now: around.now,
    random: around.random,
    fetch,
    setAlarm: (at) => setAlarm('webhooks', at, () => webhooks.alarm()),
    records: async (run, from) => (await runs.get(run)).records(from),
    runningRuns: async () => around.directory.runningRuns(),
    onFault: (code) => around.log({ event: 'fault', code }),
  })

  async function close(): Promise<void> {
    closed = true
    for (const timer of alarms.values()) clearTimeout(timer)
    for (const run of runs.all()) await run.then((actor) => actor.idle()).catch(() => undefined)
    for (const dataset of datasets.all()) await dataset.then((actor) => actor.idle()).catch(() => undefined)
    await webhooks.close()
    for (const file of files) file.close()
  }

  return { datasets, runs, webhooks, close }
}
