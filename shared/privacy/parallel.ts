/**
 * Several data sets under one account of a unit.
 *
 * Parallel composition. Each unit lives in exactly one data set, and which one is a function of that unit alone: were
 * it to depend on other units (a balanced split, a rank), adding one could move others. Releases on the other data sets
 * then do not read the unit at all. They may follow its data set's outputs, but as processing of what is already out,
 * so the unit's loss is that of its own data set's releases, and no unit's is above the largest. This holds with
 * interleaved releases and, where each data set has its own filter, with parameters chosen as one goes.
 *
 * The relation matters. Under add-remove and zero-out the above is all. Under replace-one it holds if the unit that
 * comes instead lives in the same data set; a unit that moves is removed from one and added to another, and costs the
 * composition of both data sets' releases under add-remove.
 */
import { PrivacyError } from './error.ts'
import { type EventCount, neighboursOf } from './event.ts'
import { spend } from './meter.ts'

/** Epsilon (nats) of a history at a delta: `spend`, `odometer` or another account of the same question. */
export type Accountant = (history: readonly EventCount[], delta: number) => { readonly epsilon: number }

/** @throws PrivacyError `invalid_composition` without a data set, `mixed_neighbours` */
const validateHistories = (histories: readonly (readonly EventCount[])[]) => {
  if (histories.length === 0) throw new PrivacyError('invalid_composition', 'histories must hold at least one data set')
  neighboursOf(histories.flat())
}

/**
 * What a unit spends at most when each lives in exactly one of these data sets: the largest of their epsilons. One
 * delta serves all; with a delta for each, the largest epsilon goes with the largest delta.
 *
 * @example parallelComposition([historyOfNorth, historyOfSouth], 1e-6).epsilon
 * @param histories one per data set
 * @returns epsilon in nats, and the index of the data set that spends it (of equals the first)
 * @throws PrivacyError `invalid_composition` without a data set, `mixed_neighbours`, and what the accountant throws
 */
export const parallelComposition = (
  histories: readonly (readonly EventCount[])[],
  delta: number,
  accountant: Accountant = spend,
): { readonly epsilon: number; readonly dataset: number } => {
  validateHistories(histories)
  const spent = histories.map((history) => accountant(history, delta).epsilon)
  const epsilon = Math.max(...spent)
  return { epsilon, dataset: spent.indexOf(epsilon) }
}

/**
 * What one user spends whose units are in several data sets, for the unit "all that this user has, everywhere": the
 * sequential composition of the releases on those data sets. Each must clip by user and sample its users independently
 * of the others.
 *
 * @example spendOfUser([historyOfNorth, historyOfSouth], 1e-6).epsilon // at least the parallel composition's
 * @param histories of the data sets that hold something of the user, and of no others
 * @returns epsilon in nats
 * @throws PrivacyError `invalid_composition` without a data set, `mixed_neighbours`, and what the accountant throws
 */
export const spendOfUser = (
  histories: readonly (readonly EventCount[])[],
  delta: number,
  accountant: Accountant = spend,
): { readonly epsilon: number } => {
  validateHistories(histories)
  const { epsilon } = accountant(histories.flat(), delta)
  return { epsilon }
}
