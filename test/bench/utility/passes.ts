import type { DraftStage } from '../../../shared/zo/index.ts'

/**
 * Forward passes are what a zeroth-order run costs, so that methods are compared at the same number of them: so many for each
 * record of the training set in a whole run, in expectation over the Poisson samples.
 */
export const PASSES = 100

/** A backward pass costs about two forward passes: a step of DP-SGD counts as three. */
export const PASSES_OF_GRADIENT = 3

/** Forward passes of a record in a round: two sides of each direction, or the center and one side of each. */
export const passesOfRound = (directions: number, sides: 'two' | 'one'): number =>
  sides === 'two' ? 2 * directions : directions + 1

/** Rounds that come nearest to `passes` for each record. @throws RangeError where a single round has more. */
export function roundsFor(
  { samplingRate, passesEach }: { samplingRate: number; passesEach: number },
  passes = PASSES,
): number {
  const rounds = Math.round(passes / (samplingRate * passesEach))
  if (rounds < 1) throw new RangeError('a round has more forward passes than the whole run may have')
  return rounds
}

/** Expected forward passes of a record in all rounds of a schedule. */
export const passesOf = (
  stages: readonly Pick<DraftStage, 'rounds' | 'samplingRate' | 'directions'>[],
  sides: 'two' | 'one' = 'two',
): number =>
  stages.reduce(
    (sum, { rounds, samplingRate, directions }) => sum + rounds * samplingRate * passesOfRound(directions, sides),
    0,
  )
