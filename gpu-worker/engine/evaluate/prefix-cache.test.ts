import { describe, expect, it } from 'vitest'
import { loadRuntime } from '../ort.ts'
import { PrefixCache, recordKey } from './prefix-cache.ts'

const { Tensor } = await loadRuntime()
const boundary = (floats: number) => ({ hidden: new Tensor('float32', new Float32Array(floats), [floats]) })

describe('the cache of prefixes', () => {
  it('gives back what was put in, until it is cleared', () => {
    const cache = new PrefixCache(1e6)
    const made = boundary(10)
    cache.set('a', made)
    expect(cache.get('a')).toBe(made)
    expect(cache.get('b')).toBeUndefined()
    cache.clear()
    expect(cache.get('a')).toBeUndefined()
  })

  it('stays within its bytes and drops what was used longest ago', () => {
    const cache = new PrefixCache(3 * 5000)
    for (const key of ['a', 'b', 'c']) cache.set(key, boundary(1000))
    cache.get('a')
    cache.set('d', boundary(1000))
    expect(['a', 'b', 'c', 'd'].map((key) => cache.get(key) !== undefined)).toEqual([true, false, true, true])
    for (let i = 0; i < 100; i++) cache.set(`more ${i}`, boundary(1000))
    expect(cache.size).toBe(3)
  })

  it('keeps nothing that is larger than itself, and nothing at all with no bytes', () => {
    const cache = new PrefixCache(100)
    cache.set('a', boundary(1000))
    expect(cache.size).toBe(0)
  })

  it('tells records apart by tokens, positions and length', () => {
    const rest = { targets: Int32Array.of(0), weights: Float32Array.of(1) }
    const record = { ids: Int32Array.of(1, 2, 70_000), positions: Int32Array.of(1), bucket: 16, ...rest }
    const others = [
      { ...record, ids: Int32Array.of(1, 2, 70_001) },
      { ...record, ids: Int32Array.of(1, 2) },
      { ...record, positions: Int32Array.of(2) },
      { ...record, bucket: 32 },
    ]
    expect(recordKey({ ...record, ids: Int32Array.of(0, 1, 2, 70_000).subarray(1) })).toBe(recordKey(record))
    expect(new Set([record, ...others].map(recordKey)).size).toBe(5)
  })
})
