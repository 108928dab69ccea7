import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import type { MergedWeight } from '../../gpu-worker/engine/index.ts'
import { writeParameters } from './parameters.ts'
import { floatTensorsIn, valuesOf } from './tensor-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'sotto-parameters-'))
const file = join(folder, 'model.safetensors')
const output = join(folder, 'out')
afterAll(() => rmSync(folder, { recursive: true }))
beforeEach(() => {
  rmSync(output, { recursive: true, force: true })
  mkdirSync(output)
})

type Stored = readonly [name: string, type: 'F32' | 'F16' | 'BF16' | 'I64', shape: number[], bytes: ArrayBufferView]

function write(tensors: readonly Stored[]): void {
  let offset = 0
  const header = Object.fromEntries(
    tensors.map(([name, dtype, shape, { byteLength }]) => {
      const data_offsets = [offset, offset + byteLength]
      offset += byteLength
      return [name, { dtype, shape, data_offsets }]
    }),
  )
  const text = Buffer.from(JSON.stringify({ __metadata__: { format: 'pt' }, ...header }))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const data = tensors.map(([, , , { buffer, byteOffset, byteLength }]) => Buffer.from(buffer, byteOffset, byteLength))
  writeFileSync(file, Buffer.concat([length, text, ...data]))
}

const read = (name: string) => {
  const written = join(output, 'model.safetensors')
  const tensor = floatTensorsIn(written).find((each) => each.name === name)!
  return [...valuesOf(written, tensor)]
}

const weightOf = (name: string, shape: number[], base: number[], added: number, isHalf = false): MergedWeight => ({
  ...{ name, shape, isHalf, base: Float32Array.from(base) },
  merged: Float32Array.from(base, (value) => value + added),
})

const MATRIX = [1, 2, 3, 4, 5, 6]
/** The same, [3, 2] for [2, 3]. */
const TURNED = [1, 4, 2, 5, 3, 6]

describe('merged parameters', () => {
  it('are found by what they hold, turned or not, and all else stays bit for bit', () => {
    write([
      ['layer.0.dense.weight', 'F32', [3, 2], Float32Array.from(TURNED)],
      ['layer.0.dense.bias', 'F32', [3], Float32Array.of(0, 0, 0)],
      ['layer.1.dense.bias', 'F32', [3], Float32Array.of(0, 0, 0)],
      ['other', 'F32', [2, 3], Float32Array.of(9, 8, 7, 6, 5, 4)],
      ['ids', 'I64', [2], BigInt64Array.of(1n, 2n)],
    ])
    const before = readFileSync(file)
    const changed = writeParameters(
      [file],
      [weightOf('onnx::MatMul_7', [2, 3], MATRIX, 0.5), weightOf('bert.layer.1.dense.bias', [3], [0, 0, 0], 0.25)],
      output,
    )
    expect(changed).toEqual(['layer.0.dense.weight', 'layer.1.dense.bias'])
    expect(read('layer.0.dense.weight')).toEqual(TURNED.map((value) => value + 0.5))
    expect(read('layer.0.dense.bias')).toEqual([0, 0, 0])
    expect(read('layer.1.dense.bias')).toEqual([0.25, 0.25, 0.25])
    const after = readFileSync(join(output, 'model.safetensors'))
    const same = (name: string, bytes: number) => {
      const { offset } = floatTensorsIn(file).find((tensor) => tensor.name === name)!
      expect(after.subarray(offset, offset + bytes)).toEqual(before.subarray(offset, offset + bytes))
    }
    same('other', 24)
    expect(after.subarray(-16)).toEqual(before.subarray(-16))
    expect(after.length).toBe(before.length)
  })

  it.each([
    ['F16', Float16Array.from(TURNED), 2 ** -10],
    ['BF16', Uint16Array.from([0x3f80, 0x4080, 0x4000, 0x40a0, 0x4040, 0x40c0]), 2 ** -7],
  ] as const)('of %s are rounded to it', (type, stored, ulp) => {
    write([['weight', type, [3, 2], stored]])
    writeParameters([file], [weightOf('any', [2, 3], MATRIX, 0.3)], output)
    for (const [i, value] of read('weight').entries()) {
      const exact = TURNED[i]! + 0.3
      expect(Math.abs(value - exact)).toBeLessThanOrEqual((ulp / 2) * 2 ** Math.floor(Math.log2(exact)))
      expect(value).not.toBe(TURNED[i])
    }
  })

  it('may be finer than a model file of half precision', () => {
    const fine = TURNED.map((value) => value + 2 ** -14)
    write([['weight', 'F32', [3, 2], Float32Array.from(fine)]])
    expect(writeParameters([file], [weightOf('any', [2, 3], MATRIX, 1, true)], output)).toEqual(['weight'])
    expect(() => writeParameters([file], [weightOf('any', [2, 3], MATRIX, 1)], output)).toThrow('no parameter holds')
  })

  it('that two names share are changed by both, and one of the same name alone where there is one', () => {
    const table = Float32Array.from(MATRIX)
    write([
      ['embed.weight', 'F32', [2, 3], table],
      ['lm_head.weight', 'F32', [2, 3], table],
    ])
    expect(writeParameters([file], [weightOf('onnx::Gather_1', [2, 3], MATRIX, 1)], output)).toHaveLength(2)
    const both = [weightOf('embed.weight', [2, 3], MATRIX, 1), weightOf('lm_head.weight', [2, 3], MATRIX, 2)]
    rmSync(join(output, 'model.safetensors'))
    expect(writeParameters([file], both, output)).toHaveLength(2)
    expect([read('embed.weight')[0], read('lm_head.weight')[0]]).toEqual([2, 3])
  })

  it('are refused where there are none, where one would be two, and where the file is none', () => {
    write([['weight', 'F32', [2, 3], Float32Array.from(MATRIX)]])
    expect(() => writeParameters([file], [weightOf('a', [2, 3], [6, 5, 4, 3, 2, 1], 1)], output)).toThrow('what a of')
    const two = [weightOf('a', [2, 3], MATRIX, 1), weightOf('b', [2, 3], MATRIX, 2)]
    expect(() => writeParameters([file], two, output)).toThrow('weight is one parameter')
    writeFileSync(file, 'no safetensors at all')
    expect(() => writeParameters([file], two, output)).toThrow('no safetensors file')
    expect(() => writeParameters([join(folder, 'nothing')], two, output)).toThrow('ENOENT')
  })
})
