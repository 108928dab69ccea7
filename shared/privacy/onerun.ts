import { exp, log, log1p } from './elementary.ts'
import { PrivacyError } from './error.ts'

/**
 * A lower bound of epsilon from one run with planted units: Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run"
 * (arXiv 2305.08846), theorem 5.2 for (epsilon, delta). Of m canaries each was in the data with probability one half, independently;
 * somebody who saw only what was released guessed for some of them which were.
 */
export interface OneRun {
  /** m: canaries that were in the data or not by the toss of a coin. */
  readonly canaries: number
  /** r: those that were guessed at, a number that was fixed before anything was seen. */
  readonly guesses: number
  /** v: guesses that were right. */
  readonly correct: number
  readonly delta: number
}

/** Answers beyond are not told apart. */
const EPSILON_MAX = 64
const BISECTIONS = 50

/** log of the probabilities of 0 to n successes of n, each with the probability e^epsilon / (1 + e^epsilon). */
function logBinomial(n: number, epsilon: number): Float64Array {
  // log p = -log(1 + e^-epsilon), log(1 - p) = log p - epsilon.
  const logP = -log1p(exp(-epsilon))
  const logs = new Float64Array(n + 1)
  let choose = 0
  for (let k = 0; k <= n; k++) {
    logs[k] = choose + k * logP + (n - k) * (logP - epsilon)
    choose += log((n - k) / (k + 1) || 1)
  }
  return logs
}

/**
 * How likely it is that so many guesses are right, or more, where the mechanism is (epsilon, delta)-private: an upper bound.
 * @throws PrivacyError `invalid_count`, `invalid_delta`, `invalid_epsilon`
 */
export function chanceOfGuesses({ canaries, guesses, correct, delta }: OneRun, epsilon: number): number {
  const isWhole = [canaries, guesses, correct].every(Number.isSafeInteger)
  if (!isWhole || !(canaries >= guesses && guesses >= correct && correct >= 0 && canaries > 0))
    throw new PrivacyError('invalid_count', 'canaries, guesses and right ones descend, and are whole numbers')
  if (!(delta >= 0 && delta < 1)) throw new PrivacyError('invalid_delta', 'delta is at least 0 and below 1')
  if (!(epsilon >= 0)) throw new PrivacyError('invalid_epsilon', 'epsilon is at least 0')
  const mass = logBinomial(guesses, epsilon).map((value) => exp(value))
  let tail = 0
  for (let k = guesses; k >= correct; k--) tail += mass[k]!
  // The largest slope of the tail towards fewer right guesses: what delta may have made right.
  let [slope, gained] = [0, 0]
  for (let i = 1; i <= correct; i++) {
    gained += mass[correct - i]!
    slope = Math.max(slope, gained / i)
  }
  return Math.min(1, tail + 2 * canaries * delta * slope)
}

/**
 * The largest epsilon that the guesses refute: with the given confidence the mechanism is not (epsilon, delta)-private for any
 * smaller one. 0 where they refute none.
 * @param confidence such as 0.95
 * @throws PrivacyError as `chanceOfGuesses`
 */
export function oneRunLowerBound(run: OneRun, confidence: number): number {
  if (!(confidence > 0 && confidence < 1)) throw new PrivacyError('invalid_count', 'the confidence is between 0 and 1')
  const isRefuted = (epsilon: number) => chanceOfGuesses(run, epsilon) < 1 - confidence
  if (!isRefuted(0)) return 0
  let [low, high] = [0, EPSILON_MAX]
  for (let i = 0; i < BISECTIONS; i++) {
    const middle = (low + high) / 2
    if (isRefuted(middle)) low = middle
    else high = middle
  }
  return low
}
