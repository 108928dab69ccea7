import type { z } from 'zod'
import { envelopeOf, MAX_INTEGER, roundUp, type stageSchema } from '../../shared/api/index.ts'
import {
  calibrateNoise,
  calibratePure,
  type EventCount,
  epsilonBounds,
  PrivacyError,
  pureEpsilon,
} from '../../shared/privacy/index.ts'
import type { ExplicitRequest } from './explicit.ts'
import { PlanError } from './plan-error.ts'
import { reportReach } from './reach.ts'

type Stage = z.infer<typeof stageSchema>

/** Digits of a proposed noise multiplier: a tidy number in the spec, rounded up, so that privacy never pays for tidiness. */
const NOISE_DIGITS = 5
const NOISE_STEP = 1.0001
/** Steps of the grid in a clip, where the request leaves the grid out: fewer where reports would be too large. */
const MOST_GRID_STEPS = 2 ** 20
const FEWEST_GRID_STEPS = 2 ** 8

interface Given {
  readonly spareCharges: number
  /** Of the largest dataset. */
  readonly units: number
}

/** The stages of a request with their noise and their grid. @throws PlanError */
export function withNoise(request: ExplicitRequest, given: Given): Stage[] {
  const { stages } = request
  const known = stages.filter((stage) => stage.noiseMultiplier !== undefined)
  if (known.length > 0 && known.length < stages.length)
    throw new PlanError('bad_request', 'stages.noiseMultiplier: for all stages or for none')
  if (known.some((stage) => stage.noiseRatio !== undefined))
    throw new PlanError('bad_request', 'stages.noiseRatio: of a noise that is given')
  const least = Math.min(...stages.map(({ noiseRatio = 1 }) => noiseRatio))
  const common = known.length > 0 ? undefined : calibrated(request, given, least)
  return stages.map(({ noiseRatio = 1, ...stage }) => {
    const noiseMultiplier = stage.noiseMultiplier ?? roundUp(common! * (noiseRatio / least), NOISE_DIGITS)
    return { ...stage, noiseMultiplier, grid: stage.grid ?? gridFor({ ...stage, noiseMultiplier }, request, given) }
  })
}

/** The finest grid on which a report can not overflow; the coarsest where none is. */
function gridFor(stage: Omit<Stage, 'grid'>, method: ExplicitRequest, { units }: Given): number {
  let steps = MOST_GRID_STEPS
  const reach = () => reportReach({ ...stage, grid: stage.clip / steps }, { units, method })
  while (steps > FEWEST_GRID_STEPS && reach() > MAX_INTEGER) steps /= 2
  return stage.clip / steps
}

/** The least noise, of the stage that has least of it, that pays for all that the run may ever charge. */
function calibrated(request: ExplicitRequest, { spareCharges }: Given, least: number): number {
  const { epsilon: targetEpsilon, delta } = request.budget
  const envelopeAt = (common: number) =>
    envelopeOf({
      spareCharges,
      noise: request.noise,
      stages: request.stages.map((stage) => ({
        ...stage,
        noiseMultiplier: common * ((stage.noiseRatio ?? 1) / least),
      })),
    })
  const pays = (noise: number): boolean => {
    const charges = envelopeAt(noise)
    const isPure = request.guarantee !== 'pure' || pureEpsilon(charges) <= targetEpsilon
    return isPure && epsilonBounds(charges, delta).epsilon <= targetEpsilon
  }
  try {
    let noise = roundUp(leastNoise(request, envelopeAt(1), { targetEpsilon, delta }), NOISE_DIGITS)
    // Two upper bounds of nearly the same may lie apart by more than the noise does: the tidy one must pay too.
    while (!pays(noise)) noise = roundUp(noise * NOISE_STEP, NOISE_DIGITS)
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
