import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  direction,
  type FullSpace,
  groupAt,
  groupCount,
  perturb,
  perturbationStep,
  portableKernels,
  type Space,
  segmentOffsets,
  spaceDimension,
} from '../../../shared/zo/index.ts'
import { describeVectors, plainFloats } from '../../../test/vectors/zo.ts'
import { compile } from './build.ts'
import {
  KernelMemory,
  lowRankBytes,
  lowRankRoom,
  mergeProduct,
  perturbKept,
  perturbLowRank,
  perturbPair,
  perturbSegment,
  VectorKernels,
  wasmKernels,
} from './index.ts'
import { rounded } from './memory.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

it('is what its source compiles to (npm run kernels)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-kernels-'))
  const output = join(folder, 'zo.wasm')
  compile(relative(ROOT, output))
  expect(readFileSync(output)).toEqual(readFileSync(new URL('zo.wasm', import.meta.url)))
  rmSync(folder, { recursive: true })
})

/** Perturbed vectors of any space, by the kernels that suit it. */
function perturbed(space: Space, center: Float32Array, at: { seed: string; round: number; k: number }, step: number) {
  if (space.kind !== 'full' || space.directions.kind === 'dense')
    return new VectorKernels({ seed: at.seed, space }).perturb(center, at, step)
  const { rank } = space.directions
  const out = new Float32Array(center.length)
  const offsets = segmentOffsets(space)
  space.tensors.forEach((tensor, segment) => {
    const length = (offsets[segment + 1] ?? center.length) - offsets[segment]!
    const memory = new KernelMemory(2 * rounded(4 * length) + lowRankBytes([tensor], rank))
    const vectors = { out: memory.floats(length), center: memory.floats(length) }
    vectors.center.set(center.subarray(offsets[segment]!, offsets[segment]! + length))
    const room = lowRankRoom(memory, [tensor], rank)
    perturbLowRank(memory, { ...vectors, room }, { ...at, segment, tensor, rank }, step)
    out.set(vectors.out, offsets[segment]!)
  })
  return out
}

describeVectors('WebAssembly', {
  direction: (seed, at, space) => {
    if (space.kind !== 'full' || space.directions.kind === 'dense')
      return new VectorKernels({ seed, space }).direction(at)
    // The integers of a low-rank direction, as steps of one from zero.
    return Int8Array.from(perturbed(space, new Float32Array(spaceDimension(space)), { seed, ...at }, 1))
  },
  perturbedFactors: (at, run) => {
    const step = perturbationStep(at.radius, run.space)
    const groups = Array.from({ length: groupCount(at) }, (_, group) => {
      const { k, sign } = groupAt(group, at.sides)
      return sign === 0
        ? at.center
        : perturbed(run.space, at.center, { seed: run.seed, round: at.round, k }, sign * step)
    })
    const all = new Float32Array(groups.length * at.center.length)
    groups.forEach((group, g) => {
      all.set(group, g * group.length)
    })
    return all
  },
  update: wasmKernels.update,
  mergeProduct,
})

const seed = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => value.toString(16).padStart(16, '0'))
const at = fc.record({ seed, round: fc.nat(1e6), k: fc.nat(4095), segment: fc.nat(3) })

/** A dense space whose segment `segment` has `length` coordinates. */
const dense = (segment: number, length: number): FullSpace => ({
  kind: 'full',
  directions: { kind: 'dense' },
  tensors: Array.from({ length: segment + 1 }, (_, i) => ({ name: `${i}`, shape: [i === segment ? length : 1] })),
})

describe('one segment, the same bits as plain TypeScript', () => {
  it('property: perturbed, on one side, on both sides and by kept entries', () => {
    fc.assert(
      fc.property(at, fc.nat(1600), fc.double({ min: 1e-6, max: 10, noNaN: true }), (place, length, radius) => {
        const step = Math.fround(radius)
        const z = direction(place.seed, place, dense(place.segment, length)).subarray(place.segment)
        const values = plainFloats(length, 5)
        const memory = new KernelMemory(5 * rounded(4 * Math.max(1, 2 * length)))
        const [center, plus, minus] = [memory.floats(length), memory.floats(length), memory.floats(length)]
        center.set(values)
        perturbSegment(memory, { out: plus, center }, place, -step)
        expect(plus).toEqual(perturb(values, z, -step))
        perturbPair(memory, { plus, minus, center }, place, step)
        expect(plus).toEqual(perturb(values, z, step))
        expect(minus).toEqual(perturb(values, z, -step))
        const kept = memory.indices(Uint32Array.from({ length }, (_, i) => 2 * i))
        const whole = plainFloats(2 * length, 8)
        const wide = memory.floats(2 * length)
        wide.set(whole)
        const middle = new Float32Array(whole)
        perturbKept(memory, { out: wide, center: wide, kept }, place, step)
        const expected = perturb(
          middle.filter((_, i) => i % 2 === 0),
          z,
          step,
        )
        expect(wide.filter((_, i) => i % 2 === 0)).toEqual(expected)
        expect(wide.filter((_, i) => i % 2 === 1)).toEqual(middle.filter((_, i) => i % 2 === 1))
      }),
      { numRuns: 60 },
    )
  })

  it('property: updated, whatever the shapes, coefficients and rates', () => {
    const shape = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 3 })
    const directions = fc.oneof(
      fc.constant({ kind: 'dense' } as const),
      fc.record({ kind: fc.constant('low-rank' as const), rank: fc.integer({ min: 1, max: 6 }) }),
    )
    const number = fc.double({ min: -100, max: 100, noNaN: true })
    fc.assert(
      fc.property(
        fc.array(shape, { minLength: 1, maxLength: 3 }),
        directions,
        fc.record({
          round: fc.nat(99),
          coefficients: fc.array(number, { maxLength: 5 }),
          learningRate: number,
          prox: number,
        }),
        (shapes, kind, update) => {
          const tensors = shapes.map((dims, i) => ({ name: `${i}`, shape: dims }))
          const space: FullSpace = { kind: 'full', directions: kind, tensors }
          const current = plainFloats(spaceDimension(space), 3)
          const run = { seed: '00000000000000aa', space }
          const wanted = portableKernels.update(current, update, run)
          expect(wasmKernels.update(current, update, run)).toEqual(wanted)
          const parts = [new Uint8Array(wanted.buffer)]
          expect(wasmKernels.digest(parts)).toBe(portableKernels.digest(parts))
        },
      ),
      { numRuns: 60 },
    )
  })
})

it('says how much memory it lacks', () => {
  expect(() => new KernelMemory(5 * 2 ** 30)).toThrow(expect.objectContaining({ code: 'out_of_memory' }))
})
