import { PrivacyError } from './error.ts'

const MECHANISMS = ['gaussian', 'laplace'] as const
const RELATIONS = ['add-remove', 'zero-out', 'replace-one'] as const

/** The noise that is added: independent in each coordinate, of a normal or a Laplace distribution. */
export type Mechanism = (typeof MECHANISMS)[number]

/**
 * Which data sets count as neighbours, that is, what epsilon and delta hide. Bounds for one relation do not follow
 * from those for another by doubling epsilon.
 *
 * - `add-remove`: one unit is added or removed.
 * - `zero-out`: one unit's contribution is replaced by nothing while the number of units stays public; the pair of
 *   output distributions is that of add-remove.
 * - `replace-one`: one unit is exchanged for another, so two opposite contributions may differ. In units of what one
 *   unit contributes at most, P = (1-q) N(0) + q N(-1) against Q = (1-q) N(0) + q N(+1).
 */
export type Neighbours = (typeof RELATIONS)[number]

/**
 * One release of a Poisson-subsampled additive mechanism, as data. An event's meaning never changes once logged:
 * another mechanism, relation or sampling gets another literal, never a new reading of an old one.
 */
export interface MechanismEvent {
  readonly mechanism: Mechanism
  /**
   * Noise over the most that one unit contributes to the sum it is added to; finite, above 0. Gaussian: standard
   * deviation over the L2 norm. Laplace: scale b over the L1 norm.
   */
  readonly noiseMultiplier: number
  /** Probability with which each unit enters the batch, independently of all others; 0 to 1 inclusive. */
  readonly samplingRate: number
  readonly neighbours: Neighbours
}

/** `count` releases with the same parameters: the form in which events are summed, stored and sent. */
export interface EventCount {
  readonly event: MechanismEvent
  /** Number of releases; a safe integer, 0 or more. */
  readonly count: number
}

const FIELDS = ['mechanism', 'neighbours', 'noiseMultiplier', 'samplingRate']

const isPositive = (value: unknown) => typeof value === 'number' && Number.isFinite(value) && value > 0
const isProbability = (value: unknown) => typeof value === 'number' && value >= 0 && value <= 1
const refuse = (what: string) => new PrivacyError('invalid_event', `mechanism event: ${what}`)

const validateFields = (event: object) => {
  const missing = FIELDS.find((field) => !Object.hasOwn(event, field))
  if (missing !== undefined) throw refuse(`${missing} is missing`)
  if (Object.keys(event).some((field) => !FIELDS.includes(field))) throw refuse('unknown field')
}

/**
 * Checks an event of unknown origin and returns a frozen copy.
 * @throws PrivacyError `invalid_event` for a wrong value, a missing field or a field too many; the message names the
 *   field, unless it is one that no event has
 */
export const validateEvent = (event: unknown): MechanismEvent => {
  if (typeof event !== 'object' || event === null) throw refuse('not an object')
  validateFields(event)
  const { mechanism, noiseMultiplier, samplingRate, neighbours } = event as MechanismEvent
  if (!MECHANISMS.includes(mechanism)) throw refuse('unknown mechanism')
  if (!RELATIONS.includes(neighbours)) throw refuse('neighbours is an unknown relation')
  if (!isPositive(noiseMultiplier)) throw refuse('noiseMultiplier must be finite and above 0')
  if (!isProbability(samplingRate)) throw refuse('samplingRate must be between 0 and 1')
  return Object.freeze({ mechanism, noiseMultiplier, samplingRate, neighbours })
}

/** What a constructor of events takes. */
export interface EventParameters {
  readonly noiseMultiplier: number
  readonly samplingRate: number
  /** `add-remove` if absent. */
  readonly neighbours?: Neighbours
}

/**
 * The event of one round.
 * @example mechanismEvent({ mechanism: 'laplace', noiseMultiplier: 2, samplingRate: 0.1, neighbours: 'zero-out' })
 * @throws PrivacyError `invalid_event`
 */
export const mechanismEvent = (parameters: EventParameters & { readonly mechanism?: Mechanism }): MechanismEvent => {
  const { mechanism = 'gaussian', neighbours = 'add-remove', noiseMultiplier, samplingRate } = parameters
  return validateEvent({ mechanism, noiseMultiplier, samplingRate, neighbours })
}

/**
 * A Gaussian event, whatever else `parameters` holds.
 * @example gaussianEvent({ noiseMultiplier: 1.1, samplingRate: 0.06 })
 * @throws PrivacyError `invalid_event`
 */
export const gaussianEvent = (parameters: EventParameters): MechanismEvent =>
  mechanismEvent({ ...parameters, mechanism: 'gaussian' })

/**
 * A Laplace event; the noise multiplier is the scale over the L1 sensitivity.
 * @example laplaceEvent({ noiseMultiplier: 2, samplingRate: 1 })
 * @throws PrivacyError `invalid_event`
 */
export const laplaceEvent = (parameters: EventParameters): MechanismEvent =>
  mechanismEvent({ ...parameters, mechanism: 'laplace' })

/**
 * One string per meaning: equal for two events exactly when they are the same release. Numbers are written in
 * ECMAScript's shortest round-trip form, so no two doubles share a key (0 and -0 are the same rate and do).
 * @example 'gaussian/add-remove/1.1/0.06'
 * @throws PrivacyError `invalid_event`
 */
export const canonicalEvent = (event: MechanismEvent): string => {
  const { mechanism, neighbours, noiseMultiplier, samplingRate } = validateEvent(event)
  return [mechanism, neighbours, String(noiseMultiplier), String(samplingRate)].join('/')
}

/**
 * The event of a canonical string: `canonicalEvent(parseEvent(text)) === text` for every text that is not refused.
 * @throws PrivacyError `invalid_event` for anything but a canonical string, such as `1.10` for `1.1`
 */
export const parseEvent = (text: string): MechanismEvent => {
  const [mechanism, neighbours, noise, rate] = text.split('/')
  const event = { mechanism, noiseMultiplier: Number(noise), samplingRate: Number(rate), neighbours }
  const parsed = validateEvent(event)
  if (canonicalEvent(parsed) !== text) throw refuse('the text is not in canonical form')
  return parsed
}

/** @throws PrivacyError `invalid_count` */
export const validateCount = (count: number): number => {
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new PrivacyError('invalid_count', 'a count must be a safe integer, 0 or more')
  }
  return count
}

const summed = (history: Iterable<EventCount>) => {
  const counts = new Map<string, EventCount>()
  for (const { event, count } of history) {
    const key = canonicalEvent(event)
    const sum = validateCount(validateCount(count) + (counts.get(key)?.count ?? 0))
    counts.set(key, { event: validateEvent(event), count: sum })
  }
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1))
}

/**
 * One entry per distinct event, in the order of the canonical keys: two histories of the same releases, in whatever
 * order and grouping, give the same list and therefore the same epsilon to the last bit.
 * @throws PrivacyError `invalid_event`, `invalid_count` (also where a sum is no safe integer)
 */
export const distinctEvents = (history: Iterable<EventCount>): EventCount[] => summed(history).map(([, entry]) => entry)

/**
 * One string per multiset of releases, whatever their order and grouping; entries without a release are left out.
 * @example 'gaussian/add-remove/1.1/0.06*300;laplace/add-remove/2/1*4'
 * @throws PrivacyError `invalid_event`, `invalid_count`
 */
export const canonicalHistory = (history: Iterable<EventCount>): string =>
  summed(history)
    .filter(([, { count }]) => count > 0)
    .map(([key, { count }]) => `${key}*${count}`)
    .join(';')

/**
 * The one relation between neighbours that all these releases share, or null without a release.
 * @throws PrivacyError `mixed_neighbours` where relations differ: an epsilon of a mixture says nothing about any of
 *   them; `invalid_event`, `invalid_count`
 */
export const neighboursOf = (history: Iterable<EventCount>): Neighbours | null => {
  let shared: Neighbours | null = null
  for (const { event, count } of history) {
    const { neighbours } = validateEvent(event)
    if (validateCount(count) === 0) continue
    if (shared !== null && shared !== neighbours) {
      throw new PrivacyError('mixed_neighbours', 'all events of a history must have the same neighbours')
    }
    shared = neighbours
  }
  return shared
}
