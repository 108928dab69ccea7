/** What several units together may expect, such as a household or a user whose records are the units. */
import { exp, expm1, log1p } from './elementary.ts'
import { PrivacyError } from './error.ts'
import { type EventCount, mechanismEvent } from './event.ts'
import { type Budget, spend } from './meter.ts'
import type { Accountant } from './parallel.ts'
import { validateDelta } from './rdp.ts'

/** Relative allowance for the rounding of the sums below: a few exponentials of arguments up to 700. */
const ROUNDING = 1e-12
/** `groupSpend` halves the unit's delta at most this often; beyond, every delta underflows. */
const HALVINGS_MAX = 1000

const validateSize = (units: number): number => {
  if (!Number.isSafeInteger(units) || units < 1) {
    throw new PrivacyError('invalid_group', 'the number of units in a group must be a safe integer, 1 or more')
  }
  return units
}

const validateGuarantee = ({ epsilon, delta }: Budget) => {
  if (!(epsilon >= 0)) throw new PrivacyError('invalid_epsilon', 'epsilon must be 0 or more')
  if (!(delta >= 0 && delta <= 1)) throw new PrivacyError('invalid_delta', 'delta must be between 0 and 1')
}

/** 1 + e^epsilon + ... + e^((units-1) epsilon), an upper bound; Infinity where it overflows. */
const geometricSum = (epsilon: number, units: number) => {
  if (epsilon === 0) return units
  const largest = exp((units - 1) * epsilon)
  return largest * (expm1(-units * epsilon) / expm1(-epsilon)) * (1 + ROUNDING)
}

/**
 * The guarantee that an (epsilon, delta) for one unit implies for `units` of them, whatever the mechanism and the
 * relation: k epsilon and delta (1 + e^epsilon + ... + e^((k-1) epsilon)), by going from one data set to the other in k
 * steps of one unit each (Vadhan 2017, The complexity of differential privacy, lemma 2.2, with the sum written out).
 *
 * @example groupGuarantee({ epsilon: 1, delta: 1e-8 }, 3) // epsilon 3, delta about 1.11e-7
 * @returns epsilon in nats; delta 1 where the bound promises nothing
 * @throws PrivacyError `invalid_epsilon`, `invalid_delta`, `invalid_group`
 */
export const groupGuarantee = (guarantee: Budget, units: number): Budget => {
  validateGuarantee(guarantee)
  const { epsilon, delta } = guarantee
  if (validateSize(units) === 1 || delta === 0) return { epsilon: units * epsilon, delta }
  if (epsilon === Number.POSITIVE_INFINITY) return { epsilon, delta: 1 }
  return { epsilon: units * epsilon, delta: Math.min(1, delta * geometricSum(epsilon, units)) }
}

/**
 * The releases as they look to a group of `units` that joins or leaves (or is replaced) together: events that dominate
 * what happens to the group, for any accountant.
 *
 * Unsampled, k units move the sum by k times the sensitivity: the noise multiplier is divided by k, exactly. Sampled at
 * rate q, at least one of them is in the batch with probability 1 - (1-q)^k, and those that are move the sum by at most
 * k sensitivities. Given which ones, the release is that of a single unit of k times the sensitivity at rate
 * 1 - (1-q)^k; the group's is a mixture of these, and the hockey-stick divergence of a mixture is at most the largest
 * of its parts (joint convexity), at every epsilon. Domination of each release carries over to compositions (Zhu, Dong,
 * Wang 2022, arXiv 2106.08567). A group of which some join while others leave is not covered.
 *
 * Mostly only one of a group is in a batch, and k sensitivities is far too much then: with small rates
 * `groupGuarantee` gives less. `groupSpend` takes the better of the two.
 *
 * @throws PrivacyError `invalid_group`, `invalid_event` (also where the noise per unit underflows)
 */
export const groupEvents = (history: readonly EventCount[], units: number): EventCount[] => {
  validateSize(units)
  return history.map(({ event, count }) => ({
    event: mechanismEvent({
      ...event,
      noiseMultiplier: event.noiseMultiplier / units,
      samplingRate: groupRate(event.samplingRate, units),
    }),
    count,
  }))
}

/** 1 - (1-q)^k, without cancellation. */
const groupRate = (rate: number, units: number) => (units === 1 || rate === 1 ? rate : -expm1(units * log1p(-rate)))

/** k epsilon at the largest delta / 2^i for one unit with which the group's delta is met; Infinity if there is none. */
const genericSpend = (history: readonly EventCount[], group: { units: number; delta: number }, of: Accountant) => {
  for (let i = 0, delta = group.delta; i <= HALVINGS_MAX && delta > 0; i++, delta /= 2) {
    const bound = groupGuarantee({ epsilon: of(history, delta).epsilon, delta }, group.units)
    if (bound.delta <= group.delta) return bound.epsilon
  }
  return Number.POSITIVE_INFINITY
}

/**
 * Epsilon of a group of units that joins, leaves or is replaced together, for parameters fixed beforehand: the less of
 * the generic bound, at the first delta for one unit, in halvings, that does, and the accountant's epsilon of
 * `groupEvents`. Where outputs steer the parameters, give `groupEvents` to the filter or the odometer instead.
 *
 * @example groupSpend(history, { units: 3, delta: 1e-6 }).epsilon
 * @returns epsilon in nats; Infinity when neither gives a finite bound
 * @throws PrivacyError `invalid_group`, `invalid_delta`, and what the accountant throws
 */
export const groupSpend = (
  history: readonly EventCount[],
  group: { readonly units: number; readonly delta: number },
  accountant: Accountant = spend,
): { readonly epsilon: number } => {
  validateSize(group.units)
  validateDelta(group.delta)
  const ofEvents = accountant(groupEvents(history, group.units), group.delta).epsilon
  return { epsilon: Math.min(ofEvents, genericSpend(history, group, accountant)) }
}
