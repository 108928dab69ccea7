import { envelopeOf, type RoundLease, type RunSpec, stageEvent } from '../shared/api/index.ts'
import type { RunRecord, Witness } from '../shared/ledger/index.ts'
import { type Budget, canonicalEvent, ScheduleFilter } from '../shared/privacy/index.ts'
import { stageOf } from '../shared/zo/index.ts'
import { WorkerError } from './error.ts'

/** What the data owner allows, whatever the coordinator says. */
export interface Policy {
  /** Largest epsilon that one run may spend of this dataset; undefined: what its spec says. */
  readonly maxEpsilon?: number
  /** Largest delta that a run may ask for. */
  readonly maxDelta: number
  /** What the owner protects: the coordinator may not choose it. */
  readonly unit: 'record' | 'user'
  /** What this site may release over all runs; what is left out is as the dataset was registered when the site first saw it. */
  readonly lifetime?: Partial<Budget>
  /** What the coordinator signs its logs by, raw Ed25519 in base64; undefined: the first key that is seen. */
  readonly logKey?: string
  /** Who has to have seen the log that a lease rests on, and no other. */
  readonly witnesses?: readonly Witness[]
  /** Specs agreed to in advance; undefined: the first spec of a run that meets the rest of the policy. */
  readonly acceptedSpecs?: ReadonlySet<string>
}

export type Charge = Extract<RunRecord, { type: 'charge' }>

/** Refuses a spec that the owner has not agreed to or that does not describe this dataset. @throws WorkerError `policy_refused`. */
export function checkSpec(spec: RunSpec, specHash: string, dataset: string, policy: Policy): void {
  if (policy.acceptedSpecs && !policy.acceptedSpecs.has(specHash)) {
    throw new WorkerError('policy_refused', `spec ${specHash} is none of those given by --accept`)
  }
  const own = spec.datasets.find(({ id }) => id === dataset)
  if (!own) throw new WorkerError('policy_refused', `the spec does not name dataset ${dataset}`)
  if (own.unit !== policy.unit) {
    throw new WorkerError('unit_mismatch', `the spec protects a ${own.unit}, this worker a ${policy.unit}: see --unit`)
  }
  if (!(spec.budget.delta <= policy.maxDelta)) {
    throw new WorkerError('policy_refused', 'the spec asks for more delta than --max-delta allows')
  }
  if (policy.maxEpsilon !== undefined && !(spec.budget.epsilon <= policy.maxEpsilon)) {
    throw new WorkerError('policy_refused', 'the spec may spend more epsilon than --max-epsilon allows')
  }
}

/** What this site knows of itself and of a run, against which a lease is held. */
export interface OwnAccount {
  readonly dataset: string
  /** Charges of this dataset in the run's log. */
  readonly charges: readonly Charge[]
  /** Leases of the run for which this site has made bytes, ever. */
  readonly released: readonly string[]
}

/**
 * Before the data is read: the lease must be for this dataset, its charge must stand in the log and be the stage's own
 * mechanism, everything this site ever released for the run must stand there too (a log that forgot it is a fork), and the
 * charges together must be part of what the spec fixed in advance, which its budget must pay for.
 * @throws WorkerError `policy_refused`, `uncharged_lease` or `log_forked`
 */
export function checkCharge(lease: RoundLease, spec: RunSpec, own: OwnAccount): void {
  if (lease.dataset !== own.dataset) {
    throw new WorkerError('policy_refused', `lease ${lease.id} is for dataset ${lease.dataset}, not for this one`)
  }
  const charged = new Map(own.charges.map((charge) => [charge.lease, charge]))
  const charge = charged.get(lease.id)
  if (charge?.round !== lease.round || charge.dataset !== own.dataset) {
    throw new WorkerError('uncharged_lease', `lease ${lease.id} has no charge in the log of ${lease.run}`)
  }
  const isOfStage = ({ event, round }: Charge) => {
    const { stage } = stageOf(spec.stages, round)
    return canonicalEvent(event) === canonicalEvent(stageEvent(spec, stage))
  }
  if (!own.charges.every(isOfStage)) {
    throw new WorkerError(
      'uncharged_lease',
      `a charge in the log of ${lease.run} is for another mechanism than its stage's`,
    )
  }
  if (!own.released.every((released) => charged.has(released))) {
    throw new WorkerError('log_forked', `the log of ${lease.run} lacks a charge for which this site has reported`)
  }
  const charges = [...charged.values()].map(({ event }) => ({ event, count: 1 }))
  if (!new ScheduleFilter(envelopeOf(spec), spec.budget).allows(charges)) {
    throw new WorkerError('policy_refused', `the charges of dataset ${lease.dataset} exceed the budget of ${lease.run}`)
  }
}
