import type { z } from 'zod'
import {
  type CompleteRequest,
  envelopeOf,
  MAX_INTEGER,
  type RunRequest,
  type RunSpec,
  runRequestSchema,
  runSpecSchema,
  scheduleOf,
  stageRequestSchema,
  type stageSchema,
} from '../../shared/api/index.ts'
import {
  calibrateNoise,
  calibratePure,
  type EpsilonBounds,
  type EventCount,
  epsilonBounds,
  PrivacyError,
  pureEpsilon,
  spend,
  spendCurve,
} from '../../shared/privacy/index.ts'
import {
  expandPreset,
  groupCount,
  PresetError,
  reportLength,
  spaceDimension,
  spaceOfStage,
  totalRounds,
} from '../../shared/zo/index.ts'
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
  /** At delta 0, with the spare charges; infinite for Gaussian noise. */
  readonly epsilonPure: number
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
export function planRun(asked: RunRequest, given: { datasets: readonly DatasetFacts[]; seed: string }): PlannedRun {
  const complete = runRequestSchema.safeParse(asked)
  if (!complete.success) throw new PlanError('bad_request', fieldsOf(complete.error))
  const request = explicit(complete.data)
  const rounds = request.stages.reduce((sum, stage) => sum + stage.rounds, 0)
  const spareCharges = request.spareCharges ?? Math.max(4, Math.ceil(0.05 * rounds))
  if (request.guarantee === 'pure' && request.noise !== 'laplace')
    throw new PlanError('bad_request', 'guarantee: pure epsilon wants noise laplace')
  const stages = withNoise(request, spareCharges)
  const parsed = runSpecSchema.safeParse({
    version: 2,
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
    deadlineSeconds: request.deadlineSeconds,
    leaseSeconds: request.leaseSeconds,
    seed: given.seed,
  })
  if (!parsed.success) throw new PlanError('bad_request', fieldsOf(parsed.error))
  checkGrid(parsed.data)
  return priced(parsed.data, request.guarantee)
}

/** A request with stages of its own. */
type ExplicitRequest = CompleteRequest & { readonly stages: NonNullable<CompleteRequest['stages']> }

/** A preset written out: what it says goes before what the request left to its defaults. @throws PlanError */
function explicit(request: CompleteRequest): ExplicitRequest {
  const { stages, preset, ...rest } = request
  if (stages) return { ...rest, stages }
  if (!preset) throw new PlanError('bad_request', 'stages')
  if (preset.name === 'dp-zopo' && request.space.kind !== 'pruned')
    throw new PlanError('bad_request', 'space.kind: dp-zopo trains a pruned space')
  try {
    const { distribution, stages: drafts, ...method } = expandPreset(preset)
    const draws = isOfProducts(request.space) ? 'rademacher' : distribution
    const written = drafts.map((draft) => stageRequestSchema.parse(draft))
    return { ...rest, ...method, space: { ...request.space, distribution: draws }, stages: written }
  } catch (error) {
    if (!(error instanceof PresetError)) throw error
    throw new PlanError('bad_request', `preset.${error.field}`, error)
  }
}

/** Directions of low rank have a distribution of their own. */
const isOfProducts = (space: CompleteRequest['space']): boolean =>
  space.kind === 'full' && space.directions.kind === 'low-rank'

function priced(spec: RunSpec, guarantee: CompleteRequest['guarantee']): PlannedRun {
  const { delta } = spec.budget
  const events = scheduleOf(spec)
  const eventsWithSpares = envelopeOf(spec)
  const epsilon = epsilonBounds(events, delta)
  const epsilonWithSpares = epsilonBounds(eventsWithSpares, delta)
  const epsilonPure = pureEpsilon(eventsWithSpares)
  const spent = guarantee === 'pure' ? epsilonPure : epsilonWithSpares.epsilon
  if (!(spent <= spec.budget.epsilon)) throw new PlanError('budget_impossible', 'budget')
  return { spec, events, eventsWithSpares, epsilon, epsilonWithSpares, epsilonPure }
}

function withNoise(request: ExplicitRequest, spareCharges: number): Stage[] {
  const given = request.stages.filter((stage) => stage.noiseMultiplier !== undefined)
  if (given.length > 0 && given.length < request.stages.length) {
    throw new PlanError('bad_request', 'stages.noiseMultiplier: for all stages or for none')
  }
  const common = given.length > 0 ? undefined : calibrated(request, spareCharges)
  return request.stages.map(({ noiseRatio = 1, ...stage }) => ({
    ...stage,
    grid: stage.grid ?? stage.clip / DEFAULT_GRID_STEPS,
    noiseMultiplier: stage.noiseMultiplier ?? common! * noiseRatio,
  }))
}

/** The least common noise that pays for all that the run may ever charge; a stage has its ratio of it. */
function calibrated(request: ExplicitRequest, spareCharges: number): number {
  const { epsilon: targetEpsilon, delta } = request.budget
  const envelopeAt = (common: number) =>
    envelopeOf({
      spareCharges,
      noise: request.noise,
      stages: request.stages.map((stage) => ({ ...stage, noiseMultiplier: common * (stage.noiseRatio ?? 1) })),
    })
  const spent = (noise: number): number =>
    request.guarantee === 'pure' ? pureEpsilon(envelopeAt(noise)) : epsilonBounds(envelopeAt(noise), delta).epsilon
  try {
    let noise = roundUp(leastNoise(request, envelopeAt(1), { targetEpsilon, delta }), NOISE_DIGITS)
    // Two upper bounds of nearly the same may lie apart by more than the noise does: the tidy one must pay too.
    while (!(spent(noise) <= targetEpsilon)) noise = roundUp(noise * NOISE_STEP, NOISE_DIGITS)
    return noise
  } catch (error) {
    if (!(error instanceof PrivacyError)) throw error
    throw new PlanError(error.code === 'unreachable_target' ? 'budget_impossible' : 'bad_request', 'budget', error)
  }
}

/** @param ratios what the run may charge, with the ratios of its stages in the place of their noise. */
function leastNoise(
  { guarantee, noise: mechanism }: ExplicitRequest,
  ratios: readonly EventCount[],
  target: { targetEpsilon: number; delta: number },
): number {
  const stages = ratios.map(({ event, count }) => ({
    mechanism,
    samplingRate: event.samplingRate,
    rounds: count,
    noiseRatio: event.noiseMultiplier,
  }))
  if (guarantee === 'pure') return calibratePure({ targetEpsilon: target.targetEpsilon, stages })
  return calibrateNoise({ ...target, stages }).noiseMultiplier
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
      if (reportReach(stage, { units, method: spec }) <= MAX_INTEGER) continue
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
  return {
    rounds: totalRounds(spec.stages),
    dimension: Math.max(...spec.stages.map((_, stage) => spaceDimension(spaceOfStage(spec, stage)))),
    forwardPasses: spec.stages.reduce(
      (sum, s) => sum + s.rounds * s.samplingRate * units * groupCount({ ...s, ...spec }),
      0,
    ),
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
