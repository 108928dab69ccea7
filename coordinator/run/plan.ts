import {
  type CompleteRequest,
  type Dataset,
  envelopeOf,
  jobOf,
  MAX_INTEGER,
  type RunRequest,
  type RunSpec,
  runRequestSchema,
  runSpecSchema,
  SPEC_VERSION,
  scheduleOf,
} from '../../shared/api/index.ts'
import {
  type EpsilonBounds,
  type EventCount,
  epsilonBounds,
  PrivacyError,
  pureEpsilon,
  spend,
  spendCurve,
} from '../../shared/privacy/index.ts'
import { dimensionOfStage, groupCount, reportLength, type Stage, totalRounds } from '../../shared/zo/index.ts'
import { explicit } from './explicit.ts'
import { withNoise } from './noise.ts'
import { fieldsOf, PlanError } from './plan-error.ts'
import { mostUnitsOf, reachOf, reportReach } from './reach.ts'

export interface PlannedRun {
  readonly spec: RunSpec
  /** One charge a round, by stage. */
  readonly events: readonly EventCount[]
  /** The most that the run may ever charge: with the spare charges. */
  readonly eventsWithSpares: readonly EventCount[]
  /** The certified interval of all rounds. */
  readonly epsilon: EpsilonBounds
  readonly epsilonWithSpares: EpsilonBounds
  /** At delta 0, with the spare charges; infinite for Gaussian noise. */
  readonly epsilonPure: number
}

export type DatasetFacts = RunSpec['datasets'][number]

/** What a spec says of a dataset. */
export function factsOf({ id, units, unit, count }: Pick<Dataset, 'id' | 'units' | 'unit' | 'count'>): DatasetFacts {
  const mostUnits = mostUnitsOf({ units, count })
  return { id, units, unit, ...(mostUnits === undefined ? {} : { mostUnits }) }
}

/** Points of the curve of epsilon by round. */
const CURVE_POINTS = 50

/**
 * Fills in what a request leaves out: grid, spare charges, quorum, and the smallest noise that pays for all rounds and spares.
 * @throws PlanError
 */
export function planRun(asked: RunRequest, given: { datasets: readonly DatasetFacts[]; seed: string }): PlannedRun {
  const complete = runRequestSchema.safeParse(asked)
  if (!complete.success) throw new PlanError('bad_request', fieldsOf(complete.error))
  const request = explicit(complete.data)
  const rounds = request.stages.reduce((sum, stage) => sum + stage.rounds, 0)
  const spareCharges = request.spareCharges ?? Math.max(4, Math.ceil(0.05 * rounds))
  const units = Math.max(...given.datasets.map(reachOf))
  const stages = withNoise(request, { spareCharges, units })
  const parsed = runSpecSchema.safeParse({
    version: SPEC_VERSION,
    model: request.model,
    task: request.task,
    space: request.space,
    clipping: request.clipping,
    noise: request.noise,
    sides: request.sides,
    aggregation: request.aggregation,
    stages,
    datasets: given.datasets,
    neighbours: 'add-remove',
    trust: 'local',
    budget: request.budget,
    spareCharges,
    quorum: request.quorum ?? given.datasets.length,
    ...(request.cosignatures === undefined ? {} : { cosignatures: request.cosignatures }),
    deadlineSeconds: request.deadlineSeconds,
    leaseSeconds: request.leaseSeconds,
    evaluation: request.evaluation,
    seed: given.seed,
  })
  if (!parsed.success) throw new PlanError('bad_request', fieldsOf(parsed.error))
  checkGrid(parsed.data)
  checkRound(parsed.data)
  return priced(parsed.data, request.guarantee)
}

function priced(spec: RunSpec, guarantee: CompleteRequest['guarantee']): PlannedRun {
  const { delta } = spec.budget
  const events = scheduleOf(spec)
  const eventsWithSpares = envelopeOf(spec)
  const epsilon = epsilonBounds(events, delta)
  const epsilonWithSpares = epsilonBounds(eventsWithSpares, delta)
  const epsilonPure = pureEpsilon(eventsWithSpares)
  // A run that is held to pure epsilon is charged like any other, so both must fit.
  const spent = Math.max(epsilonWithSpares.epsilon, guarantee === 'pure' ? epsilonPure : 0)
  if (!(spent <= spec.budget.epsilon)) throw new PlanError('budget_impossible', 'budget')
  return { spec, events, eventsWithSpares, epsilon, epsilonWithSpares, epsilonPure }
}

/** A grid that clipping takes, and a report that no honest worker can overflow. */
function checkGrid(spec: RunSpec): void {
  const units = Math.max(...spec.datasets.map(reachOf))
  for (const stage of spec.stages) {
    try {
      if (reportReach(stage, { units, method: spec }) <= MAX_INTEGER) continue
    } catch (error) {
      if (!(error instanceof PrivacyError)) throw error
      throw new PlanError('bad_request', 'stages.clip, stages.grid', error)
    }
    throw new PlanError('bad_request', 'stages.grid: too fine for the number of units')
  }
}

/** Losses of a round that a worker holds at once, in bytes. */
const ROUND_BYTES_MAX = 2 ** 30
const LOSS_BYTES = 4

/**
 * A batch whose losses, or activations, a worker can hold: for each of the expected units as many numbers as a round has groups.
 * A worker may have less memory than that; the plan does not know it.
 */
function checkRound(spec: RunSpec): void {
  const units = Math.max(...spec.datasets.map(({ units: count }) => count))
  const perUnit = (stage: Stage): number =>
    spec.space.kind === 'statistic' ? 2 * spec.space.size : groupCount({ ...stage, ...spec })
  const fits = (stage: Stage) => LOSS_BYTES * stage.samplingRate * units * perUnit(stage) <= ROUND_BYTES_MAX
  if (!spec.stages.every(fits))
    throw new PlanError('bad_request', 'stages.directions: the losses of a batch of this size take more than 1 GiB')
}

/** What a plan says of the spend of each dataset: certified intervals, and what the accounts of other kinds would say. */
export function spendOf({ spec, events, epsilon, epsilonWithSpares, epsilonPure }: PlannedRun) {
  const { delta } = spec.budget
  return {
    epsilon: epsilon.epsilon,
    epsilonLower: epsilon.lower,
    epsilonRdp: spend(events, delta).epsilon,
    epsilonWithSpares: epsilonWithSpares.epsilon,
    epsilonPure: Number.isFinite(epsilonPure) ? epsilonPure : null,
    epsilonByRound: spendCurve(events, delta, CURVE_POINTS).map(({ round, epsilon: upper }) => ({
      round,
      epsilon: upper,
    })),
  }
}

/** What a plan says of the work: dimension, forward passes, bytes. */
export function workOf(spec: RunSpec) {
  const units = spec.datasets.reduce((sum, d) => sum + d.units, 0)
  // Both sides of a pair, once each.
  const passesOf = (stage: Stage): number => (spec.space.kind === 'statistic' ? 2 : groupCount({ ...stage, ...spec }))
  return {
    job: jobOf(spec),
    rounds: totalRounds(spec.stages),
    evaluations: evaluationsOf(spec),
    dimension: Math.max(...spec.stages.map((_, stage) => dimensionOfStage(spec, stage))),
    forwardPasses: spec.stages.reduce((sum, s) => sum + s.rounds * s.samplingRate * units * passesOf(s), 0),
    bytesPerReport: Math.max(...spec.stages.map((stage) => reportBytes(reportLength(stage)))),
  }
}

/** One at the start, one at the end, and those between. */
function evaluationsOf({ evaluation, stages }: RunSpec): number {
  return evaluation ? Math.ceil(totalRounds(stages) / evaluation.every) + 1 : 0
}

/** Names, hash, signature and punctuation of a report, at their longest. */
const REPORT_FRAME_BYTES = 600
/** A sign, the digits of MAX_INTEGER and a comma. */
const INTEGER_BYTES = String(MAX_INTEGER).length + 2

function reportBytes(length: number): number {
  return REPORT_FRAME_BYTES + INTEGER_BYTES * length
}
