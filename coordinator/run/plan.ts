import type { z } from 'zod'
import {
  envelopeOf,
  MAX_INTEGER,
  type RunRequest,
  type RunSpec,
  runSpecSchema,
  scheduleOf,
  type stageSchema,
} from '../../shared/api/index.ts'
import {
  calibrateNoise,
  type EpsilonBounds,
  type EventCount,
  epsilonBounds,
  PrivacyError,
  spend,
  spendCurve,
} from '../../shared/privacy/index.ts'
import { reportLength, spaceDimension, totalRounds } from '../../shared/zo/index.ts'
import { reportReach } from './reach.ts'

type Stage = z.infer<typeof stageSchema>

/** Why a request can not become a run. */
export class PlanError extends Error {
  readonly code: 'budget_impossible' | 'bad_request'
  /** Names of fields, never values. */
  readonly fields: string
  constructor(code: PlanError['code'], fields: string, cause?: unknown) {
    super(`plan: ${code}: ${fields}`, { cause })
    this.name = 'PlanError'
    this.code = code
    this.fields = fields
  }
}

export interface PlannedRun {
  readonly spec: RunSpec
  /** One charge a round, by stage. */
  readonly events: readonly EventCount[]
  /** The most that the run may ever charge: with the spare charges. */
  readonly eventsWithSpares: readonly EventCount[]
  /** The certified interval of all rounds. */
  readonly epsilon: EpsilonBounds
  readonly epsilonWithSpares: EpsilonBounds
}

export type DatasetFacts = RunSpec['datasets'][number]

/** Digits of a proposed noise multiplier: a tidy number in the spec, rounded up, so that privacy never pays for tidiness. */
const NOISE_DIGITS = 5
const NOISE_STEP = 1.0001
/** Points of the curve of epsilon by round. */
const CURVE_POINTS = 50
/** Steps of the grid in a clip, where the request leaves the grid out. */
const DEFAULT_GRID_STEPS = 2 ** 20

/**
 * Fills in what a request leaves out: grid, spare charges, quorum, and the smallest noise that pays for all rounds and spares.
 * @throws PlanError
 */
export function planRun(request: RunRequest, given: { datasets: readonly DatasetFacts[]; seed: string }): PlannedRun {
  const rounds = request.stages.reduce((sum, stage) => sum + stage.rounds, 0)
  const spareCharges = request.spareCharges ?? Math.max(4, Math.ceil(0.05 * rounds))
  const stages = withNoise(request, spareCharges)
  const parsed = runSpecSchema.safeParse({
    version: 1,
    model: request.model,
    task: request.task,
    space: request.space,
    clipping: 'joint',
    stages,
    datasets: given.datasets,
    neighbours: 'add-remove',
    trust: 'local',
    budget: request.budget,
    spareCharges,
    quorum: request.quorum ?? given.datasets.length,
    deadlineSeconds: request.deadlineSeconds,
    leaseSeconds: request.leaseSeconds,
    seed: given.seed,
  })
  if (!parsed.success) throw new PlanError('bad_request', fieldsOf(parsed.error))
  checkGrid(parsed.data)
  return priced(parsed.data)
}

function priced(spec: RunSpec): PlannedRun {
  const { delta } = spec.budget
  const events = scheduleOf(spec)
  const eventsWithSpares = envelopeOf(spec)
  const epsilon = epsilonBounds(events, delta)
  const epsilonWithSpares = epsilonBounds(eventsWithSpares, delta)
  if (!(epsilonWithSpares.epsilon <= spec.budget.epsilon)) throw new PlanError('budget_impossible', 'budget')
  return { spec, events, eventsWithSpares, epsilon, epsilonWithSpares }
}

function withNoise(request: RunRequest, spareCharges: number): Stage[] {
  const given = request.stages.filter((stage) => stage.noiseMultiplier !== undefined)
  if (given.length > 0 && given.length < request.stages.length) {
    throw new PlanError('bad_request', 'stages.noiseMultiplier: for all stages or for none')
  }
  const common = given.length > 0 ? undefined : calibrated(request, spareCharges)
  return request.stages.map((stage) => ({
    ...stage,
    grid: stage.grid ?? stage.clip / DEFAULT_GRID_STEPS,
    noiseMultiplier: (stage.noiseMultiplier ?? common)!,
  }))
}

/** The least common noise that pays for all that the run may ever charge. */
function calibrated(request: RunRequest, spareCharges: number): number {
  const { epsilon: targetEpsilon, delta } = request.budget
  const envelopeAt = (noiseMultiplier: number) =>
    envelopeOf({ spareCharges, stages: request.stages.map((stage) => ({ ...stage, noiseMultiplier })) })
  const stages = envelopeAt(1).map(({ event, count }) => ({ samplingRate: event.samplingRate, rounds: count }))
  const pays = (noise: number) => epsilonBounds(envelopeAt(noise), delta).epsilon <= targetEpsilon
  try {
    const least = calibrateNoise({ targetEpsilon, delta, stages })
    let noise = roundUp(least.noiseMultiplier, NOISE_DIGITS)
    // Two upper bounds of nearly the same may lie apart by more than the noise does: the tidy one must pay too.
    while (!pays(noise)) noise = roundUp(noise * NOISE_STEP, NOISE_DIGITS)
    return noise
  } catch (error) {
    if (!(error instanceof PrivacyError)) throw error
    throw new PlanError(error.code === 'unreachable_target' ? 'budget_impossible' : 'bad_request', 'budget', error)
  }
}

/** The least number of some significant digits that is not below `value`. */
export function roundUp(value: number, digits: number): number {
  const rounded = Number(value.toPrecision(digits))
  if (rounded >= value) return rounded
  const step = 10 ** (Math.floor(Math.log10(value)) + 1 - digits)
  return Number((rounded + step).toPrecision(digits))
}

/** A grid that clipping takes, and a report that no honest worker can overflow. */
function checkGrid(spec: RunSpec): void {
  const units = Math.max(...spec.datasets.map((d) => d.units))
  for (const stage of spec.stages) {
    try {
      if (reportReach(stage, { units, clipping: spec.clipping }) <= MAX_INTEGER) continue
    } catch (error) {
      if (!(error instanceof PrivacyError)) throw error
      throw new PlanError('bad_request', 'stages.clip, stages.grid', error)
    }
    throw new PlanError('bad_request', 'stages.grid: too fine for the number of units')
  }
}

function fieldsOf(error: z.ZodError): string {
  return [...new Set(error.issues.map((issue) => issue.path.join('.') || issue.message))].join(', ')
}

/** What a plan says of the spend of each dataset: certified intervals, and what the accounts of other kinds would say. */
export function spendOf({ spec, events, epsilon, epsilonWithSpares }: PlannedRun) {
  const { delta } = spec.budget
  return {
    epsilon: epsilon.epsilon,
    epsilonLower: epsilon.lower,
    epsilonRdp: spend(events, delta).epsilon,
    epsilonWithSpares: epsilonWithSpares.epsilon,
    epsilonByRound: spendCurve(events, delta, CURVE_POINTS).map(({ round, epsilon: upper }) => ({
      round,
      epsilon: upper,
    })),
  }
}

/** What a plan says of the work: dimension, forward passes, bytes. */
export function workOf(spec: RunSpec) {
  const units = spec.datasets.reduce((sum, d) => sum + d.units, 0)
  return {
    rounds: totalRounds(spec.stages),
    dimension: spaceDimension(spec.space),
    forwardPasses: spec.stages.reduce((sum, s) => sum + s.rounds * s.samplingRate * units * 2 * s.directions, 0),
    bytesPerReport: Math.max(...spec.stages.map((stage) => reportBytes(reportLength(stage)))),
  }
}

/** Names, hash, signature and punctuation of a report, at their longest. */
const REPORT_FRAME_BYTES = 600
/** A sign, the digits of MAX_INTEGER and a comma. */
const INTEGER_BYTES = String(MAX_INTEGER).length + 2

function reportBytes(length: number): number {
  return REPORT_FRAME_BYTES + INTEGER_BYTES * length
}
