import type { Curves } from '../../../shared/api/index.ts'

/** Rounds that a running mean takes in, as the API's own do. */
export const WINDOW = 16
/** Of a normal variable, 95 in 100 lie within so many standard deviations. */
const SIGMAS_95 = 1.96

/** Running means over the last `WINDOW` values; null where there is none among them. */
export function runningMean(values: readonly (number | null)[]): (number | null)[] {
  let sum = 0
  let known = 0
  return values.map((value, i) => {
    if (value !== null) {
      sum += value
      known += 1
    }
    const gone = i >= WINDOW ? values[i - WINDOW]! : null
    if (gone !== null) {
      sum -= gone
      known -= 1
    }
    return known === 0 ? null : sum / known
  })
}

/**
 * The running mean of private losses, and where it would lie without the noise that was added, with a confidence of about 95 %
 * (of a mean of few rounds with Laplace noise 94 %). What
 * sampling does to it is not in the band: it is not known.
 */
export function lossBand({ privateLoss, lossDeviation }: Pick<Curves, 'privateLoss' | 'lossDeviation'>) {
  const mean = runningMean(privateLoss)
  const half = mean.map((_, i) => {
    const own = lossDeviation.slice(Math.max(0, i + 1 - WINDOW), i + 1).filter((value) => value !== null)
    return own.length === 0 ? null : (SIGMAS_95 * Math.sqrt(own.reduce((sum, each) => sum + each ** 2, 0))) / own.length
  })
  const shifted = (sign: number) =>
    mean.map((value, i) => (value === null || half[i] == null ? null : value + sign * half[i]))
  return { mean, half, low: shifted(-1), high: shifted(1) }
}
