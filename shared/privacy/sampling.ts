/** Poisson sampling of units with secret randomness: which units took part is what the amplification hides. */
import { PrivacyError } from './error.ts'
import { type RandomBytes, type SecretWords, withSecretWords } from './randomness.ts'

/** What neighbouring data sets differ in. */
export type Unit = 'record' | 'user'

const BASE = 2 ** 32

/** All digits of q in (0,1), base 2^32: finitely many, as q is a double; scaling by 2^32 is exact. */
const digitsOf = (q: number): number[] => {
  const digits: number[] = []
  for (let rest = q; rest > 0; rest -= Math.floor(rest)) {
    rest *= BASE
    digits.push(Math.floor(rest))
  }
  return digits
}

/** Whether a uniform deviate is below the number with these digits: true with probability exactly q. */
const isBelow = (digits: readonly number[], words: SecretWords): boolean => {
  for (const digit of digits) {
    const word = words.word()
    if (word !== digit) return word < digit
  }
  return false
}

const choose = (q: number, words: SecretWords) => {
  if (q === 0) return () => false
  if (q === 1) return () => true
  const digits = digitsOf(q)
  return () => isBelow(digits, words)
}

/**
 * Draws a batch: each unit independently with probability exactly q (the double's exact value). An empty batch is a
 * normal batch.
 *
 * @returns indices of the chosen units, increasing
 * @throws PrivacyError `invalid_sampling`, `rng_failure`
 */
export const poissonSample = (units: number, q: number, random: RandomBytes): number[] => {
  if (!Number.isSafeInteger(units) || units < 0 || !(q >= 0 && q <= 1)) {
    throw new PrivacyError('invalid_sampling', 'units must be a count and the rate between 0 and 1')
  }
  return withSecretWords(random, (words) => {
    const chosen = choose(q, words)
    const batch: number[] = []
    for (let unit = 0; unit < units; unit++) if (chosen()) batch.push(unit)
    return batch
  })
}

/**
 * Line indices of each unit, in order of first appearance: every line by itself, or all lines of a user together.
 * @throws PrivacyError `missing_user` for a line without a user id (or an empty one) where the unit is a user: such
 *   lines may belong to several people, and neither grouping them nor splitting them would keep the bound
 */
export const unitsOf = (lines: readonly { readonly user?: string }[], unit: Unit): number[][] => {
  if (unit === 'record') return lines.map((_, i) => [i])
  const byUser = new Map<string, number[]>()
  lines.forEach(({ user }, i) => {
    if (!user) throw new PrivacyError('missing_user', 'every line needs a user id when the unit is a user')
    const known = byUser.get(user)
    if (known) known.push(i)
    else byUser.set(user, [i])
  })
  return [...byUser.values()]
}
