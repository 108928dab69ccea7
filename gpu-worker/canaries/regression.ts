/** Of a coin that is 0 or 1. */
const PRIOR = { mean: 0.5, variance: 0.25 }

/**
 * Linear regression of noisy sums on what each of m unknowns adds to them, where each unknown is 0 or 1 by a coin (ridge regression, or
 * the linear estimate of least mean square error): b = 1/2 + (V'V + 4 I)^-1 V' (r - V/2), with noise of deviation 1.
 */
export class Regression {
  readonly #size: number
  /** V'V, row-major. */
  readonly #gram: Float64Array
  /** V' (r - V/2). */
  readonly #moment: Float64Array

  constructor(unknowns: number) {
    this.#size = unknowns
    this.#gram = new Float64Array(unknowns * unknowns)
    this.#moment = new Float64Array(unknowns)
  }

  /** @param added by each unknown, in deviations of the noise @param sums in the same */
  add(added: readonly Float64Array[], sums: Float64Array): void {
    const rest = sums.slice()
    for (const vector of added) for (let k = 0; k < rest.length; k++) rest[k]! -= PRIOR.mean * vector[k]!
    for (const [i, row] of added.entries()) {
      this.#moment[i]! += product(row, rest)
      for (let j = 0; j <= i; j++) this.#gram[i * this.#size + j]! += product(row, added[j]!)
    }
  }

  /** Of each unknown. */
  estimate(): Float64Array {
    const n = this.#size
    const factor = cholesky(this.#gram, n, 1 / PRIOR.variance)
    const solved = this.#moment.slice()
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < i; j++) solved[i]! -= factor[i * n + j]! * solved[j]!
      solved[i]! /= factor[i * n + i]!
    }
    for (let i = n - 1; i >= 0; i--) {
      for (let j = i + 1; j < n; j++) solved[i]! -= factor[j * n + i]! * solved[j]!
      solved[i]! /= factor[i * n + i]!
    }
    return solved.map((value) => value + PRIOR.mean)
  }
}

const product = (a: Float64Array, b: Float64Array): number => {
  let sum = 0
  for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!
  return sum
}

/** Lower factor of a symmetric matrix, of which the lower half is given, with `ridge` on its diagonal. */
function cholesky(matrix: Float64Array, n: number, ridge: number): Float64Array {
  const factor = new Float64Array(n * n)
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * n + j]! + (i === j ? ridge : 0)
      for (let k = 0; k < j; k++) sum -= factor[i * n + k]! * factor[j * n + k]!
      factor[i * n + j] = i === j ? Math.sqrt(sum) : sum / factor[j * n + j]!
    }
  }
  return factor
}
