import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Evaluation,
  type Lease,
  type LogIdentity,
  type PublicLease,
  type RoundLease,
  type RunSpec,
  type UnsignedReport,
  unsignedReportSchema,
} from '../shared/api/index.ts'
import { awaitedWork, COUNT, canonicalJson, countEvent } from '../shared/ledger/index.ts'
import type { Budget, RandomBytes } from '../shared/privacy/index.ts'
import { stateHash, type TrainedState, wantsMask } from '../shared/zo/index.ts'
import type { Coordinator } from './coordinator.ts'
import { EngineError } from './engine/index.ts'
import { WorkerError } from './error.ts'
import type { WorkerEvent } from './log.ts'
import { type Masks, makeMask, remakeMasks } from './masks.ts'
import { fetchModel } from './model-files.ts'
import { onBeat } from './pace.ts'
import { persistently } from './persist.ts'
import { checkCharge, checkSpec, type Policy } from './policy.ts'
import { composeRelease, type DifferenceOracle, type LossOracle } from './release.ts'
import { catchUp, type FollowedRun, followRun } from './run-log.ts'
import type { Site } from './site.ts'
import { requireCosigned } from './witnesses.ts'

/** An evaluator of one run's model on this site's data. */
interface Evaluator {
  /** Units as the engine reads them, for this run's task. */
  readonly units: readonly (readonly unknown[])[]
  setStage(stage: number, finished: readonly Float32Array[]): Promise<void>
  /** What the model says of the run's public data; the data of the site are not read for it. */
  evaluate(center: Float32Array): Promise<Evaluation>
  close(): Promise<void>
}

/** Of a run that trains. */
export type TrainingSite = Evaluator & LossOracle<unknown>
/** Of a statistic. */
export type StatisticSite = Evaluator & DifferenceOracle<unknown>
export type SiteEngine = TrainingSite | StatisticSite

export interface WorkerOptions {
  readonly coordinator: Coordinator
  readonly site: Site
  readonly dataset: { readonly id: string }
  readonly policy: Policy
  /** @param masks by hash, those that are no files of the model. */
  openEngine(spec: RunSpec, modelFolder: string, masks: Masks): Promise<SiteEngine>
  readonly random: RandomBytes
  /** Milliseconds: a report is sent a whole number of them after its lease came. 0, the default: as soon as it is made. */
  readonly beatMs?: number
  /** Seconds: it ends once nothing was asked of it for so long. Left out: never. */
  readonly idleSeconds?: number
  readonly log: (event: WorkerEvent) => void
  readonly signal: AbortSignal
}

/** An engine and what it was opened for. */
interface OpenEngine {
  readonly engine: SiteEngine
  /** Masks made anew that it knows of. */
  readonly masks: number
  stage: number
}

interface Job {
  readonly run: FollowedRun
  readonly modelFolder: string
  /** Masks made anew, by hash. */
  readonly masks: Map<string, Uint8Array>
  open?: OpenEngine
}

/** Where the open job stands, so that its engine is closed however the worker ends. */
interface Desk {
  /** Whose checkpoints count. */
  readonly log: LogIdentity
  /** What this site may release over all runs. */
  readonly lifetime: Budget
  job?: Job
  /** Times in a row that the device was lost. */
  losses?: number
}

const LONG_POLL_SECONDS = 25

/**
 * Leases, evaluates and reports until the signal aborts, or nothing was asked for long enough. A coordinator or store that is away is waited for; everything else
 * throws. @throws WorkerError, EngineError or DataError, each with a code and what to do.
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const { coordinator, site, signal } = options
  await persistently(options, () => coordinator.enrol(site.publicKey))
  const { log, dataset } = await persistently(options, () => coordinator.self())
  if (options.policy.logKey !== undefined && log.publicKey !== options.policy.logKey)
    throw new WorkerError('log_key_changed', 'the coordinator signs its logs by another key than --log-key says')
  site.pinLog(log)
  const lifetime = site.lifetime(dataset, options.policy.lifetime ?? {})
  if (dataset.count) site.spend.admit({ id: COUNT, run: COUNT, event: countEvent(dataset.count) }, lifetime)
  options.log({ event: 'started', dataset: options.dataset.id })
  for (const lease of site.outbox.pending()) await send(options, lease)
  const desk: Desk = { log, lifetime }
  try {
    for (let idleSeconds = 0; !signal.aborted; ) {
      // Seconds that the coordinator was asked for: one that is away says nothing of what it wants.
      const waitSeconds = Math.min(LONG_POLL_SECONDS, (options.idleSeconds ?? Number.POSITIVE_INFINITY) - idleSeconds)
      if (waitSeconds <= 0) break
      const lease = await persistently(options, () => coordinator.lease(waitSeconds))
      idleSeconds = lease ? 0 : idleSeconds + waitSeconds
      if (!lease) continue
      const started = performance.now()
      if (lease.kind !== 'round') await answerPublicly(options, desk, lease)
      else if (site.outbox.find(lease.id) !== null || (await isEvaluated(options, desk, lease))) {
        await onBeat(started, options.beatMs ?? 0, { now: () => performance.now(), signal })
        await send(options, lease.id, lease)
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    await closeEngine(desk.job)
  }
}

/** A device that is lost again and again is broken. */
const MOST_LOSSES = 5
const LOSS_WAIT_MS = 250
/** Pause after an answer that nobody wanted. */
const DROP_WAIT_MS = 1000
/** The engine is gone, and another may work: a device, or a thread that broke down. */
const LOSSES: ReadonlySet<string> = new Set(['device_lost', 'thread_lost'])

/**
 * Evaluates a lease into the outbox. @returns false where there is nothing to send: the round closed while this worker caught
 * up, or the device was lost. Then the engine is closed, nothing of the round is kept, and the lease is asked for anew.
 */
async function isEvaluated(options: WorkerOptions, desk: Desk, lease: RoundLease): Promise<boolean> {
  const made = await unlessLost(options, desk, lease, async () => {
    const job = await persistently(options, () => prepare(options, desk, lease))
    if (job.run.point.nextRound !== lease.round) return false
    const { id, run, event } = lease
    options.site.spend.admit({ id, run, event }, desk.lifetime)
    await evaluate(options, job, lease)
    return true
  })
  return made ?? false
}

/**
 * Does what no private data are read for, and sends the answer. It has no noise and is made of public things, so that it is not
 * kept: asked again, it is made again.
 */
async function answerPublicly(options: WorkerOptions, desk: Desk, lease: PublicLease): Promise<void> {
  const { coordinator, site } = options
  const report = await unlessLost(options, desk, lease, async () => {
    const job = await persistently(options, () => prepare(options, desk, lease))
    return isAwaited(job.run, lease) ? await publicReport(options, job, lease) : null
  })
  if (!report) return
  const body = canonicalJson(site.signReport(unsignedReportSchema.parse(report)))
  const outcome = await persistently(options, () => coordinator.report(lease.id, body))
  const event = outcome === 'dropped' ? outcome : ({ evaluation: 'evaluated', mask: 'masked' } as const)[lease.kind]
  options.log({ event, dataset: options.dataset.id, run: lease.run, round: lease.round })
  // Offered again at once, it would be dropped again.
  if (outcome === 'dropped') await sleep(DROP_WAIT_MS, undefined, { signal: options.signal })
}

/** @returns null where the device was lost: the engine is closed, and the work is asked for anew. */
async function unlessLost<T>(
  options: WorkerOptions,
  desk: Desk,
  lease: Lease,
  work: () => Promise<T>,
): Promise<T | null> {
  try {
    const made = await work()
    desk.losses = 0
    return made
  } catch (error) {
    if (!(error instanceof EngineError && LOSSES.has(error.code))) throw error
    desk.losses = (desk.losses ?? 0) + 1
    if (desk.losses >= MOST_LOSSES) throw error
    options.log({ event: 'device_lost', run: lease.run, round: lease.round })
    const { job } = desk
    delete desk.job
    await closeEngine(job)
    await sleep(LOSS_WAIT_MS * desk.losses, undefined, { signal: options.signal })
    return null
  }
}

/** The run of a lease, verified and caught up before the data is read, and its model. */
async function prepare(options: WorkerOptions, desk: Desk, lease: Lease): Promise<Job> {
  const { coordinator, site, dataset, policy } = options
  const open = desk.job?.run.id === lease.run ? desk.job : undefined
  const run = open?.run ?? (await followRun(coordinator, lease))
  if (run.specHash !== lease.specHash) {
    throw new WorkerError('spec_mismatch', `run ${lease.run} is offered under another spec`)
  }
  if (!open) {
    checkSpec(run.spec, run.specHash, dataset.id, policy)
    site.pinSpec(run.id, run.specHash)
  }
  await catchUp(run, lease, { dataset: dataset.id, coordinator, log: desk.log })
  if (lease.kind === 'round') await requireCosigned(run, lease, { witnesses: policy.witnesses ?? [] })
  if (lease.kind === 'round') {
    const released = site.outbox.released(run.id)
    checkCharge(lease, run.spec, { dataset: dataset.id, charges: run.charges, released })
  }
  if (run.point.nextRound < lease.round) {
    throw new WorkerError('log_mismatch', `the log of ${lease.run} ends before the lease's round`)
  }
  if (open) return open
  const modelFolder = await fetchModel(coordinator, run.spec.model, site.modelsFolder)
  await closeEngine(desk.job)
  desk.job = { run, modelFolder, masks: new Map() }
  return desk.job
}

/** Whether the run still waits for what a lease asks. @throws WorkerError `log_mismatch` where it never did */
function isAwaited({ id, resolved, point, evaluated, head }: FollowedRun, lease: PublicLease): boolean {
  const work = awaitedWork({ resolved, closed: point.nextRound, evaluated })
  const stageOfLease = lease.kind === 'mask' ? lease.stage : undefined
  const stage = work?.kind === 'mask' ? work.stage : undefined
  if (work?.kind === lease.kind && work.round === lease.round && stage === stageOfLease) return true
  // Another worker may have answered since.
  if (head.size > lease.head.size) return false
  throw new WorkerError('log_mismatch', `the log of ${id} does not wait for what lease ${lease.id} asks`)
}

/**
 * The engine of a job at a state, its model loaded and the data read. A mask made anew wants another engine: the one before is
 * closed first, as memory may hold but one.
 */
async function engineAt(options: WorkerOptions, job: Job, { stage, finished }: TrainedState): Promise<SiteEngine> {
  const { run, modelFolder, masks } = job
  if (job.open && job.open.masks !== run.masks.length) await closeEngine(job)
  if (!job.open) {
    await remakeMasks(run, { modelDir: modelFolder, made: masks, finished: run.point.state.finished })
    const engine = await options.openEngine(run.resolved, modelFolder, masks)
    job.open = { engine, masks: run.masks.length, stage: 0 }
    options.log({ event: 'model_ready', run: run.id })
  }
  const { open } = job
  if (open.stage !== stage) await open.engine.setStage(stage, finished)
  open.stage = stage
  return open.engine
}

async function closeEngine(job: Job | undefined): Promise<void> {
  const open = job?.open
  if (open) {
    delete job.open
    await open.engine.close()
  }
}

async function evaluate(options: WorkerOptions, job: Job, lease: RoundLease): Promise<void> {
  const { run } = job
  const { point, resolved } = run
  const engine = await engineAt(options, job, point.state)
  const stage = resolved.stages[point.state.stage]!
  const integers = await composeRelease({
    method: resolved,
    stage,
    round: lease.round,
    state: point.state,
    units: engine.units,
    oracle: engine,
    random: options.random,
  })
  const unsigned = unsignedReportSchema.parse({ kind: 'round', ...namesOf(run, lease), integers })
  options.site.outbox.put(lease.id, canonicalJson(options.site.signReport(unsigned)))
}

/** What a report says of itself. */
function namesOf({ id: run, point }: FollowedRun, { id, dataset, round, specHash }: Lease) {
  return { run, specHash, lease: id, dataset, round, stateHash: stateHash(point.state) }
}

async function publicReport(options: WorkerOptions, job: Job, lease: PublicLease): Promise<UnsignedReport> {
  const { run, modelFolder } = job
  const { resolved, point } = run
  const names = namesOf(run, lease)
  if (lease.kind === 'evaluation') {
    const state = trainedState(resolved, point.state)
    const engine = await engineAt(options, job, state)
    return { kind: 'evaluation', ...names, ...(await engine.evaluate(state.current)) }
  }
  const { finished } = point.state
  await remakeMasks(run, { modelDir: modelFolder, made: job.masks, finished })
  // Making a mask takes memory for all trained weights, twice.
  await closeEngine(job)
  const made = await makeMask(run, lease.stage, { modelDir: modelFolder, made: job.masks, finished })
  job.masks.set(made.space.mask, made.mask)
  const kept = made.space.tensors.map((tensor) => tensor.kept)
  const { stage } = lease
  const slopes = made.slopes ? { first: [...made.slopes.first], second: [...made.slopes.second] } : null
  return { kind: 'mask', ...names, stage, mask: made.space.mask, kept, slopes }
}

/** The same model at the end of the stage before, where a stage has begun that can not be opened before its mask is made. */
function trainedState(spec: RunSpec, state: TrainedState): TrainedState {
  if (!wantsMask(spec, state.stage)) return state
  const finished = state.finished.slice(0, -1)
  return { stage: state.stage - 1, finished, current: state.finished.at(-1)! }
}

/** Sends the bytes of the outbox until the coordinator has answered for them. */
async function send(options: WorkerOptions, id: string, lease?: Lease): Promise<void> {
  const { coordinator, site } = options
  const body = site.outbox.find(id)
  if (body === null) return
  const outcome = await persistently(options, () => coordinator.report(id, body))
  site.outbox.markAnswered(id)
  const about = lease ? { run: lease.run, round: lease.round } : {}
  options.log({ event: outcome === 'accepted' ? 'reported' : 'dropped', dataset: options.dataset.id, ...about })
}
