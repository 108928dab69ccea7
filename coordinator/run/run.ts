import type {
  Curves,
  Lease,
  PublicReport,
  Report,
  ReportMetadata,
  Round,
  RoundDetail,
  RunSpec,
  StageProgress,
  UnsignedLease,
} from '../../shared/api/index.ts'
import {
  awaitedWork,
  canonicalJson,
  hashHex,
  hashOf,
  isAnswer,
  type RunEntry,
  type RunRecord,
} from '../../shared/ledger/index.ts'
import { adapterFile, adapterKey, ReplayError, totalRounds } from '../../shared/zo/index.ts'
import { commitObject, StoreError } from '../objects/store.ts'
import { serialQueue } from '../storage/index.ts'
import { describeRun, type RunFacts, type RunState, stateOf } from './answer.ts'
import { datasetTopic, runTopic } from './bell.ts'
import { refusalOf, reserve, reserveRun } from './budget.ts'
import { curvesOf } from './curves.ts'
import { currentHash, diverged, endEntry, leaseAnswer, refused, type Segmented, voidEntry } from './entries.ts'
import { faultCode, RunError } from './error.ts'
import { RunLog } from './log.ts'
import type { RunPorts, WorkerCaller } from './ports.ts'
import {
  answerEntry,
  heldBy,
  isHeld,
  isLeaseFor,
  isPublicLease,
  missedEntry,
  type Offer,
  publicLease,
  readOffer,
  takenBy,
} from './public.ts'
import { checkpointsOf, recordsOf, type TimedCheckpoint, type Updates, updatesOf } from './reading.ts'
import {
  closeRound,
  fitsRound,
  isFormerLease,
  nextAlarm,
  nextCharge,
  nextStep,
  openEntries,
  type RoundFacts,
  type Step,
} from './round.ts'
import { roundOf, roundsOf, stagesOf } from './rounds.ts'
import { isSignedBy } from './signature.ts'
import { type Hold, type ReportQuestion, RunStore, type StoredReport } from './store.ts'
import { Trainer } from './trainer.ts'
import type { OpenRound, RunView, Slot } from './view.ts'

/** Closed rounds between two checkpoints, unless the host says otherwise. */
const CHECKPOINT_EVERY = 50
/** Pause before work is tried again that the object store or the disk refused. */
const RETRY_MS = 2000

/** What one actor keeps in memory; dropped as a whole after a fault of its database, and read again. */
interface Memory {
  readonly log: RunLog
  readonly trainer: Trainer
  /** Of the open round, by dataset. */
  reports: Map<string, StoredReport>
  /** Of the open round, by lease. */
  holds: Map<string, Hold>
  /** Between two rounds. */
  offer: Offer | null
  /** Of an ended run: whether its reservations are returned. */
  isReleased: boolean
}

/**
 * One run: the round state machine of DESIGN section 4 over one database and one log. Every method that changes anything goes
 * through one queue. Nothing is offered or answered that rests on a record which is not in the object store.
 */
export class Run {
  readonly #ports: RunPorts
  readonly #store: RunStore
  readonly #serial = serialQueue()
  #memory: Memory | null = null
  #announced: RunState | null = null

  private constructor(ports: RunPorts, store: RunStore) {
    this.#ports = ports
    this.#store = store
  }

  static async open(ports: RunPorts): Promise<Run> {
    return new Run(ports, await RunStore.open(ports.storage))
  }

  /** Writes the first record. Again with the same spec: goes on where it stopped. @throws RunError `conflict`; StoreError */
  async create(id: string, spec: RunSpec): Promise<void> {
    await this.#task(async () => {
      const memory = this.#load(id)
      const first = memory.log.firstRecord()
      if (first === null) await this.#append(memory, [{ type: 'spec', run: id, spec }])
      else if (first.type !== 'spec' || hashOf(first.spec) !== hashOf(spec)) throw new RunError('conflict')
      else await this.#flush(memory)
      await this.#announce(memory)
    })
    this.kick()
  }

  /** Goes on with a run that was found at start-up. */
  async resume(): Promise<void> {
    await this.#task(async () => {
      const memory = this.#load()
      this.#extendHolds(memory)
      await this.#settle(memory)
    }).catch((error: unknown) => this.#retryLater(error))
  }

  /** Lets the run do what is due, with nobody waiting. */
  kick(): void {
    void this.#task(() => this.#settle(this.#load())).catch((error: unknown) => this.#retryLater(error))
  }

  /** The alarm that was asked for. Early, late or twice: no matter. */
  alarm(): void {
    this.kick()
    // What nobody answered for is there again, for those who wait for work.
    void this.#task(async () => {
      if (this.#memory?.offer) this.#ringDatasets(this.#memory)
    })
  }

  /** Resolves when everything begun so far is done. */
  async idle(): Promise<void> {
    await this.#serial(async () => undefined)
  }

  /** The lease that a worker holds already, if it does: a restarted worker goes on without a new charge. */
  async heldLease(worker: WorkerCaller): Promise<Lease | null> {
    return await this.#task(async () => {
      const memory = this.#load()
      const { offer, log } = memory
      if (offer && log.view) return await signed(memory, heldBy(offer, log.view, { worker, now: this.#ports.now() }))
      const slot = this.#openSlot(memory, worker.dataset)
      const hold = slot && memory.holds.get(slot.lease)
      if (!slot || slot.lost || hold?.worker !== worker.id || hold.expires <= this.#ports.now()) return null
      return await signed(memory, leaseAnswer(memory.log.view!, slot, hold))
    })
  }

  /** Hands out the lease of a worker's dataset in the open round, with a new charge where the one before was lost. */
  async takeLease(worker: WorkerCaller): Promise<Lease | null> {
    return await this.#task(async () => {
      const memory = this.#load()
      await this.#settle(memory)
      const { log, offer } = memory
      if (offer && log.view && !log.fault) return await signed(memory, this.#takeOffer(memory, log.view, offer, worker))
      if (this.#openSlot(memory, worker.dataset)?.lost) await this.#chargeAgain(memory, worker.dataset)
      const slot = this.#openSlot(memory, worker.dataset)
      if (!slot || slot.lost) return null
      const known = memory.holds.get(slot.lease)
      if (known && known.worker !== worker.id) return null
      const hold = known ?? this.#handOut(memory, slot, worker.id)
      return await signed(memory, leaseAnswer(memory.log.view!, slot, hold))
    })
  }

  /**
   * Stores a report: the first for its lease stays. It is stored when this returns; the round closes after.
   * @throws RunError `not_found`, `forbidden`, `bad_report`, `bad_signature`, `report_conflict`, `lease_closed`; StoreError
   */
  async report(worker: WorkerCaller, lease: string, report: Report): Promise<void> {
    const { publicKey } = worker
    if (publicKey === null || !(await isSignedBy(report, publicKey))) throw new RunError('bad_signature')
    await this.#task(async () => {
      const memory = this.#load()
      const view = viewFor(memory, worker)
      const bodyHash = hashOf(report)
      const named = report.lease === lease && report.run === view.id && report.dataset === worker.dataset
      if (!named || report.specHash !== view.specHash) throw new RunError('bad_report')
      if (report.kind !== 'round') return await this.#answer(memory, view, { worker, lease, report })
      const before = this.#store.reportOf(lease)
      if (before) return sameReport(before, { bodyHash, worker: worker.id })
      // A staged segment may have closed the round without this report, or voided its lease.
      await this.#flush(memory)
      const slot = this.#openSlot(memory, worker.dataset)
      if (slot?.lease !== lease || slot.lost) {
        throw new RunError(isFormerLease(view, lease, worker.dataset) ? 'lease_closed' : 'not_found')
      }
      if (memory.holds.get(lease)?.worker !== worker.id) throw new RunError('forbidden')
      const { round, integers, dataset, signature } = report
      if (round !== view.open?.round || !fitsRound(view.spec, report)) throw new RunError('bad_report')
      // A worker that replayed to another state evaluated another model.
      if (report.stateHash !== currentHash(view)) throw new RunError('bad_report')
      const bytes = canonicalJson(report).length
      const { taken } = memory.holds.get(lease)!
      const times = { taken, received: Math.floor(this.#ports.now()) }
      const kept = {
        lease,
        round,
        dataset,
        worker: worker.id,
        publicKey,
        bodyHash,
        integers,
        signature,
        bytes,
        ...times,
      }
      this.#store.keepReport(kept)
      memory.reports.set(dataset, kept)
    })
    this.kick()
  }

  /** Ends the run. Again: the same. @throws RunError `run_ended` where it ended otherwise. */
  async cancel(): Promise<void> {
    await this.#task(async () => {
      const memory = this.#load()
      const view = await this.#stored(memory)
      if (view.end?.outcome === 'cancelled') return await this.#settle(memory)
      if (view.end || memory.log.fault) throw new RunError('run_ended')
      await this.#append(memory, [endEntry(view, 'cancelled')])
      await this.#settle(memory)
    })
  }

  /**
   * Lets no round open after the one that is open, or lets it go on. Again: the same.
   * @throws RunError `run_ended`, `not_found`; StoreError
   */
  async setPaused(paused: boolean): Promise<void> {
    await this.#task(async () => {
      const memory = this.#load()
      const view = await this.#stored(memory)
      if (view.end || memory.log.fault) throw new RunError('run_ended')
      if ((view.paused !== null) !== paused)
        await this.#append(memory, [paused ? { type: 'pause', frozen: null } : { type: 'resume' }])
      await this.#settle(memory)
    })
  }

  /** The run as its stored log says, or null before its first record. Reading waits for no object store that is slow. */
  async describe(): Promise<RunFacts | null> {
    const memory = this.#find()
    if (!memory?.log.view) return null
    const { view, fault, reason } = memory.log
    return describeRun({ round: this.#facts(memory, view), view, fault, reason, traffic: this.#store.traffic() })
  }

  /** Stored segments from the one that holds record `after`, and the newest checkpoint. @throws RunError `not_found` */
  async updates(after: number): Promise<Updates> {
    return updatesOf(this.#store, this.#load().log, after)
  }

  /** Records of the stored log from a seq on, and whether more can come. */
  async records(from: number): Promise<{ records: RunRecord[]; ended: boolean }> {
    return recordsOf(this.#store, this.#load().log, from)
  }

  /** Stored checkpoints, newest first. */
  async checkpoints(most: number): Promise<TimedCheckpoint[]> {
    this.#load()
    return checkpointsOf(this.#store, most)
  }

  async stages(): Promise<StageProgress[]> {
    return stagesOf(viewOf(this.#load()))
  }

  /** Rounds before one, newest first. */
  async rounds(page: { before: number; limit: number }): Promise<{ items: Round[]; next: string | null }> {
    return roundsOf(this.#store, viewOf(this.#load()), page)
  }

  /** Closed rounds from one on, in columns. */
  async curves(page: { after: number; limit: number }): Promise<Curves> {
    return curvesOf(this.#store, viewOf(this.#load()), page)
  }

  async round(round: number): Promise<RoundDetail | null> {
    return roundOf(this.#store, viewOf(this.#load()), round)
  }

  /** What is known of accepted reports, newest first. */
  async reports(question: ReportQuestion): Promise<{ items: ReportMetadata[]; next: string | null }> {
    return this.#store.reportsBefore(question)
  }

  /** The view of a log that was compared with the bucket, all that is staged stored. @throws RunError `not_found`; StoreError */
  async #stored(memory: Memory): Promise<RunView> {
    await memory.log.inspect()
    await this.#flush(memory)
    if (!memory.log.view) throw new RunError('not_found')
    return memory.log.view
  }

  /** Runs a task alone. A fault of the database leaves its outcome unknown: memory is dropped and read again. */
  async #task<T>(task: () => Promise<T>): Promise<T> {
    return await this.#serial(async () => {
      const before = this.#memory?.log.view?.head.size
      try {
        return await task()
      } catch (error) {
        const isGrown = this.#memory?.log.view?.head.size !== before
        if (!(error instanceof RunError || error instanceof StoreError)) this.#memory = null
        // What was left half done goes on by itself, and so does what a record leads to that another task had staged.
        if (!(error instanceof RunError)) this.#ports.setAlarm(this.#ports.now() + RETRY_MS)
        else if (isGrown) this.#ports.setAlarm(this.#ports.now())
        throw error
      }
    })
  }

  /** @throws RunError `not_found` before the first record. */
  #load(newId?: string): Memory {
    const memory = this.#find(newId)
    if (!memory) throw new RunError('not_found')
    return memory
  }

  #find(newId?: string): Memory | null {
    if (this.#memory) return this.#memory
    const log = RunLog.load({ store: this.#store, objects: this.#ports.objects, key: this.#ports.logKey }, newId)
    if (!log) return null
    const trainer = new Trainer(this.#store, this.#ports.objects)
    const memory: Memory = { log, trainer, reports: new Map(), holds: new Map(), offer: null, isReleased: false }
    this.#readRound(memory)
    this.#memory = memory
    return memory
  }

  /** Reads reports and holds of the open round, or what is offered between two. */
  #readRound(memory: Memory): void {
    const open = memory.log.view?.open
    const reports = open ? this.#store.reportsOf(open.round) : []
    memory.reports = new Map(reports.map((report) => [report.dataset, report]))
    const holds = [...(open?.slots.values() ?? [])].flatMap((slot) => this.#store.holdOf(slot.lease) ?? [])
    memory.holds = new Map(holds.map((hold) => [hold.lease, hold]))
    const { view, fault } = memory.log
    memory.offer = view && !fault ? readOffer(this.#store, view) : null
  }

  /** A worker could not report while the coordinator was away: its lease gets its full time again. */
  #extendHolds(memory: Memory): void {
    const leaseMs = (memory.log.view?.spec.leaseSeconds ?? 0) * 1000
    const extended = (hold: Hold): Hold => {
      const longer = { ...hold, expires: Math.max(hold.expires, Math.ceil(this.#ports.now() + leaseMs)) }
      this.#store.hold(longer)
      return longer
    }
    for (const hold of memory.holds.values()) memory.holds.set(hold.lease, extended(hold))
    if (memory.offer?.hold) memory.offer = { ...memory.offer, hold: extended(memory.offer.hold) }
  }

  #facts(memory: Memory, view: RunView): RoundFacts {
    const { reports, holds, offer } = memory
    return { view, reports, holds, offer, now: this.#ports.now() }
  }

  /** Does everything that is due, then asks for the next alarm. */
  async #settle(memory: Memory): Promise<void> {
    await memory.log.inspect()
    await this.#flush(memory)
    const { view } = memory.log
    if (!view) return
    for (let step = this.#due(memory, view); step; step = this.#due(memory, view))
      await this.#perform(memory, view, step)
    this.#ports.setAlarm(memory.log.fault ? null : nextAlarm(this.#facts(memory, view)))
    await memory.log.publish(this.#ports.now())
    if (view.end) await this.#release(memory, view)
    await this.#announce(memory)
  }

  /** Returns what an ended run has reserved, before anybody is told of its end: what is told is not looked at again. */
  async #release(memory: Memory, { id, accounts }: RunView): Promise<void> {
    memory.trainer.forget()
    if (memory.isReleased) return
    const { datasets } = this.#ports
    await Promise.all([...accounts].map(([dataset, { history }]) => datasets.release(dataset, id, history)))
    memory.isReleased = true
  }

  #due(memory: Memory, view: RunView): Step | null {
    return memory.log.fault ? null : nextStep(this.#facts(memory, view))
  }

  async #perform(memory: Memory, view: RunView, step: Step): Promise<void> {
    switch (step.kind) {
      case 'open':
        return await this.#open(memory, view)
      case 'close':
        return await this.#close(memory, view)
      case 'void':
        return await this.#append(memory, step.slots.map(voidEntry(view)))
      case 'pass':
        return await this.#append(memory, [missedEntry(step.offer)])
      case 'finish':
        return await this.#finish(memory, view)
    }
  }

  async #open(memory: Memory, view: RunView): Promise<void> {
    const next = await this.#opening(view, view.closed, currentHash(view))
    await this.#append(memory, next.entries, next.reason)
  }

  /** Closes the open round and opens the next in one commit, unless that waits for something. */
  async #close(memory: Memory, view: RunView): Promise<void> {
    const point = await this.#replayed(memory, view)
    if (!point) return
    const closed = closeRound(view.resolved, point, [...memory.reports.values()])
    if (!closed) {
      const { entries, reason } = diverged(view)
      return await this.#append(memory, entries, reason)
    }
    const round = closed.after.nextRound
    const isNext = !view.paused && round < totalRounds(view.spec.stages) && !awaitedWork({ ...view, closed: round })
    const next: Segmented = isNext ? await this.#opening(view, round, closed.stateHash) : { entries: [] }
    await this.#append(memory, [...closed.entries, ...next.entries], next.reason)
    if (view.closed === round) memory.trainer.moved(closed.after)
    await this.#checkpoint(memory, view)
  }

  /** The records that open a round, its charges made; or the record that ends the run because one was refused. */
  async #opening(view: RunView, round: number, hash: string): Promise<Segmented> {
    const { open, charges } = openEntries(view, round)
    const { datasets } = this.#ports
    const unreserved = round === 0 ? await reserveRun(view, datasets) : null
    const refusal = unreserved ?? (await reserve(view, charges, datasets))
    return refusal ? refused(refusal, hash) : { entries: [open, ...charges] }
  }

  async #chargeAgain(memory: Memory, dataset: string): Promise<void> {
    const { view } = memory.log
    const slot = view?.open?.slots.get(dataset)
    if (!view?.open || !slot) return
    const charge = nextCharge(view, view.open, slot)
    const refusal = await reserve(view, [charge], this.#ports.datasets)
    // A frozen dataset may be let go again before the round has to end.
    if (refusal?.frozen !== undefined || (refusal && (await this.#canMeetQuorum(memory, view, view.open)))) return
    const next: Segmented = refusal ? refused(refusal, currentHash(view)) : { entries: [charge] }
    await this.#append(memory, next.entries, next.reason)
    await this.#settle(memory)
  }

  /** Whether enough datasets have reported in the open round, hold a lease of it, or can pay for another. */
  async #canMeetQuorum(memory: Memory, view: RunView, open: OpenRound): Promise<boolean> {
    let able = 0
    for (const slot of open.slots.values()) {
      const hasCharge = memory.reports.has(slot.dataset) || !slot.lost
      if (hasCharge || !(await refusalOf(view, [nextCharge(view, open, slot)], this.#ports.datasets))) able += 1
    }
    return able >= view.spec.quorum
  }

  async #finish(memory: Memory, view: RunView): Promise<void> {
    const point = await this.#replayed(memory, view)
    if (!point) return
    const bytes = adapterFile(view, point.state)
    const adapter = { key: adapterKey(view.id), sha256: hashHex(bytes), bytes: bytes.length }
    await commitObject(this.#ports.objects, adapter.key, bytes)
    await this.#append(memory, [{ ...endEntry(view, 'completed'), adapter }])
  }

  /** The state after the last close; null, and the run failed, where the log leads to another than it says. */
  async #replayed(memory: Memory, view: RunView) {
    try {
      return await memory.trainer.state(view)
    } catch (error) {
      if (!(error instanceof ReplayError)) throw error
      memory.log.fail('replay_mismatch')
      return null
    }
  }

  /** A checkpoint is a cache: where it can not be stored now, the next one will be. */
  async #checkpoint(memory: Memory, view: RunView): Promise<void> {
    if (memory.log.fault || view.closed % (this.#ports.checkpointEvery ?? CHECKPOINT_EVERY) !== 0) return
    await memory.trainer.keep(view).catch((error: unknown) => this.#ports.onFault(view.id, faultCode(error)))
  }

  async #append(memory: Memory, entries: readonly RunEntry[], reason?: string): Promise<void> {
    await memory.log.append(entries, this.#ports.now(), reason)
    this.#tell(memory)
  }

  async #flush(memory: Memory): Promise<void> {
    const before = memory.log.view?.head.size
    await memory.log.flush()
    if (memory.log.view?.head.size !== before) this.#tell(memory)
  }

  /** The log grew: reads what the round is now, and wakes those who wait. */
  #tell(memory: Memory): void {
    this.#readRound(memory)
    this.#ports.ring(runTopic(memory.log.id))
    this.#ringDatasets(memory)
  }

  #ringDatasets(memory: Memory): void {
    for (const { id } of memory.log.view?.spec.datasets ?? []) this.#ports.ring(datasetTopic(id))
  }

  async #announce(memory: Memory): Promise<void> {
    const { view, fault } = memory.log
    const state = view && stateOf({ view, fault })
    if (state === null || state === this.#announced) return
    await this.#ports.announce(memory.log.id, state)
    this.#announced = state
    this.#ports.ring(runTopic(memory.log.id))
  }

  /** The slot that a dataset still has to report in. */
  #openSlot(memory: Memory, dataset: string): Slot | null {
    const { view, fault } = memory.log
    if (fault || memory.reports.has(dataset)) return null
    return view?.open?.slots.get(dataset) ?? null
  }

  #handOut(memory: Memory, slot: Slot, worker: string): Hold {
    const taken = Math.floor(this.#ports.now())
    const hold = { lease: slot.lease, worker, taken, expires: this.#expiry(memory.log.view!) }
    this.#store.hold(hold)
    memory.holds.set(slot.lease, hold)
    this.#ports.setAlarm(nextAlarm(this.#facts(memory, memory.log.view!)))
    return hold
  }

  /** Hands public work to a worker of the run, unless another one has it. */
  #takeOffer(memory: Memory, view: RunView, offer: Offer, worker: WorkerCaller): UnsignedLease | null {
    if (!view.accounts.has(worker.dataset)) return null
    const now = this.#ports.now()
    if (isHeld(offer, now)) return heldBy(offer, view, { worker, now })
    const taken = takenBy(offer, view, { worker: worker.id, taken: Math.floor(now), expires: this.#expiry(view) })
    this.#store.hold(taken.hold)
    memory.offer = taken
    this.#ports.setAlarm(nextAlarm(this.#facts(memory, view)))
    return publicLease(view, taken, worker.dataset)
  }

  /** Takes the answer to public work into the log. One that comes late is as good, where no other one came. */
  async #answer(
    memory: Memory,
    view: RunView,
    { worker, lease, report }: { worker: WorkerCaller; lease: string; report: PublicReport },
  ): Promise<void> {
    await this.#flush(memory)
    if (view.answered?.lease === lease)
      return sameReport(view.answered, { bodyHash: hashOf(report), worker: worker.id })
    const { offer, log } = memory
    if (!offer || log.fault || !isLeaseFor(view, offer, lease))
      throw new RunError(isPublicLease(view, lease) ? 'lease_closed' : 'not_found')
    if (this.#store.holdOf(lease)?.worker !== worker.id) throw new RunError('forbidden')
    if (!isAnswer(view.resolved, { work: offer.work, stateHash: currentHash(view) }, report))
      throw new RunError('bad_report')
    await this.#append(memory, [answerEntry({ worker: worker.id, publicKey: worker.publicKey! }, report)])
    // A log that may not go on took nothing.
    if (memory.log.fault) throw new RunError('run_ended')
  }

  #expiry({ spec }: RunView): number {
    return Math.ceil(this.#ports.now() + spec.leaseSeconds * 1000)
  }

  #retryLater(error: unknown): void {
    if (error instanceof RunError) return
    this.#ports.onFault(this.#memory?.log.id ?? 'unknown', faultCode(error))
    this.#ports.setAlarm(this.#ports.now() + RETRY_MS)
  }
}

/** A lease with the log that holds its charge, signed. */
async function signed({ log }: Memory, lease: UnsignedLease | null): Promise<Lease | null> {
  return lease && ({ ...lease, note: (await log.note())! } as Lease)
}

/** @throws RunError `not_found` before the first record is stored. */
function viewOf({ log }: Memory): RunView {
  if (!log.view) throw new RunError('not_found')
  return log.view
}

/** The view of a run that reads a worker's dataset; to others it does not exist. */
function viewFor(memory: Memory, worker: WorkerCaller): RunView {
  const { view } = memory.log
  if (!view?.spec.datasets.some(({ id }) => id === worker.dataset)) throw new RunError('not_found')
  return view
}

function sameReport(before: { bodyHash: string; worker: string }, now: { bodyHash: string; worker: string }): void {
  if (before.bodyHash !== now.bodyHash || before.worker !== now.worker) throw new RunError('report_conflict')
}
