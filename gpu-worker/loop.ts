import { setTimeout as sleep } from 'node:timers/promises'
import { type Lease, type RunSpec, unsignedReportSchema } from '../shared/api/index.ts'
import { canonicalJson } from '../shared/ledger/index.ts'
import type { RandomBytes } from '../shared/privacy/index.ts'
import { spaceOfStage, stateHash } from '../shared/zo/index.ts'
import type { Coordinator } from './coordinator.ts'
import { EngineError } from './engine/index.ts'
import { WorkerError } from './error.ts'
import type { WorkerEvent } from './log.ts'
import { fetchModel } from './model-files.ts'
import { persistently } from './persist.ts'
import { checkCharge, checkSpec, type Policy } from './policy.ts'
import { composeRelease, type LossOracle } from './release.ts'
import { catchUp, type FollowedRun, followRun } from './run-log.ts'
import type { Site } from './site.ts'

/** An evaluator of one run's model on this site's data. */
export interface SiteEngine extends LossOracle<unknown> {
  /** Units as the engine reads them, for this run's task. */
  readonly units: readonly (readonly unknown[])[]
  setStage(stage: number, finished: readonly Float32Array[]): Promise<void>
  close(): Promise<void>
}

export interface WorkerOptions {
  readonly coordinator: Coordinator
  readonly site: Site
  readonly dataset: { readonly id: string }
  readonly policy: Policy
  openEngine(spec: RunSpec, modelFolder: string): Promise<SiteEngine>
  readonly random: RandomBytes
  readonly log: (event: WorkerEvent) => void
  readonly signal: AbortSignal
}

interface Job {
  readonly run: FollowedRun
  readonly engine: SiteEngine
  stage: number
}

/** Where the open job stands, so that its engine is closed however the worker ends. */
interface Desk {
  job?: Job
  /** Times in a row that the device was lost. */
  losses?: number
}

const LONG_POLL_SECONDS = 25

/**
 * Leases, evaluates and reports until the signal aborts. A coordinator or store that is away is waited for; everything else
 * throws. @throws WorkerError, EngineError or DataError, each with a code and what to do.
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const { coordinator, site, signal } = options
  await persistently(options, () => coordinator.enrol(site.publicKey))
  options.log({ event: 'started', dataset: options.dataset.id })
  for (const lease of site.outbox.pending()) await send(options, lease)
  const desk: Desk = {}
  try {
    while (!signal.aborted) {
      const lease = await persistently(options, () => coordinator.lease(LONG_POLL_SECONDS))
      if (!lease) continue
      if (site.outbox.find(lease.id) === null && !(await isEvaluated(options, desk, lease))) continue
      await send(options, lease.id, lease)
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    await desk.job?.engine.close()
  }
}

/** A device that is lost again and again is broken. */
const MOST_LOSSES = 5
const LOSS_WAIT_MS = 250
/** The engine is gone, and another may work: a device, or a thread that broke down. */
const LOSSES: ReadonlySet<string> = new Set(['device_lost', 'thread_lost'])

/**
 * Evaluates a lease into the outbox. @returns false where there is nothing to send: the round closed while this worker caught
 * up, or the device was lost. Then the engine is closed, nothing of the round is kept, and the lease is asked for anew.
 */
async function isEvaluated(options: WorkerOptions, desk: Desk, lease: Lease): Promise<boolean> {
  try {
    const job = await persistently(options, () => prepare(options, desk, lease))
    if (job.run.point.nextRound !== lease.round) return false
    await evaluate(options, job, lease)
    desk.losses = 0
    return true
  } catch (error) {
    if (!(error instanceof EngineError && LOSSES.has(error.code))) throw error
    desk.losses = (desk.losses ?? 0) + 1
    if (desk.losses >= MOST_LOSSES) throw error
    options.log({ event: 'device_lost', run: lease.run, round: lease.round })
    const { job } = desk
    delete desk.job
    await job?.engine.close()
    await sleep(LOSS_WAIT_MS * desk.losses, undefined, { signal: options.signal })
    return false
  }
}

/** The run of a lease, verified and caught up before the data is read, its model loaded and at the right stage. */
async function prepare(options: WorkerOptions, desk: Desk, lease: Lease): Promise<Job> {
  const { coordinator, site, dataset, policy } = options
  const isOpen = desk.job?.run.id === lease.run
  const run = isOpen ? desk.job!.run : await followRun(coordinator, lease)
  if (run.specHash !== lease.specHash) {
    throw new WorkerError('spec_mismatch', `run ${lease.run} is offered under another spec`)
  }
  if (!isOpen) {
    checkSpec(run.spec, run.specHash, dataset.id, policy)
    site.pinSpec(run.id, run.specHash)
  }
  await catchUp(run, lease, { dataset: dataset.id, coordinator })
  checkCharge(lease, run.spec, { dataset: dataset.id, charges: run.charges, released: site.outbox.released(run.id) })
  if (run.point.nextRound < lease.round) {
    throw new WorkerError('log_mismatch', `the log of ${lease.run} ends before the lease's round`)
  }
  const job = isOpen ? desk.job! : await openJob(options, desk, run)
  const { stage, finished } = run.point.state
  if (stage !== job.stage) {
    await job.engine.setStage(stage, finished)
    job.stage = stage
  }
  return job
}

/** Loads the model and reads the data. The job is on the desk as soon as there is something to close. */
async function openJob(options: WorkerOptions, desk: Desk, run: FollowedRun): Promise<Job> {
  const folder = await fetchModel(options.coordinator, run.spec.model, options.site.modelsFolder)
  await desk.job?.engine.close()
  delete desk.job
  const job: Job = { run, engine: await options.openEngine(run.spec, folder), stage: 0 }
  desk.job = job
  options.log({ event: 'model_ready', run: run.id })
  return job
}

async function evaluate(options: WorkerOptions, { run, engine }: Job, lease: Lease): Promise<void> {
  const { spec, point } = run
  const stage = spec.stages[point.state.stage]!
  const integers = await composeRelease({
    method: spec,
    stage,
    round: lease.round,
    seed: spec.seed,
    space: spaceOfStage(spec, point.state.stage),
    state: point.state,
    units: engine.units,
    oracle: engine,
    random: options.random,
  })
  const { id, dataset, round, specHash } = lease
  const unsigned = unsignedReportSchema.parse({
    run: run.id,
    specHash,
    lease: id,
    dataset,
    round,
    stateHash: stateHash(point.state),
    integers,
  })
  options.site.outbox.put(id, canonicalJson(options.site.signReport(unsigned)))
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
