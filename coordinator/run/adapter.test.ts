import { expect, it } from 'vitest'
import { frozenFactor } from '../../shared/zo/index.ts'
import { parseRequest, smallRequest } from '../../test/rehearsal/request.ts'
import { adapterFile } from './adapter.ts'
import { planRun } from './plan.ts'

const request = parseRequest(smallRequest({ model: 'a'.repeat(64), datasets: ['north'] }))
const datasets = [{ id: 'north', units: 1000, unit: 'record' as const }]
const { spec } = planRun(request, { datasets, seed: '0123456789abcdef' })

it('the adapter is a safetensors file of A and scaled V for each stage and site', () => {
  const first = Float32Array.from({ length: 32 }, (_, i) => i)
  const second = Float32Array.from({ length: 32 }, (_, i) => -i)
  const bytes = adapterFile(
    { id: 'run-1', spec, specHash: 'b'.repeat(64) },
    { stage: 1, finished: [first], current: second },
  )
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const length = Number(view.getBigUint64(0, true))
  expect(length % 8).toBe(0)
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)))
  const tensor = (name: string) => {
    const { dtype, shape, data_offsets: offsets } = header[name]
    expect(dtype).toBe('F32')
    const data = new Float32Array(bytes.slice(8 + length + offsets[0], 8 + length + offsets[1]).buffer)
    return { shape, data }
  }
  expect(header.__metadata__).toMatchObject({ run: 'run-1', specHash: 'b'.repeat(64) })
  expect(Object.keys(header)).toHaveLength(1 + 2 * 2 * 2)
  expect(tensor('layer.0.attention.qkv.stage0.A')).toEqual({ shape: [8, 2], data: first.slice(0, 16) })
  expect(tensor('layer.0.output.stage1.A')).toEqual({ shape: [8, 2], data: second.slice(16) })
  const v = tensor('layer.0.attention.qkv.stage1.V')
  expect(v.shape).toEqual([2, 24])
  const signs = frozenFactor(spec.seed, { stage: 1, site: 0 }, spec.space)
  expect(v.data).toEqual(Float32Array.from(signs, (sign) => sign * 0.5))
  const end = Math.max(...Object.values<{ data_offsets?: number[] }>(header).map((t) => t.data_offsets?.[1] ?? 0))
  expect(bytes.length).toBe(8 + length + end)
})
