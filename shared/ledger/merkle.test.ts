import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  consistencyProof,
  EMPTY_TREE,
  type Hash,
  inclusionProof,
  leafHash,
  rootOf,
  treeOf,
  verifyConsistency,
  verifyInclusion,
} from './merkle.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
/** The entries of the reference tests of Certificate Transparency. */
const ENTRIES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
].map((text) => leafHash(new Uint8Array(Buffer.from(text, 'hex'))))
const rootAt = (leaves: readonly Hash[], size: number) => rootOf(treeOf(leaves.slice(0, size)))

describe('Merkle trees', () => {
  it('have the roots of the reference tests of Certificate Transparency', () => {
    expect(hex(rootOf(EMPTY_TREE))).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
    expect(Array.from({ length: 8 }, (_, i) => hex(rootAt(ENTRIES, i + 1)))).toEqual([
      '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
      'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
      'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
      '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
      '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
      'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
      '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
    ])
  })

  it('property: a leaf is proved where it is, and nowhere else', () => {
    const leaves = Array.from({ length: 70 }, (_, i) => leafHash(`entry ${i}`))
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 70 }), fc.nat(), fc.nat(), (size, place, elsewhere) => {
        const index = place % size
        const some = leaves.slice(0, size)
        const proof = inclusionProof(some, index)
        const claim = { leaf: leaves[index]!, index, size, root: rootAt(leaves, size) }
        expect(verifyInclusion(proof, claim)).toBe(true)
        const other = elsewhere % size
        if (other !== index) expect(verifyInclusion(proof, { ...claim, index: other })).toBe(false)
        expect(verifyInclusion(proof, { ...claim, leaf: leafHash('another') })).toBe(false)
        expect(verifyInclusion([...proof, claim.leaf], claim)).toBe(false)
        expect(verifyInclusion(proof.slice(1), claim)).toBe(proof.length === 0)
        expect(verifyInclusion(proof, { ...claim, index: size })).toBe(false)
      }),
    )
  })

  it('property: a tree continues each of its beginnings, and no other tree', () => {
    const leaves = Array.from({ length: 70 }, (_, i) => leafHash(`entry ${i}`))
    const forked = leaves.with(3, leafHash('forked'))
    for (let size = 1; size <= 70; size++) {
      const newer = { size, root: rootAt(leaves, size) }
      for (let from = 0; from <= size; from++) {
        const older = { size: from, root: rootAt(leaves, from) }
        const proof = consistencyProof(leaves.slice(0, size), from)
        expect(verifyConsistency(proof, { older, newer })).toBe(true)
        if (from > 3) {
          expect(verifyConsistency(proof, { older: { size: from, root: rootAt(forked, from) }, newer })).toBe(false)
          expect(verifyConsistency(proof, { older, newer: { size, root: rootAt(forked, size) } })).toBe(false)
        }
        if (from > 0 && from < size) {
          expect(verifyConsistency(proof.slice(1), { older, newer })).toBe(false)
          expect(verifyConsistency([...proof, newer.root], { older, newer })).toBe(false)
          expect(verifyConsistency(proof, { older: newer, newer: older })).toBe(false)
        }
      }
    }
  })

  it('refuse what is not there', () => {
    expect(() => inclusionProof(ENTRIES, 8)).toThrow(RangeError)
    expect(() => inclusionProof([], 0)).toThrow(RangeError)
    expect(() => consistencyProof(ENTRIES, 9)).toThrow(RangeError)
  })
})
