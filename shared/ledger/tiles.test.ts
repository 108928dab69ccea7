import { describe, expect, it } from 'vitest'
import { type Hash, leafHash, rootOf, treeOf } from './merkle.ts'
import { EntryTooLongError, entryBundles, hashTiles, tilePath } from './tiles.ts'

const entriesOf = (size: number) => Array.from({ length: size }, (_, i) => `entry ${i}`)

/** The root of a tree from its tiles of level 0 alone, and from the highest that are there. */
function rootFrom(tiles: ReadonlyMap<string, Uint8Array>, level: number): Hash {
  const hashes: Hash[] = []
  const own = [...tiles].filter(([path]) => path.startsWith(`tile/${level}/`)).sort(([a], [b]) => (a < b ? -1 : 1))
  for (const [, bytes] of own)
    for (let at = 0; at < bytes.length; at += 32) hashes.push(bytes.slice(at, at + 32) as Hash)
  return rootOf(treeOf(hashes))
}

describe('tiles', () => {
  it('are named as the format says', () => {
    expect(tilePath(0, 1_234_067, 256)).toBe('tile/0/x001/x234/067')
    expect(tilePath(0, 0, 112)).toBe('tile/0/000.p/112')
    expect(tilePath('entries', 12, 256)).toBe('tile/entries/012')
    expect(tilePath(2, 1000, 1)).toBe('tile/2/x001/000.p/1')
  })

  it('of 70,000 leaves are 273 full ones and one of 112, one full one and one of 17 above, and one of 1 above that', () => {
    const leaves = entriesOf(70_000).map(leafHash)
    const tiles = hashTiles(leaves)
    const widths = (level: number) =>
      [...tiles].filter(([path]) => path.startsWith(`tile/${level}/`)).map(([, bytes]) => bytes.length / 32)
    expect(widths(0).filter((width) => width === 256)).toHaveLength(273)
    expect(widths(0).filter((width) => width < 256)).toEqual([112])
    expect(widths(1)).toEqual([256, 17])
    expect(widths(2)).toEqual([1])
    expect(widths(3)).toEqual([])
    expect(tiles.has('tile/0/273.p/112')).toBe(true)
    expect(tiles.has('tile/1/001.p/17')).toBe(true)
    expect(rootFrom(tiles, 0)).toEqual(rootOf(treeOf(leaves)))
  })

  it.each([0, 1, 255, 256, 257, 512, 65_536])('of %i leaves have the tree’s root', (size) => {
    const leaves = entriesOf(size).map(leafHash)
    const tiles = hashTiles(leaves)
    expect(rootFrom(tiles, 0)).toEqual(rootOf(treeOf(leaves)))
    // Whole tiles alone: the level above says as much.
    if (size > 0 && size % 256 === 0) expect(rootFrom(tiles, 1)).toEqual(rootOf(treeOf(leaves)))
  })

  it('bundle entries behind their lengths', () => {
    const bundles = entryBundles(['a', 'é', ...entriesOf(255)])
    expect([...bundles.keys()]).toEqual(['tile/entries/000', 'tile/entries/001.p/1'])
    expect([...bundles.get('tile/entries/000')!.slice(0, 7)]).toEqual([0, 1, 0x61, 0, 2, 0xc3, 0xa9])
    expect(entryBundles(['x'.repeat(65_535)]).get('tile/entries/000.p/1')).toHaveLength(65_537)
    expect(() => entryBundles(['a', 'x'.repeat(65_536)])).toThrow(new EntryTooLongError(1))
  })
})
