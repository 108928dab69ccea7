import { type Lease, type RunSpec, unsignedReportSchema } from '../shared/api/index.ts'
import { canonicalJson } from '../shared/ledger/index.ts'
import type { RandomBytes } from '../shared/privacy/index.ts'
import { stateHash } from '../shared/zo/index.ts'
import type { Coordinator } from './coordinator.ts'
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
  readonly dataset: { readonly id: string; readonly unit: 'record' | 'user' }
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
  let job: Job | undefined
  try {
    while (!signal.aborted) {
      const lease = await persistently(options, () => coordinator.lease(LONG_POLL_SECONDS))
      if (!lease) continue
      if (site.outbox.find(lease.id) === null) {
        job = await persistently(options, () => prepare(options, job, lease))
        // The round closed while this worker caught up: nothing was evaluated, so nothing is sent.
        if (job.run.point.nextRound !== lease.round) continue
        await evaluate(options, job, lease)
      }
      await send(options, lease.id, lease)
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    await job?.engine.close()
  }
}

/** The run of a lease, verified and caught up, its model loaded and at the right stage. */
async function prepare(options: WorkerOptions, job: Job | undefined, lease: Lease): Promise<Job> {
  const current = job?.run.id === lease.run ? job : await openJob(options, job, lease)
  if (current.run.specHash !== lease.specHash)
    throw new WorkerError('spec_mismatch', `run ${lease.run} is offered under another spec`)
  await catchUp(current.run, lease, options.coordinator)
  checkCharge(lease, current.run.spec, current.run.charges)
  if (current.run.point.nextRound < lease.round)
    throw new WorkerError('log_mismatch', `the log of ${lease.run} ends before the lease's round`)
  const { stage, finished } = current.run.point.state
  if (stage !== current.stage) {
    await current.engine.setStage(stage, finished)
    current.stage = stage
  }
  return current
}

async function openJob(options: WorkerOptions, previous: Job | undefined, lease: Lease): Promise<Job> {
  const { coordinator, site } = options
  const run = await followRun(coordinator, lease)
  checkSpec(run.spec, run.specHash, options.dataset, options.policy)
  site.pinSpec(run.id, run.specHash)
  const folder = await fetchModel(coordinator, run.spec.model, site.modelsFolder)
  await previous?.engine.close()
  const engine = await options.openEngine(run.spec, folder)
  await engine.setStage(0, [])
  options.log({ event: 'model_ready', run: run.id })
  return { run, engine, stage: 0 }
}

async function evaluate(options: WorkerOptions, { run, engine }: Job, lease: Lease): Promise<void> {
  const { spec, point } = run
  const stage = spec.stages[point.state.stage]!
  const integers = await composeRelease({
    stage,
    round: lease.round,
    seed: spec.seed,
    space: spec.space,
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
