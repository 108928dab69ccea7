import { describe, expect, it } from 'vitest'
import { checkSpec } from '../../gpu-worker/policy.ts'
import { runSpecSchema } from '../../shared/api/index.ts'
import { hashOf } from '../../shared/ledger/index.ts'
import { smallSpec } from '../rehearsal/request.ts'

const spec = smallSpec(['north', 'south'])

/** Another value of the same kind. */
function changed(value: unknown): unknown {
  if (typeof value === 'number') return value + 1
  if (typeof value === 'string') return `${value}x`
  if (typeof value === 'boolean') return !value
  return value === null ? 0 : null
}

/** Every copy of a value with one of its leaves changed, or left out. */
function* variants(value: unknown, path = ''): Generator<[path: string, variant: unknown]> {
  if (typeof value !== 'object' || value === null) {
    yield [path, changed(value)]
    return
  }
  for (const [name, member] of Object.entries(value)) {
    for (const [at, variant] of variants(member, `${path}/${name}`)) {
      const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>
      copy[name] = variant
      yield [at, copy]
    }
  }
}

describe('the identity of a run', () => {
  it('changes with every field of its spec, and no worker that agreed to one takes another', () => {
    const own = hashOf(spec)
    const accepted = { maxDelta: 1e-3, unit: 'record' as const, acceptedSpecs: new Set([own]) }
    expect(() => checkSpec(spec, own, 'north', accepted)).not.toThrow()
    const seen = new Set([own])
    let count = 0
    for (const [path, variant] of variants(spec)) {
      const hash = hashOf(variant)
      expect(seen.has(hash), path).toBe(false)
      seen.add(hash)
      count++
      expect(() => checkSpec(spec, hash, 'north', accepted), path).toThrow(
        expect.objectContaining({ code: 'policy_refused' }),
      )
    }
    // All that decide on privacy are among them.
    const paths = new Set([...variants(spec)].map(([path]) => path))
    for (const path of [
      '/budget/epsilon',
      '/stages/0/clip',
      '/stages/0/noiseMultiplier',
      '/stages/0/grid',
      '/model',
      '/quorum',
    ])
      expect(paths).toContain(path)
    expect(count).toBeGreaterThan(40)
  })

  it('is that of the canonical bytes: the same in whatever order its fields come', () => {
    const reversed = Object.fromEntries(Object.entries(spec).reverse())
    expect(hashOf(reversed)).toBe(hashOf(spec))
    expect(runSpecSchema.safeParse({ ...spec, more: 1 }).success).toBe(false)
  })
})
