import { threefry4x32 } from '../../../shared/zo/index.ts'

/**
 * Singular bases of a base weight, between which LoRA-XS trains a core (arXiv 2405.17604). Made by subspace iteration in
 * doubles, in a stated order and without library functions, from a fixed start: every worker finds the same bits.
 */

export interface Bases {
  /** U: leading left singular vectors, row-major [inputs, rank], orthonormal columns. */
  readonly left: Float32Array
  /** V: leading right singular vectors, row-major [rank, outputs], orthonormal rows. */
  readonly right: Float32Array
}

/** Steps of the iteration: the gap between singular values of trained weights needs no more for a basis to train in. */
const STEPS = 6
const START_KEY = [0x5eed, 0, 0, 0] as const

/** Signs to start from. */
function startRows(rank: number, columns: number): Float64Array {
  const words = new Uint32Array(4)
  return Float64Array.from({ length: rank * columns }, (_, i) => {
    if (i % 128 === 0) threefry4x32(START_KEY, [i / 128, 0, 0, 0], words)
    return (words[(i >> 5) & 3]! >>> (i & 31)) & 1 ? -1 : 1
  })
}

/** Modified Gram-Schmidt, twice, on the rows of [rank, columns]. A row that vanishes stays zero. */
function orthonormalise(rows: Float64Array, rank: number, columns: number): void {
  for (let pass = 0; pass < 2; pass++) {
    for (let r = 0; r < rank; r++) {
      const row = rows.subarray(r * columns, (r + 1) * columns)
      for (let before = 0; before < r; before++) {
        const other = rows.subarray(before * columns, (before + 1) * columns)
        let product = 0
        for (let i = 0; i < columns; i++) product += row[i]! * other[i]!
        for (let i = 0; i < columns; i++) row[i]! -= product * other[i]!
      }
      let square = 0
      for (let i = 0; i < columns; i++) square += row[i]! * row[i]!
      const length = Math.sqrt(square)
      for (let i = 0; i < columns; i++) row[i] = length > 0 ? row[i]! / length : 0
    }
  }
}

/** W side by side: row-major [inputs, sum of columns]. */
function beside(weights: readonly Float32Array[], inputs: number): Float32Array {
  if (weights.length === 1) return weights[0]!
  const columns = weights.map((weight) => weight.length / inputs)
  const total = columns.reduce((sum, count) => sum + count, 0)
  const joined = new Float32Array(inputs * total)
  let start = 0
  weights.forEach((weight, part) => {
    for (let i = 0; i < inputs; i++) {
      joined.set(weight.subarray(i * columns[part]!, (i + 1) * columns[part]!), i * total + start)
    }
    start += columns[part]!
  })
  return joined
}

/**
 * Leading singular bases of a site's weight.
 * @param weights the products of the site, each row-major [inputs, its outputs]; taken side by side.
 */
export function singularBases(weights: readonly Float32Array[], size: { inputs: number; rank: number }): Bases {
  const { inputs, rank } = size
  const weight = beside(weights, inputs)
  const outputs = weight.length / inputs
  const right = startRows(rank, outputs)
  const left = new Float64Array(rank * inputs)
  orthonormalise(right, rank, outputs)
  for (let step = 0; step < STEPS; step++) {
    // left = (W right^T)^T
    for (let r = 0; r < rank; r++) {
      for (let i = 0; i < inputs; i++) {
        let sum = 0
        for (let o = 0; o < outputs; o++) sum += weight[i * outputs + o]! * right[r * outputs + o]!
        left[r * inputs + i] = sum
      }
    }
    orthonormalise(left, rank, inputs)
    // right = left W
    right.fill(0)
    for (let i = 0; i < inputs; i++) {
      for (let r = 0; r < rank; r++) {
        const factor = left[r * inputs + i]!
        for (let o = 0; o < outputs; o++) right[r * outputs + o]! += factor * weight[i * outputs + o]!
      }
    }
    orthonormalise(right, rank, outputs)
  }
  return { left: columnsFirst(left, rank), right: Float32Array.from(right) }
}

/** Signs made orthonormal: U [inputs, rank] and V [rank, outputs] of a stage, from the public seed alone. */
export function seededBases(signs: { readonly left: Int8Array; readonly right: Int8Array }, rank: number): Bases {
  const [left, right] = [Float64Array.from(signs.left), Float64Array.from(signs.right)]
  const inputs = left.length / rank
  orthonormalise(left, rank, inputs)
  orthonormalise(right, rank, right.length / rank)
  return { left: columnsFirst(left, rank), right: Float32Array.from(right) }
}

/** [rank, inputs] as [inputs, rank]. */
function columnsFirst(rows: Float64Array, rank: number): Float32Array {
  const inputs = rows.length / rank
  return Float32Array.from({ length: rows.length }, (_, at) => rows[(at % rank) * inputs + Math.floor(at / rank)]!)
}

/** A = U R, row-major [inputs, rank], each entry summed in doubles and rounded once. */
export function coreFactor(basis: Float32Array, core: Float32Array, rank: number): Float32Array {
  return Float32Array.from({ length: basis.length }, (_, at) => {
    const row = at - (at % rank)
    let sum = 0
    for (let r = 0; r < rank; r++) sum += basis[row + r]! * core[r * rank + (at % rank)]!
    return sum
  })
}
