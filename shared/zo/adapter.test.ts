import { describe, expect, it } from 'vitest'
import { planRun } from '../../coordinator/run/plan.ts'
import { parseRequest, smallRequest } from '../../test/rehearsal/request.ts'
import { adapterFile } from './adapter.ts'
import { type FullSpace, frozenFactor, type LoraSpace } from './index.ts'

const request = parseRequest(smallRequest({ model: 'a'.repeat(64), datasets: ['north'] }))
const datasets = [{ id: 'north', units: 1000, unit: 'record' as const }]
const { spec } = planRun(request, { datasets, seed: '0123456789abcdef' })
const lora = spec.space as LoraSpace

const specHash = 'b'.repeat(64)
const counting = (length: number, sign: number) => Float32Array.from({ length }, (_, i) => sign * i)

/** Header and tensors of the adapter of a run over `space` that is in its second stage. */
function written(space: LoraSpace | FullSpace, factors: readonly [Float32Array, Float32Array]) {
  const [first, second] = factors
  const view = { id: 'run-1', resolved: { ...spec, space } as typeof spec, specHash }
  const bytes = adapterFile(view, { stage: 1, finished: [first], current: second })
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
  expect(length % 8).toBe(0)
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)))
  const { __metadata__: metadata, ...entries } = header as Record<string, { data_offsets: [number, number] }>
  const end = Math.max(...Object.values(entries).map((entry) => entry.data_offsets[1]))
  expect(bytes.length).toBe(8 + length + end)
  const tensor = (name: string) => {
    const { dtype, shape, data_offsets: offsets } = header[name]
    expect(dtype).toBe('F32')
    return { shape, data: new Float32Array(bytes.slice(8 + length + offsets[0], 8 + length + offsets[1]).buffer) }
  }
  return { metadata, names: Object.keys(entries), tensor }
}

describe('the adapter is a safetensors file', () => {
  it('of A and scaled V for each stage and site', () => {
    const [first, second] = [counting(32, 1), counting(32, -1)]
    const { metadata, names, tensor } = written(lora, [first, second])
    expect(metadata).toMatchObject({ format: 'sotto-lora-v1', run: 'run-1', specHash })
    expect(names).toHaveLength(2 * 2 * 2)
    expect(tensor('layer.0.attention.qkv.stage0.A')).toEqual({ shape: [8, 2], data: first.slice(0, 16) })
    expect(tensor('layer.0.output.stage1.A')).toEqual({ shape: [8, 2], data: second.slice(16) })
    const v = tensor('layer.0.attention.qkv.stage1.V')
    expect(v.shape).toEqual([2, 24])
    const signs = frozenFactor(spec.seed, { stage: 1, site: 0 }, lora)
    expect(v.data).toEqual(Float32Array.from(signs, (sign) => sign * 0.5))
  })

  it('of R for each stage and site where the core is trained, with the scales beside', () => {
    const [first, second] = [counting(8, 1), counting(8, -1)]
    const { metadata, names, tensor } = written({ ...lora, trained: 'core' }, [first, second])
    expect(metadata).toMatchObject({ format: 'sotto-lora-core-v1', run: 'run-1' })
    expect(JSON.parse(String((metadata as unknown as Record<string, string>).scales))).toEqual({
      'layer.0.attention.qkv': 0.5,
      'layer.0.output': 1,
    })
    expect(names).toHaveLength(2 * 2)
    expect(tensor('layer.0.attention.qkv.stage1.R')).toEqual({ shape: [2, 2], data: second.slice(0, 4) })
    expect(tensor('layer.0.output.stage0.R')).toEqual({ shape: [2, 2], data: first.slice(4) })
  })

  it('of a difference for each stage and tensor where whole tensors are trained', () => {
    const tensors = [
      { name: 'w', shape: [2, 3] },
      { name: 'b', shape: [3] },
    ]
    const [first, second] = [counting(9, 1), counting(9, -1)]
    const { metadata, names, tensor } = written({ kind: 'full', directions: { kind: 'dense' }, tensors }, [
      first,
      second,
    ])
    expect(metadata).toMatchObject({ format: 'sotto-delta-v1', run: 'run-1' })
    expect(names).toHaveLength(2 * 2)
    expect(tensor('w.stage0.delta')).toEqual({ shape: [2, 3], data: first.slice(0, 6) })
    expect(tensor('b.stage1.delta')).toEqual({ shape: [3], data: second.slice(6) })
  })
})
