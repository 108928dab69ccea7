import type { Lease, RunSpec } from '../shared/api/index.ts'
import type { RunRecord } from '../shared/ledger/index.ts'
import { spend } from '../shared/privacy/index.ts'
import { stageOf } from '../shared/zo/index.ts'
import { WorkerError } from './error.ts'

/** What the data owner allows, whatever the coordinator says. */
export interface Policy {
  /** Largest epsilon that one run may spend of this dataset; undefined: what its spec says. */
  readonly maxEpsilon?: number
  /** Specs agreed to in advance; undefined: the first spec of a run that meets the rest of the policy. */
  readonly acceptedSpecs?: ReadonlySet<string>
}

export type Charge = Extract<RunRecord, { type: 'charge' }>

/** Refuses a spec that the owner has not agreed to or that does not describe this dataset. @throws WorkerError `policy_refused`. */
export function checkSpec(
  spec: RunSpec,
  specHash: string,
  dataset: { id: string; unit: string },
  policy: Policy,
): void {
  if (policy.acceptedSpecs && !policy.acceptedSpecs.has(specHash)) {
    throw new WorkerError('policy_refused', `spec ${specHash} is none of those given by --accept`)
  }
  const own = spec.datasets.find(({ id }) => id === dataset.id)
  if (!own) throw new WorkerError('policy_refused', `the spec does not name dataset ${dataset.id}`)
  if (own.unit !== dataset.unit)
    throw new WorkerError('policy_refused', `the spec counts units of dataset ${dataset.id} otherwise`)
  if (policy.maxEpsilon !== undefined && spec.budget.epsilon > policy.maxEpsilon) {
    throw new WorkerError('policy_refused', 'the spec may spend more epsilon than --max-epsilon allows')
  }
}

/**
 * Before any work: the lease's charge must stand in the log, be the stage's own mechanism, and the charges of this dataset
 * together must stay within the spec's budget. @throws WorkerError `uncharged_lease` or `policy_refused`.
 */
export function checkCharge(lease: Lease, spec: RunSpec, charges: readonly Charge[]): void {
  const charge = charges.find((candidate) => candidate.lease === lease.id)
  if (!charge || charge.round !== lease.round || charge.dataset !== lease.dataset) {
    throw new WorkerError('uncharged_lease', `lease ${lease.id} has no charge in the log of ${lease.run}`)
  }
  const { stage } = stageOf(spec.stages, lease.round)
  const { event } = charge
  if (event.noiseMultiplier !== stage.noiseMultiplier || event.samplingRate !== stage.samplingRate) {
    throw new WorkerError(
      'uncharged_lease',
      `the charge of lease ${lease.id} is for another mechanism than its stage's`,
    )
  }
  const own = charges
    .filter(({ dataset }) => dataset === lease.dataset)
    .map((each) => ({ event: each.event, count: 1 }))
  if (spend(own, spec.budget.delta).epsilon > spec.budget.epsilon) {
    throw new WorkerError('policy_refused', `the charges of dataset ${lease.dataset} exceed the budget of ${lease.run}`)
  }
}
