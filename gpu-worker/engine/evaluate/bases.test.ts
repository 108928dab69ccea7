import { describe, expect, it } from 'vitest'
import { coreFactor, singularBases } from './bases.ts'

const random = (length: number, salt: number) =>
  Float32Array.from(
    { length },
    (_, i) =>
      Math.sin(i * 12.9898 + salt * 78.233) * 43758.5453 -
      Math.floor(Math.sin(i * 12.9898 + salt * 78.233) * 43758.5453) -
      0.5,
  )

/** A matrix of known singular values: sum of s_k u_k v_k^T with orthonormal u, v made of cosines. */
function known(inputs: number, outputs: number, values: readonly number[]): Float32Array {
  const cosine = (k: number, i: number, n: number) =>
    Math.sqrt(2 / n) * Math.cos((Math.PI * (k + 1) * (2 * i + 1)) / (2 * n))
  return Float32Array.from({ length: inputs * outputs }, (_, at) => {
    const [i, o] = [Math.floor(at / outputs), at % outputs]
    return values.reduce((sum, value, k) => sum + value * cosine(k, i, inputs) * cosine(k, o, outputs), 0)
  })
}

const product = (a: Float32Array, b: Float32Array, [n, k, m]: [number, number, number]) =>
  Float32Array.from({ length: n * m }, (_, at) => {
    let sum = 0
    for (let i = 0; i < k; i++) sum += a[Math.floor(at / m) * k + i]! * b[i * m + (at % m)]!
    return sum
  })

describe('singular bases', () => {
  it('are orthonormal', () => {
    const { left, right } = singularBases([random(24 * 40, 1)], { inputs: 24, rank: 3 })
    for (let a = 0; a < 3; a++)
      for (let b = 0; b < 3; b++) {
        let columns = 0
        let rows = 0
        for (let i = 0; i < 24; i++) columns += left[i * 3 + a]! * left[i * 3 + b]!
        for (let o = 0; o < 40; o++) rows += right[a * 40 + o]! * right[b * 40 + o]!
        expect(columns).toBeCloseTo(a === b ? 1 : 0, 5)
        expect(rows).toBeCloseTo(a === b ? 1 : 0, 5)
      }
  })

  it('span what a matrix of that rank does: U U^T W V^T V is W', () => {
    const weight = known(20, 32, [5, 3, 2])
    const { left, right } = singularBases([weight], { inputs: 20, rank: 3 })
    const turned = Float32Array.from({ length: 60 }, (_, at) => left[(at % 20) * 3 + Math.floor(at / 20)]!)
    const turnedRight = Float32Array.from({ length: 96 }, (_, at) => right[(at % 3) * 32 + Math.floor(at / 3)]!)
    const core = product(product(turned, weight, [3, 20, 32]), turnedRight, [3, 32, 3])
    const back = product(coreFactor(left, core, 3), right, [20, 3, 32])
    for (const [at, value] of back.entries()) expect(value).toBeCloseTo(weight[at]!, 4)
  })

  it('take products side by side', () => {
    const weight = known(20, 32, [5, 3])
    const halves = [0, 16].map((from) =>
      Float32Array.from({ length: 20 * 16 }, (_, at) => weight[Math.floor(at / 16) * 32 + from + (at % 16)]!),
    )
    expect(singularBases(halves, { inputs: 20, rank: 2 })).toEqual(singularBases([weight], { inputs: 20, rank: 2 }))
  })

  it('leave no direction for a matrix of zeros', () => {
    const { left } = singularBases([new Float32Array(6)], { inputs: 2, rank: 1 })
    expect([...left]).toEqual([0, 0])
  })
})
