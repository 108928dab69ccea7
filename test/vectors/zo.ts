import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { LowRankProduct } from '../../shared/zo/merge.ts'
import type { Perturbation } from '../../shared/zo/perturb.ts'
import { frozenFactor, type LoraSpace, type Space, type ZoKernels } from '../../shared/zo/index.ts'
import vectors from './direction.json' with { type: 'json' }

/** What has a plain and a fast implementation that must give the same bits. */
export interface ZoArithmetic extends Pick<ZoKernels, 'update'> {
  direction(seed: string, at: { round: number; k: number }, space: Space): Int8Array
  perturbedFactors(at: Perturbation, run: { seed: string; space: Space }): Float32Array
  mergeProduct(weight: Float32Array, outputs: number, product: LowRankProduct): void
}

export const sha256 = (values: Int8Array | Float32Array): string =>
  createHash('sha256').update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)).digest('hex')

/** Float32 in [-0.5, 0.5): the same function of the index as in make-direction.py. */
export const plainFloats = (length: number, salt: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length }, (_, i) => (Math.imul(i + salt, 2654435761) >>> 0) / 2 ** 32 - 0.5)

/** The vectors of a second implementation that every implementation of the arithmetic must meet. */
export function describeVectors(name: string, subject: ZoArithmetic): void {
  const { seed } = vectors
  describe.each(vectors.spaces)(`${name}: $name`, (wanted) => {
    const space = wanted.space as Space
    const run = { seed, space }
    const center = plainFloats(wanted.dimension, 1)
    const at = { center, round: wanted.round, directions: wanted.directions.length, radius: wanted.radius }

    it('meets the published directions', () => {
      const made = wanted.directions.map((_, k) => subject.direction(seed, { round: wanted.round, k }, space))
      expect(Array.from(made[0]!.subarray(0, 24))).toEqual(wanted.first)
      expect(made.map(sha256)).toEqual(wanted.directions)
    })

    it('meets the published perturbed vectors of two sides and of one', () => {
      expect(sha256(subject.perturbedFactors({ ...at, sides: 'two' }, run))).toBe(wanted.two)
      expect(sha256(subject.perturbedFactors({ ...at, sides: 'one' }, run))).toBe(wanted.one)
    })

    it('meets the published update, and leaves what it began with', () => {
      const { current, ...update } = wanted.update
      expect(sha256(subject.update(center, { round: wanted.round, ...update }, run))).toBe(current)
      expect(center).toEqual(plainFloats(wanted.dimension, 1))
    })
  })

  it.each(vectors.merges)(`${name}: merges $inputs x $outputs of rank $rank`, ({ weight: wanted, ...shape }) => {
    const { inputs, outputs, rank, columns, from, scale } = shape
    const weight = plainFloats(inputs * outputs, 2)
    const space: LoraSpace = { kind: 'lora', rank, trained: 'factor', sites: [] }
    const sites = [1, columns].map((width) => ({ name: '', inputs: 1, outputs: width, scale: 1 }))
    const right = frozenFactor(seed, { stage: 2, site: 1 }, { ...space, sites })
    subject.mergeProduct(weight, outputs, { left: plainFloats(inputs * rank, 3), right, rank, scale, columns, from })
    expect(sha256(weight)).toBe(wanted)
  })
}
