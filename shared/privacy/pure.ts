import type { CalibrationStage } from './calibration.ts'
import { expm1, log1p } from './elementary.ts'
import { PrivacyError } from './error.ts'
import { type EventCount, type MechanismEvent, mechanismEvent, validateCount, validateEvent } from './event.ts'

/**
 * Pure differential privacy, delta 0: what Laplace noise gives and Gaussian noise does not. One Poisson-sampled release of
 * noise multiplier b at rate q costs log(1 + q (e^{1/b} - 1)), for one unit added or removed; releases add up. It is the
 * largest loss there is, so an (epsilon, delta) statement of the same releases is far smaller (accounting facts, (c) 11).
 */

/** More than the few roundings of a sum of products can take away. */
const SLACK = 1 + 2 ** -40

const costOf = ({ mechanism, noiseMultiplier, samplingRate, neighbours }: MechanismEvent): number => {
  if (mechanism !== 'laplace' || samplingRate === 0) return samplingRate === 0 ? 0 : Number.POSITIVE_INFINITY
  // A unit that is replaced may move the sum by twice as much.
  const steps = neighbours === 'replace-one' ? 2 : 1
  return log1p(samplingRate * expm1(steps / noiseMultiplier))
}

/**
 * Epsilon at delta 0 of all releases together, an upper bound; infinite where one of them has Gaussian noise.
 * @throws PrivacyError `invalid_event`, `invalid_count`
 */
export const pureEpsilon = (history: Iterable<EventCount>): number => {
  let sum = 0
  for (const { event, count } of history) if (validateCount(count) > 0) sum += count * costOf(validateEvent(event))
  return sum * SLACK
}

/** Halvings of the bracket in the log of the noise. */
const HALVINGS = 60

/**
 * Least common noise multiplier at which a schedule of Laplace releases costs no more than epsilon at delta 0; that of a stage
 * is its `noiseRatio` times it. The answer was itself tried.
 * @throws PrivacyError `unreachable_target`
 */
export const calibratePure = (question: { targetEpsilon: number; stages: readonly CalibrationStage[] }): number => {
  const costAt = (noise: number): number =>
    pureEpsilon(
      question.stages.map(({ samplingRate, rounds, noiseRatio = 1 }) => ({
        event: mechanismEvent({ mechanism: 'laplace', noiseMultiplier: noise * noiseRatio, samplingRate }),
        count: rounds,
      })),
    )
  let low = 2 ** -9
  let high = 2 ** 40
  if (!(question.targetEpsilon > 0) || !(costAt(high) <= question.targetEpsilon))
    throw new PrivacyError('unreachable_target', 'no noise meets this epsilon without delta')
  for (let step = 0; step < HALVINGS; step++) {
    const middle = Math.sqrt(low * high)
    if (costAt(middle) <= question.targetEpsilon) high = middle
    else low = middle
  }
  return high
}
