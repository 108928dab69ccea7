import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CALL_LIMITS, chooseDevice, limitsFor, memoryOf, threadsFor } from './index.ts'

const GIB = 2 ** 30

describe('sizes', () => {
  it('bound threads by cores and by memory, and a GPU has one', () => {
    expect(threadsFor('cpu', { cores: 8, free: 64 * GIB }, GIB)).toBe(8)
    expect(threadsFor('cpu', { cores: 8, free: 16 * GIB }, GIB)).toBe(4)
    expect(threadsFor('cpu', { cores: 8, free: GIB }, 10 * GIB)).toBe(1)
    expect(threadsFor('webgpu', { cores: 8, free: 64 * GIB }, GIB)).toBe(1)
  })

  it('keep fewer lengths open where weights are large, and smaller calls where memory is small', () => {
    const machine = { cores: 2, free: 16 * GIB }
    expect(limitsFor('cpu', machine, { threads: 1, weightBytes: 5 * GIB })).toMatchObject({ buckets: 1 })
    expect(limitsFor('cpu', machine, { threads: 1, weightBytes: 100 * 2 ** 20 }).buckets).toBe(40)
    expect(limitsFor('cpu', machine, { threads: 1, weightBytes: GIB }).call).toEqual(CALL_LIMITS.cpu)
    const small = limitsFor('cpu', { cores: 2, free: 2 ** 28 }, { threads: 2, weightBytes: GIB })
    expect(small.call.bytes).toBe(2 ** 22)
  })

  it('property: are sound for any machine', () => {
    const bytes = fc.double({ min: 0, max: 2 ** 45, noNaN: true })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 256 }), bytes, bytes, (cores, free, weightBytes) => {
        const threads = threadsFor('cpu', { cores, free }, weightBytes)
        expect(threads).toBeGreaterThanOrEqual(1)
        expect(threads).toBeLessThanOrEqual(cores)
        const { call, buckets } = limitsFor('cpu', { cores, free }, { threads, weightBytes })
        expect(buckets).toBeGreaterThanOrEqual(1)
        expect(call.bytes).toBeGreaterThanOrEqual(2 ** 22)
        expect(call.bytes).toBeLessThanOrEqual(CALL_LIMITS.cpu.bytes)
      }),
    )
  })

  it('are read off this machine', () => {
    const { cores, free } = memoryOf()
    expect(cores).toBeGreaterThanOrEqual(1)
    expect(free).toBeGreaterThan(0)
  })
})

describe('the choice of a device', () => {
  it('is the CPU where that is asked for, and always something that works', async () => {
    expect(await chooseDevice('cpu')).toBe('cpu')
    expect(['cpu', 'webgpu', 'cuda']).toContain(await chooseDevice('auto'))
  })

  it('of CUDA without its libraries says how to install them', async () => {
    await expect(chooseDevice('cuda')).rejects.toMatchObject({
      code: 'device_missing',
      message: expect.stringMatching(/ONNXRUNTIME_NODE_INSTALL/),
    })
  })
})
