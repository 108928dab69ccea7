import { PrivacyError } from './error.ts'

/**
 * One release of a Poisson-subsampled Gaussian mechanism, as data. An event's meaning never changes once logged:
 * another mechanism, relation or sampling gets another literal, never a new reading of an old one.
 */
export interface MechanismEvent {
  readonly mechanism: 'gaussian'
  /** Standard deviation of the noise over the L2 sensitivity of the sum it is added to; finite, above 0. */
  readonly noiseMultiplier: number
  /** Probability with which each unit enters the batch, independently of all others; 0 to 1 inclusive. */
  readonly samplingRate: number
  /** Neighbouring data sets: one unit is added or removed. Bounds for replacing a unit do not follow by doubling. */
  readonly neighbours: 'add-remove'
}

/** `count` releases with the same parameters: the form in which events are summed, stored and sent. */
export interface EventCount {
  readonly event: MechanismEvent
  /** Number of releases; a safe integer, 0 or more. */
  readonly count: number
}

const FIELDS = 'mechanism,neighbours,noiseMultiplier,samplingRate'

const isPositive = (value: unknown) => typeof value === 'number' && Number.isFinite(value) && value > 0
const isProbability = (value: unknown) => typeof value === 'number' && value >= 0 && value <= 1

/**
 * Checks an event of unknown origin and returns a frozen copy.
 * @throws PrivacyError `invalid_event` for a wrong value, a missing field or a field too many.
 */
export const validateEvent = (event: unknown): MechanismEvent => {
  const refuse = (what: string) => new PrivacyError('invalid_event', `mechanism event: ${what}`)
  if (typeof event !== 'object' || event === null) throw refuse('not an object')
  if (Object.keys(event).sort().join() !== FIELDS) throw refuse('fields missing or unknown')
  const { mechanism, noiseMultiplier, samplingRate, neighbours } = event as MechanismEvent
  if (mechanism !== 'gaussian') throw refuse('unknown mechanism')
  if (neighbours !== 'add-remove') throw refuse('unknown neighbouring relation')
  if (!isPositive(noiseMultiplier)) throw refuse('noiseMultiplier must be finite and above 0')
  if (!isProbability(samplingRate)) throw refuse('samplingRate must be between 0 and 1')
  return Object.freeze({ mechanism, noiseMultiplier, samplingRate, neighbours })
}

/**
 * The event of one round.
 * @example gaussianEvent({ noiseMultiplier: 1.1, samplingRate: 0.06 })
 * @throws PrivacyError `invalid_event`
 */
export const gaussianEvent = (parameters: { noiseMultiplier: number; samplingRate: number }): MechanismEvent =>
  validateEvent({
    mechanism: 'gaussian',
    noiseMultiplier: parameters.noiseMultiplier,
    samplingRate: parameters.samplingRate,
    neighbours: 'add-remove',
  })

/**
 * One string per meaning: equal for two events exactly when they cost the same release. Numbers are written in
 * ECMAScript's shortest round-trip form, so no two doubles share a key (0 and -0 are the same rate and do).
 * @throws PrivacyError `invalid_event`
 */
export const canonicalEvent = (event: MechanismEvent): string => {
  const { mechanism, neighbours, noiseMultiplier, samplingRate } = validateEvent(event)
  return [mechanism, neighbours, String(noiseMultiplier), String(samplingRate)].join('/')
}

/** @throws PrivacyError `invalid_count` */
export const validateCount = (count: number): number => {
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new PrivacyError('invalid_count', 'a count must be a safe integer, 0 or more')
  }
  return count
}
