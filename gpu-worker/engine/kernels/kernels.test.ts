import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import {
  advance,
  direction,
  type FullSpace,
  groupAt,
  groupCount,
  type LoraSpace,
  perturb,
  perturbationStep,
  portableKernels,
  mergeProduct as portableMerge,
  RANK_MAX,
  ReplayError,
  type ReplaySpec,
  replay,
  replayStart,
  type Space,
  segmentOffsets,
  spaceDimension,
  stateHash,
} from '../../../shared/zo/index.ts'
import vectors from '../../../test/vectors/direction.json' with { type: 'json' }
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
import { rounded, SCRATCH } from './memory.ts'
import { selectStream } from './perturb.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

it('is what its source compiles to (npm run kernels)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sotto-kernels-'))
  const output = join(folder, 'zo.wasm')
  compile(relative(ROOT, output))
  expect(readFileSync(output)).toEqual(readFileSync(new URL('zo.wasm', import.meta.url)))
  rmSync(folder, { recursive: true })
})

/** Perturbed vectors of any space, by the kernels that suit it. */
function perturbed(
  space: Space,
  center: Float32Array,
  at: { seed: string; round: number; k: number },
  by: { radius: number; sign: 1 | -1 },
) {
  if (space.kind !== 'full' || space.directions.kind === 'dense')
    return new VectorKernels({ seed: at.seed, space }).perturb(center, at, by)
  const step = by.sign * perturbationStep(by.radius, space)
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
    return Int8Array.from(
      perturbed(
        space,
        new Float32Array(spaceDimension(space)),
        { seed, ...at },
        { radius: Math.sqrt(space.directions.rank), sign: 1 },
      ),
    )
  },
  perturbedFactors: (at, run) => {
    const groups = Array.from({ length: groupCount(at) }, (_, group) => {
      const { k, sign } = groupAt(group, at.sides)
      return sign === 0
        ? at.center
        : perturbed(run.space, at.center, { seed: run.seed, round: at.round, k }, { radius: at.radius, sign })
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

describe('over the edges of what is held at once, the same bits as plain TypeScript', () => {
  const run = (directions: FullSpace['directions'], ...shapes: number[][]) => ({
    seed: '00000000000000ab',
    space: { kind: 'full', directions, tensors: shapes.map((shape, i) => ({ name: `${i}`, shape })) } as FullSpace,
  })
  const updated = (count: number, of: ReturnType<typeof run>) => {
    const current = plainFloats(spaceDimension(of.space), 4)
    const coefficients = Array.from({ length: count }, (_, k) => Math.fround(Math.sin(k)) / 3)
    const update = { round: 5, coefficients, learningRate: 0.3, prox: 0.1 }
    return [wasmKernels.update(current, update, of), portableKernels.update(current, update, of)]
  }

  it.each([59, 60, 61, 130])('updates along %i directions', (count) => {
    const [fast, plain] = updated(count, run({ kind: 'dense' }, [700], [1], [513]))
    expect(fast).toEqual(plain)
  })

  it.each([2 ** 15 - 1, 2 ** 15, 2 ** 16 + 77])('updates %i coordinates of one tensor', (length) => {
    const [fast, plain] = updated(2, run({ kind: 'dense' }, [5], [length]))
    expect(fast).toEqual(plain)
  })

  it.each([
    [1, [300, 500]],
    [5, [3, 70_000]],
    [64, [70, 1031]],
    [64, [4001]],
    [3, [40_000, 1]],
    [2, [1, 40_000]],
  ])('updates along directions of rank %i of a tensor %j', (rank, shape) => {
    const [fast, plain] = updated(2, run({ kind: 'low-rank', rank }, [7], shape))
    expect(fast).toEqual(plain)
  })

  it('property: perturbed along directions of any rank, of any shape', () => {
    const shape = fc.array(fc.integer({ min: 1, max: 37 }), { minLength: 1, maxLength: 3 })
    const radius = fc.float({ min: 0, max: 1, noNaN: true })
    const by = fc.record({ radius, sign: fc.constantFrom(1 as const, -1 as const) })
    fc.assert(
      fc.property(at, shape, fc.integer({ min: 1, max: RANK_MAX }), by, ({ seed, round, k }, dims, rank, move) => {
        const { space } = run({ kind: 'low-rank', rank }, dims)
        const center = plainFloats(spaceDimension(space), 6)
        const step = move.sign * perturbationStep(move.radius, space)
        const wanted = perturb(center, direction(seed, { round, k }, space), step)
        expect(perturbed(space, center, { seed, round, k }, move)).toEqual(wanted)
      }),
      { numRuns: 60 },
    )
  })

  it('property: directions of numbers, perturbed and updated along, over any lengths', () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 4 })
    const distribution = fc.constantFrom('binomial' as const, 'sphere' as const)
    fc.assert(
      fc.property(at, lengths, distribution, ({ seed, round, k }, shapes, distribution) => {
        const tensors = shapes.map((length, i) => ({ name: `${i}`, shape: [length] }))
        const space: FullSpace = { kind: 'full', directions: { kind: 'dense' }, distribution, tensors }
        const center = plainFloats(spaceDimension(space), 6)
        const z = direction(seed, { round, k }, space)
        expect(new VectorKernels({ seed, space }).direction({ round, k })).toEqual(z)
        const wanted = perturb(center, z, -perturbationStep(0.3, space, z))
        expect(perturbed(space, center, { seed, round, k }, { radius: 0.3, sign: -1 })).toEqual(wanted)
        const update = { round, coefficients: [0.3, -1.7, 0], learningRate: 0.01, prox: 0.2 }
        const run = { seed, space }
        expect(wasmKernels.update(center, update, run)).toEqual(portableKernels.update(center, update, run))
      }),
      { numRuns: 60 },
    )
  })

  it('updates along numbers over more coordinates than a block holds', () => {
    for (const distribution of ['binomial', 'sphere'] as const) {
      const space: FullSpace = {
        kind: 'full',
        directions: { kind: 'dense' },
        distribution,
        tensors: [
          { name: 'a', shape: [70_001] },
          { name: 'b', shape: [33_000] },
        ],
      }
      const center = plainFloats(spaceDimension(space), 8)
      const update = { round: 4, coefficients: [0.4, -0.2], learningRate: 0.1, prox: 0 }
      const run = { seed: '0123456789abcdef', space }
      expect(wasmKernels.update(center, update, run)).toEqual(portableKernels.update(center, update, run))
    }
  })

  it('property: signs of any part of a stream', () => {
    const memory = new KernelMemory(rounded(3000))
    const out = memory.bytes(3000)
    fc.assert(
      fc.property(at, fc.nat(2000), fc.nat(900), (place, from, length) => {
        const z = direction(place.seed, place, dense(place.segment, 3000)).subarray(place.segment)
        out.fill(7)
        selectStream(memory, place)
        memory.run.signs(out.byteOffset, from, length, SCRATCH)
        expect(out.subarray(0, length)).toEqual(z.slice(from, from + length))
        expect(out.subarray(length).every((byte) => byte === 7)).toBe(true)
      }),
    )
  })

  it('property: merged, whatever is merged', () => {
    const size = fc.integer({ min: 1, max: 40 })
    const scaled = fc.double({ min: -10, max: 10, noNaN: true })
    fc.assert(
      fc.property(size, size, fc.integer({ min: 1, max: RANK_MAX }), fc.nat(9), scaled, fc.boolean(), (...drawn) => {
        const [rows, outputs, rank, from, scale, isSigns] = drawn
        const columns = outputs + from + 2
        const basis = plainFloats(rank * columns, 12)
        const right = isSigns ? Int8Array.from(basis, (value) => (value < 0 ? -1 : 1)) : basis
        const product = { left: plainFloats(rows * rank, 11), right, rank, scale, columns, from }
        const [fast, plain] = [plainFloats(rows * outputs, 13), plainFloats(rows * outputs, 13)]
        mergeProduct(fast, outputs, product)
        portableMerge(plain, outputs, product)
        expect(fast).toEqual(plain)
      }),
      { numRuns: 60 },
    )
  })

  it('merges a weight of more rows than are held', () => {
    const [fast, plain] = [plainFloats(301 * 1000, 1), plainFloats(301 * 1000, 1)]
    const right = plainFloats(2000, 2)
    const product = { left: plainFloats(602, 3), right, rank: 2, scale: 0.7, columns: 1000, from: 0 }
    mergeProduct(fast, 1000, product)
    portableMerge(plain, 1000, product)
    expect(fast).toEqual(plain)
  })

  it('refuses to merge what is of no low rank', () => {
    const product = { left: plainFloats(65, 3), right: plainFloats(65, 3), rank: 65, scale: 1, columns: 1, from: 0 }
    expect(() => mergeProduct(plainFloats(1, 1), 1, product)).toThrow(RangeError)
  })
})

describe('a replay', () => {
  const rest = {
    radius: 0.01,
    clip: 1,
    grid: 2 ** -20,
    noiseMultiplier: 1,
    samplingRate: 0.1,
    lossShare: 0,
    lossBound: 1,
  }
  const spec: ReplaySpec = {
    seed: vectors.seed,
    space: { ...vectors.space, trained: 'factor' } as LoraSpace,
    stages: vectors.replay.stages.map((stage) => ({ ...rest, ...stage })),
  }

  it('meets the recorded hashes with these kernels', () => {
    const { rounds } = vectors.replay
    const end = replay(spec, rounds, replayStart(spec), wasmKernels)
    expect(stateHash(end.state)).toBe(rounds.at(-1)!.stateHash)
    const [first] = rounds
    const nudged = { ...first!, coefficients: first!.coefficients.map((c, k) => (k === 0 ? c + 1e-7 : c)) }
    expect(() => replay(spec, [nudged], replayStart(spec), wasmKernels)).toThrow(ReplayError)
  })

  it('stops at an update that leaves the finite numbers', () => {
    for (const wild of [Number.POSITIVE_INFINITY, Number.NaN, 1e300])
      expect(() => advance(spec, replayStart(spec), { round: 0, coefficients: [wild, 0, 0] }, wasmKernels)).toThrow(
        expect.objectContaining({ code: 'state_not_finite' }),
      )
  })
})

describe('memory', () => {
  it('says how much is lacking beyond what can be reached', () => {
    expect(() => new KernelMemory(5 * 2 ** 30)).toThrow(expect.objectContaining({ code: 'out_of_memory' }))
  })

  it('says so where the system refuses', () => {
    const refuse = vi.spyOn(WebAssembly, 'Memory').mockImplementation(function refuse() {
      throw new RangeError('could not allocate memory')
    })
    expect(() => new KernelMemory(2 ** 20)).toThrow(expect.objectContaining({ code: 'out_of_memory' }))
    refuse.mockRestore()
  })

  it('gives vectors of their own on cache lines, in a buffer that is not shared, until it is used up', () => {
    const memory = new KernelMemory(3 * 2 ** 16)
    const all = [memory.floats(3), memory.doubles(5), memory.bytes(70), memory.indices(new Uint32Array([1, 2]))]
    expect(all.map(({ byteOffset }) => byteOffset % 64)).toEqual([0, 0, 0, 0])
    all.forEach(({ byteOffset }, i) => {
      const before = all[i - 1]
      if (before) expect(byteOffset).toBeGreaterThanOrEqual(before.byteOffset + before.byteLength)
    })
    expect(all[0]!.buffer).toBeInstanceOf(ArrayBuffer)
    expect(() => memory.floats(2 ** 16)).toThrow(RangeError)
  })

  it('is the only thing that the kernels import', () => {
    const module = new WebAssembly.Module(readFileSync(new URL('zo.wasm', import.meta.url)))
    expect(WebAssembly.Module.imports(module)).toEqual([{ module: 'env', name: 'memory', kind: 'memory' }])
  })
})
