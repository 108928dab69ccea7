import { DatasetActor } from '../../coordinator/dataset/index.ts'
import { NodeStorage } from '../../coordinator/hosts/node-storage.ts'
import { openLogKey } from '../../coordinator/ledger/index.ts'
import { type ObjectStore, StoreError } from '../../coordinator/objects/index.ts'
import { faultCode, Run, type RunPorts } from '../../coordinator/run/index.ts'
import { type ActorStorage, StorageError } from '../../coordinator/storage/index.ts'
import type { Lease, Report, RoundReport, RunSpec } from '../../shared/api/index.ts'
import { type AuditedLog, readTexts } from './audit.ts'
import { type smallRequest, smallSpec } from './request.ts'
import { type Player, playerOf, repeatableReport } from './worker.ts'

export type { Player }

/** One write that goes wrong: it never happened, or it happened and was reported as failed. */
export interface Mishap {
  readonly at: number
  readonly mode: 'lost' | 'kept'
}

/** Counts every transaction and every object written, and lets one of them go wrong. */
export class Stagehand {
  writes = 0
  mishap: Mishap | null = null

  /** @param fault makes the error of the part that fails. */
  perform<T>(work: () => T, fault: () => Error): T {
    const index = this.writes++
    if (this.mishap?.at !== index) return work()
    if (this.mishap.mode === 'lost') throw fault()
    const result = work()
    // A promise is waited for, so that the write is done before its failure is told.
    if (result instanceof Promise) return result.then(() => Promise.reject(fault())) as T
    throw fault()
  }

  storage(inner: ActorStorage): ActorStorage {
    let depth = 0
    return {
      sql: inner.sql,
      transactionSync: (work) => {
        const run = () => inner.transactionSync(work)
        if (depth > 0) return run()
        depth++
        try {
          return this.perform(run, () => new StorageError('unavailable'))
        } finally {
          depth--
        }
      },
    }
  }
}

/** An object store in memory. */
export class MemoryStore implements ObjectStore {
  readonly objects = new Map<string, Uint8Array>()
  readonly #stagehand: Stagehand
  /** While set, every call fails so. */
  fault: StoreError['code'] | null = null

  constructor(stagehand = new Stagehand()) {
    this.#stagehand = stagehand
  }

  async create(key: string, bytes: Uint8Array): Promise<'created' | 'exists'> {
    this.#check()
    return await this.#stagehand.perform(
      async () => {
        if (this.objects.has(key)) return 'exists' as const
        this.objects.set(key, bytes.slice())
        return 'created' as const
      },
      () => new StoreError('unavailable'),
    )
  }

  async replace(key: string, bytes: Uint8Array): Promise<void> {
    this.#check()
    await this.#stagehand.perform(
      async () => void this.objects.set(key, bytes.slice()),
      () => new StoreError('unavailable'),
    )
  }

  async fetch(key: string): Promise<Uint8Array | null> {
    this.#check()
    return this.objects.get(key) ?? null
  }

  async size(key: string): Promise<number | null> {
    this.#check()
    return this.objects.get(key)?.length ?? null
  }

  async signedGet(key: string): Promise<string> {
    return `memory:${key}`
  }

  async signedPut(key: string): Promise<string> {
    return `memory:${key}`
  }

  #check(): void {
    if (this.fault) throw new StoreError(this.fault)
  }
}

/** A run with its datasets, clock, alarms and store in the test's hands. */
export class Theatre {
  readonly stagehand = new Stagehand()
  readonly objects = new MemoryStore(this.stagehand)
  readonly runId: string
  now = 1_800_000_000_000
  alarmAt: number | null = null
  readonly announced: string[] = []
  readonly faults: string[] = []
  run!: Run
  readonly #runStorage = new NodeStorage(':memory:')
  readonly #datasets = new Map<string, DatasetActor>()
  readonly #storages = new Map<string, ActorStorage>()
  readonly checkpointEvery: number

  constructor(options: { runId?: string; checkpointEvery?: number } = {}) {
    this.runId = options.runId ?? 'run-0123456789abcdef'
    this.checkpointEvery = options.checkpointEvery ?? 2
  }

  /** A dataset that nobody has registered yet. */
  async openDataset(id: string): Promise<DatasetActor> {
    const storage = this.stagehand.storage(new NodeStorage(':memory:'))
    this.#storages.set(id, storage)
    return await this.reopenDataset(id)
  }

  /** A new actor of a dataset over what is stored. */
  async reopenDataset(id: string): Promise<DatasetActor> {
    const actor = await DatasetActor.open({
      storage: this.#storages.get(id)!,
      objects: this.objects,
      logKey: await openLogKey('rehearsal', new Uint8Array(32)),
      now: () => this.now,
      onFault: (error) => void this.faults.push(faultCode(error)),
    })
    this.#datasets.set(id, actor)
    return actor
  }

  async addDataset(id: string, epsilon = 20): Promise<DatasetActor> {
    const actor = await this.openDataset(id)
    await actor.register({ id, units: 1000, unit: 'record', budget: { epsilon, delta: 1e-5 } })
    return actor
  }

  dataset(id: string): DatasetActor {
    return this.#datasets.get(id)!
  }

  /** Shares datasets with another theatre, as two runs of one coordinator do. */
  borrowDatasets(other: Theatre): void {
    for (const [id, actor] of other.#datasets) this.#datasets.set(id, actor)
  }

  /** A new actor over what is stored: what a restart of the process makes. */
  async restart(): Promise<void> {
    // The one before may still be at work, as a process that is slow to die is not: wait for it.
    await this.run?.idle()
    this.alarmAt = null
    const ports: RunPorts = {
      storage: this.stagehand.storage(this.#runStorage),
      objects: this.objects,
      logKey: await openLogKey('rehearsal', new Uint8Array(32)),
      datasets: {
        charge: async (id, charge, options) => this.dataset(id).charge(charge, options),
        reserve: async (id, reservation) => this.dataset(id).reserve(reservation),
        release: async (id, run, charged) => this.dataset(id).release(run, charged),
      },
      now: () => this.now,
      setAlarm: (at) => {
        this.alarmAt = at
      },
      ring: () => undefined,
      announce: async (_run, state) => void this.announced.push(state),
      onFault: (_run, code) => void this.faults.push(code),
      checkpointEvery: this.checkpointEvery,
    }
    this.run = await Run.open(ports)
  }

  async begin(request: Partial<Parameters<typeof smallRequest>[0]> = {}): Promise<RunSpec> {
    const spec = this.spec(request)
    if (!this.run) await this.restart()
    await this.run.create(this.runId, spec)
    await this.run.idle()
    return spec
  }

  spec(request: Partial<Parameters<typeof smallRequest>[0]> = {}): RunSpec {
    return smallSpec([...this.#datasets.keys()], request)
  }

  /** Moves the clock, and fires the alarm where it was asked for. */
  async advance(ms: number): Promise<void> {
    this.now += ms
    if (this.alarmAt === null || this.alarmAt > this.now) return
    this.alarmAt = null
    this.run.alarm()
    await this.run.idle()
  }

  player(id: string, dataset: string): Promise<Player> {
    return playerOf(id, dataset)
  }

  /** A signed report whose integers follow from the lease, and so are the same at every try. */
  async reportFor(player: Player, lease: Lease, shift = 0): Promise<Report> {
    return await repeatableReport((await this.run.describe())!, player, lease, shift)
  }

  async roundReportFor(player: Player, lease: Lease): Promise<RoundReport> {
    return (await this.reportFor(player, lease)) as RoundReport
  }

  /** Leases, reports, and lets the run do what follows. */
  async play(player: Player): Promise<Lease | null> {
    const lease = await this.run.takeLease(player)
    if (!lease) return null
    await this.run.report(player, lease.id, await this.reportFor(player, lease))
    await this.run.idle()
    return lease
  }

  /** The log as it lies in the object store, every record checked. */
  log(): AuditedLog {
    const keys = [...this.objects.objects.keys()].filter((key) => key.startsWith(`runs/${this.runId}/log/`)).sort()
    return readTexts(keys.map((key) => new TextDecoder().decode(this.objects.objects.get(key))))
  }

  types(): string[] {
    return this.log().records.map((record) => record.type)
  }
}

/** A theatre with two datasets, and a worker of each. */
export async function twoSites(): Promise<{ theatre: Theatre; north: Player; south: Player }> {
  const theatre = new Theatre()
  await theatre.addDataset('north')
  await theatre.addDataset('south')
  return { theatre, north: await theatre.player('w-north', 'north'), south: await theatre.player('w-south', 'south') }
}

/** A run that two sites worked off to its adapter. */
export async function finishedRun(): Promise<Theatre> {
  const { theatre, north, south } = await twoSites()
  await theatre.begin()
  while (!(await theatre.run.describe())?.adapter) for (const player of [north, south]) await theatre.play(player)
  await theatre.run.idle()
  return theatre
}
