import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { RunSpec } from '../shared/api/index.ts'
import { maskHash, maskOf, type PrunedSpace, withFactors } from '../shared/zo/index.ts'
import { maskedSpaces } from './masks.ts'

const tensors = [{ name: 'w', shape: [4, 4] }]
const keeping = (indices: readonly number[]): Uint8Array => maskOf([indices], tensors)
const spaceOf = (mask: Uint8Array, kept: number, weighted = false): PrunedSpace => ({
  kind: 'pruned',
  tensors: [{ ...tensors[0]!, kept }],
  mask: maskHash(mask),
  weighted,
})
const [first, second] = [keeping([0, 3]), keeping([1, 2, 5])]
const badFactors = new Uint8Array([...second, 51, 78, 64])

function modelWith(...masks: readonly Uint8Array[]): string {
  const dir = mkdtempSync(join(tmpdir(), 'sotto-masks-'))
  mkdirSync(join(dir, 'masks'))
  for (const [at, mask] of masks.entries()) writeFileSync(join(dir, 'masks', `${at}.bin`), mask)
  return dir
}

/** A run of two stages, as far as its masks go. */
const runOf = (later: object): RunSpec =>
  ({ space: spaceOf(first, 2), stages: [{ rounds: 1 }, { rounds: 1, ...later }] }) as unknown as RunSpec

describe('the masks of a run', () => {
  it('are found by what they hold, of all stages, among files and those made anew', () => {
    const spec = runOf({ space: spaceOf(second, 3) })
    const wanted = [first, second]
    expect(maskedSpaces(spec, modelWith(second, first), new Map()).map(({ mask }) => mask)).toEqual(wanted)
    const made = new Map([[maskHash(second), second]])
    expect(maskedSpaces(spec, modelWith(first), made).map(({ mask }) => mask)).toEqual(wanted)
  })

  it('end at the first that is not made yet', () => {
    expect(maskedSpaces(runOf({ prune: { keep: 0.5 } }), modelWith(first), new Map())).toHaveLength(1)
  })

  it.each([
    ['is missing', { space: spaceOf(second, 3) }, [first]],
    ['keeps another number of entries', { space: spaceOf(second, 4) }, [first, second]],
    ['has a factor that is none', { space: spaceOf(badFactors, 3, true) }, [first, badFactors]],
    ['has no factors', { space: spaceOf(second, 3, true) }, [first, second]],
  ])('are refused at the start where that of a later stage %s', (_, later, files) => {
    expect(() => maskedSpaces(runOf(later), modelWith(...files), new Map())).toThrow(
      expect.objectContaining({ name: 'EngineError', code: 'wrong_mask' }),
    )
  })

  it('with factors are taken where these are right', () => {
    const weighted = withFactors(second, Float32Array.of(77 / 64, 1, 51 / 64))
    const spec = runOf({ space: spaceOf(weighted, 3, true) })
    expect(maskedSpaces(spec, modelWith(first, weighted), new Map())[1]!.mask).toEqual(weighted)
  })
})
