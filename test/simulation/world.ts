import { DatasetActor } from '../../coordinator/dataset/index.ts'
import { NodeStorage } from '../../coordinator/hosts/node-storage.ts'
import { LogFaultError, type LogKey, openLogKey } from '../../coordinator/ledger/index.ts'
import { StoreError } from '../../coordinator/objects/index.ts'
import { type DatasetLedger, faultCode, Run, RunError } from '../../coordinator/run/index.ts'
import { StorageError } from '../../coordinator/storage/index.ts'
import type { Lease, Report, RunSpec } from '../../shared/api/index.ts'
import { backupOf } from '../rehearsal/backup.ts'
import { smallSpec } from '../rehearsal/request.ts'
import { MemoryStore, Stagehand } from '../rehearsal/theatre.ts'
import { type Player, playerOf, repeatableReport } from '../rehearsal/worker.ts'
import type { Operation } from './operations.ts'

export const DATASETS = ['north', 'south'] as const
export const RUNS = ['run-0', 'run-1', 'run-2'] as const
/** Two of a dataset: they compete for its leases. */
const WORKERS = ['north', 'north', 'south', 'south'] as const
const START = 1_800_000_000_000
const POLICY = { maxEpsilon: null, minNoiseMultiplier: null, minDatasets: null, models: null }
const SPEC = { leaseSeconds: 60, deadlineSeconds: 100, quorum: 1 }

/** A part of the coordinator that lies to the others: with one of these a simulation has to find that something is wrong. */
export type Sabotage =
  /** A dataset says that it was charged, and was not. */
  | 'uncharged'
  /** The object store says that it has what it has not. */
  | 'unstored'
  /** A report is answered before it is kept. */
  | 'unkept'

const specs = new Map<number, RunSpec>()

/** Of a run of so many rounds and one more; its noise is calibrated once. */
function specOf(size: number): RunSpec {
  const stage = { rounds: size + 1, learningRate: 0.1, radius: 0.01, directions: 2, clip: 1, samplingRate: 0.1 }
  const spec = specs.get(size) ?? smallSpec(DATASETS, { ...SPEC, stages: [stage], budget: { epsilon: 1, delta: 1e-5 } })
  specs.set(size, spec)
  return spec
}

interface Site {
  readonly player: Player
  lease: Lease | null
  /** Its outbox: outlives its crashes. */
  written: Report | null
  /** Every report that it ever sent, newest last. */
  readonly sent: Report[]
}

/** A report that its sender was told is stored. */
export interface Accepted {
  readonly run: string
  readonly round: number
  readonly dataset: string
  readonly lease: string
  readonly integers: readonly number[]
}

/** The real actors over databases and an object store in memory; the clock, the network and every fault in the hands of a schedule. */
export class World {
  readonly stagehand = new Stagehand()
  readonly objects: MemoryStore
  readonly runs = new Map<string, Run>()
  readonly datasets = new Map<string, DatasetActor>()
  readonly sites: Site[] = []
  /** What workers were told, by lease. */
  readonly accepted = new Map<string, Accepted>()
  /** Leases that workers were handed, with the signed note that came with each. */
  readonly handed: Lease[] = []
  /** Runs and datasets whose database was put back to what it was before. */
  readonly restored = new Set<string>()
  now = START
  readonly #databases = new Map<string, NodeStorage>()
  readonly #backups = new Map<string, NodeStorage>()
  readonly #alarms = new Map<string, number | null>()
  readonly #created = new Set<string>()
  readonly #sabotage: Sabotage | null
  #key!: LogKey

  private constructor(sabotage: Sabotage | null) {
    this.#sabotage = sabotage
    this.objects = new MemoryStore(this.stagehand)
    if (sabotage !== 'unstored') return
    const { create } = this.objects
    this.objects.create = async (key, bytes) =>
      key.includes('/log/') && key.startsWith('runs/') && !key.endsWith('00000000.jsonl')
        ? 'created'
        : await create.call(this.objects, key, bytes)
  }

  static async open(sabotage: Sabotage | null = null): Promise<World> {
    const world = new World(sabotage)
    world.#key = await openLogKey('simulation', new Uint8Array(32))
    for (const id of DATASETS) {
      world.#databases.set(id, new NodeStorage(':memory:'))
      await world.#openDataset(id)
      // Enough for two of the runs, not for three.
      await world.datasets
        .get(id)!
        .register({ id, units: 1000, unit: 'record', budget: { epsilon: 1.75, delta: 1e-5 } })
    }
    for (const [index, dataset] of WORKERS.entries())
      world.sites.push({ player: await playerOf(`w-${index}`, dataset), lease: null, written: null, sent: [] })
    return world
  }

  get publicKey(): Uint8Array<ArrayBuffer> {
    return this.#key.publicKey
  }

  /** Ids of runs that were asked for. */
  created(): string[] {
    return [...this.#created]
  }

  /** Does one thing, and everything that follows from it at once. @throws what no part may throw */
  async perform(operation: Operation): Promise<void> {
    await this.#perform(operation)
    await this.idle()
  }

  async idle(): Promise<void> {
    for (const run of this.runs.values()) await run.idle()
    for (const dataset of this.datasets.values()) await dataset.idle()
  }

  /** Ends all faults, and lets everybody work until nothing is left to do. */
  async finish(): Promise<void> {
    this.objects.fault = null
    this.stagehand.mishap = null
    for (let turn = 0; turn < 60 && (turn < 2 || (await this.#isAtWork())); turn++) {
      for (const dataset of DATASETS.keys()) await this.perform({ op: 'freeze', dataset, frozen: false })
      for (const run of RUNS.keys()) await this.perform({ op: 'resume', run })
      for (const worker of [...WORKERS.keys(), ...WORKERS.keys(), ...WORKERS.keys()])
        await this.perform({ op: 'work', worker, fate: 'arrives', value: turn })
      await this.perform({ op: 'advance', seconds: 30 })
    }
  }

  async #isAtWork(): Promise<boolean> {
    for (const run of this.runs.values()) {
      const facts = await run.describe()
      if (facts?.state === 'running' || facts?.state === 'paused') return true
      if (facts && facts.state !== 'failed' && !this.objects.objects.has(`runs/${facts.id}/checkpoint`)) return true
    }
    return false
  }

  async #perform(operation: Operation): Promise<void> {
    switch (operation.op) {
      case 'open':
        return await this.#open(RUNS[operation.run % RUNS.length]!, operation.size)
      case 'work':
        return await this.#work(this.#site(operation.worker), operation)
      case 'mutate':
        return await this.#mutate(this.#site(operation.worker), operation.value)
      case 'resubmit':
        return await this.#resubmit(this.#site(operation.worker), operation.back)
      case 'worker crash':
        this.#site(operation.worker).lease = null
        return
      case 'crash':
        for (const id of [...DATASETS, ...this.#created]) await this.#reopen(id)
        return
      case 'evict':
        return await this.#reopen(this.#actor(operation.actor))
      case 'mishap':
        this.stagehand.mishap = { at: this.stagehand.writes + operation.after, mode: operation.mode }
        return
      case 'store':
        this.objects.fault = operation.down ? 'unavailable' : null
        return
      case 'alarm twice':
        for (const run of this.runs.values()) {
          run.alarm()
          run.alarm()
        }
        return
      case 'advance':
        return this.#advance(operation.seconds)
      case 'rewind':
        this.now -= operation.seconds * 1000
        return
      case 'freeze':
        await this.#attempt(() =>
          this.datasets.get(DATASETS[operation.dataset]!)!.setPolicy({ ...POLICY, frozen: operation.frozen }),
        )
        return
      case 'pause':
      case 'resume':
      case 'cancel': {
        const run = this.runs.get(RUNS[operation.run % RUNS.length]!)
        const { op } = operation
        if (run) await this.#attempt(() => (op === 'cancel' ? run.cancel() : run.setPaused(op === 'pause')))
        return
      }
      case 'corrupt':
        // The checks flip what they find: see `invariants.ts`.
        return
      case 'backup': {
        const id = this.#actor(operation.actor)
        this.#backups.set(id, backupOf(this.#databases.get(id)!))
        return
      }
      case 'restore': {
        const id = this.#actor(operation.actor)
        const backup = this.#backups.get(id)
        if (!backup) return
        this.restored.add(id)
        this.#databases.set(id, backupOf(backup))
        return await this.#reopen(id)
      }
    }
  }

  #site(worker: number): Site {
    return this.sites[worker % this.sites.length]!
  }

  /** The actor at a place in the list of datasets and runs. */
  #actor(place: number): string {
    const all = [...DATASETS, ...this.#created]
    return all[place % all.length]!
  }

  /** Does what may fail as parts fail: by a code that is known. @returns undefined where it did; what was done is unknown then */
  async #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      const isKnown =
        error instanceof RunError ||
        error instanceof StoreError ||
        error instanceof StorageError ||
        error instanceof LogFaultError
      if (!isKnown) throw error
      return undefined
    }
  }

  async #open(id: string, size: number): Promise<void> {
    if (!this.#created.has(id)) {
      this.#databases.set(id, new NodeStorage(':memory:'))
      this.#created.add(id)
      await this.#reopen(id)
    }
    const spec = specOf(size)
    const run = this.runs.get(id)
    if (run) await this.#attempt(() => run.create(id, spec))
  }

  async #reopen(id: string): Promise<void> {
    const isDataset = (DATASETS as readonly string[]).includes(id)
    await (this.runs.get(id) ?? this.datasets.get(id))?.idle()
    // An actor whose database did not open is opened at the next call; here: tried until it does.
    for (;;) {
      const opened = await this.#attempt(async () => {
        await (isDataset ? this.#openDataset(id) : this.#openRun(id))
        return true
      })
      if (opened) break
    }
    if (!isDataset) await this.runs.get(id)!.resume()
  }

  async #openDataset(id: string): Promise<void> {
    const actor = await DatasetActor.open({
      storage: this.stagehand.storage(this.#databases.get(id)!),
      objects: this.objects,
      logKey: this.#key,
      now: () => this.now,
      onFault: (error) => void this.#known(error),
    })
    this.datasets.set(id, actor)
  }

  async #openRun(id: string): Promise<void> {
    const run = await Run.open({
      storage: this.stagehand.storage(this.#databases.get(id)!),
      objects: this.objects,
      logKey: this.#key,
      datasets: this.#ledger(),
      now: () => this.now,
      setAlarm: (at) => void this.#alarms.set(id, at),
      ring: () => undefined,
      announce: async () => undefined,
      onFault: (_, code) => {
        if (code === 'internal') throw new Error(`an unknown fault of ${id}`)
      },
      checkpointEvery: 2,
    })
    this.runs.set(id, run)
  }

  #known(error: unknown): void {
    if (faultCode(error) === 'internal') throw error
  }

  #ledger(): DatasetLedger {
    const of = (id: string) => this.datasets.get(id)!
    return {
      charge: async (id, charge, options) =>
        this.#sabotage === 'uncharged' && !options?.dryRun ? 'charged' : await of(id).charge(charge, options),
      reserve: async (id, reservation) => await of(id).reserve(reservation),
      release: async (id, run, charged) => await of(id).release(run, this.#sabotage === 'uncharged' ? [] : charged),
    }
  }

  #advance(seconds: number): void {
    this.now += seconds * 1000
    for (const [id, at] of this.#alarms) {
      if (at === null || at > this.now) continue
      this.#alarms.set(id, null)
      this.runs.get(id)?.alarm()
    }
  }

  async #work(site: Site, { fate, value }: Extract<Operation, { op: 'work' }>): Promise<void> {
    if (site.written) await this.#send(site, site.written, fate)
    else if (site.lease) await this.#write(site, site.lease, value)
    else await this.#lease(site, fate)
  }

  /** Asks every run of the dataset, as the API does for a worker that waits for work. */
  async #lease(site: Site, fate: string): Promise<void> {
    if (fate === 'request lost') return
    for (const run of this.runs.values()) {
      const lease = await this.#attempt(
        async () => (await run.heldLease(site.player)) ?? (await run.takeLease(site.player)),
      )
      if (!lease) continue
      this.handed.push(lease)
      if (fate !== 'reply lost') site.lease = lease
      return
    }
  }

  /** Bytes are kept before the first is sent. */
  async #write(site: Site, lease: Lease, value: number): Promise<void> {
    const facts = await this.#attempt(() => this.runs.get(lease.run)!.describe())
    if (!facts) return
    site.written = await repeatableReport(facts, site.player, lease, value)
    site.lease = null
  }

  async #send(site: Site, report: Report, fate: string): Promise<void> {
    if (fate === 'request lost') return
    site.sent.push(report)
    const told = await this.#deliver(site, report)
    // What was answered for good is done with; anything else is sent again.
    if (told !== 'unknown' && fate === 'arrives') site.written = null
  }

  async #deliver({ player }: Site, report: Report): Promise<'stored' | 'refused' | 'unknown'> {
    const run = this.runs.get(report.run)!
    if (this.#sabotage === 'unkept' && this.stagehand.writes % 3 === 0) this.#note(report)
    try {
      await run.report(player, report.lease, report)
      this.#note(report)
      return 'stored'
    } catch (error) {
      if (error instanceof RunError) return 'refused'
      if (error instanceof StoreError || error instanceof StorageError) return 'unknown'
      throw error
    }
  }

  #note(report: Report): void {
    if (report.kind !== 'round') return
    const { run, round, dataset, lease, integers } = report
    const before = this.accepted.get(lease)
    const isOther = before && before.integers.join() !== integers.join()
    if (isOther && !this.restored.has(run)) throw new Error(`two reports of lease ${lease} were accepted`)
    this.accepted.set(lease, { run, round, dataset, lease, integers })
  }

  async #mutate(site: Site, value: number): Promise<void> {
    const last = site.sent.at(-1)
    if (last?.kind !== 'round') return
    const { signature: _, ...unsigned } = last
    const integers = last.integers.map((n) => n + 1 + value)
    await this.#deliver(site, await site.player.signer.sign({ ...unsigned, integers }))
  }

  async #resubmit(site: Site, back: number): Promise<void> {
    const report = site.sent.at(-1 - back)
    if (report) await this.#deliver(site, report)
  }
}
