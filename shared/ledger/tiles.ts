import { utf8ToBytes } from '@noble/hashes/utils.js'
import { type Hash, rootOf, treeOf } from './merkle.ts'

/** The layout of https://c2sp.org/tlog-tiles, for tools that know it: a function of the log, and written beside it by whoever wants it. */

/** Hashes of a full tile, and entries of a full bundle. */
const WIDTH = 256
/** Lengths of entries have 16 bits. */
const ENTRY_MAX = 0xffff

/** An entry that no bundle can hold; its hash is in the tiles all the same. */
export class EntryTooLongError extends Error {
  /** Of the entry. */
  readonly index: number
  constructor(index: number) {
    super(`entry ${index} is longer than 65,535 bytes`)
    this.name = 'EntryTooLongError'
    this.index = index
  }
}

/** Groups of three digits, all but the last with an `x` before: 1234067 is `x001/x234/067`. */
function tileNumber(index: number): string {
  const digits = String(index)
  const groups = digits.padStart(3 * Math.ceil(digits.length / 3), '0').match(/\d{3}/g) ?? []
  return groups.map((group, i) => (i === groups.length - 1 ? group : `x${group}`)).join('/')
}

/** Path of a tile of hashes, or of a bundle of entries; `width` below 256 for one that is not full. */
export function tilePath(level: number | 'entries', index: number, width: number): string {
  return `tile/${level}/${tileNumber(index)}${width === WIDTH ? '' : `.p/${width}`}`
}

/** The pieces of a list, as tiles have them: full ones, and what is left. */
function* pieces<T>(list: readonly T[]): Generator<{ index: number; part: readonly T[] }> {
  for (let index = 0; index * WIDTH < list.length; index++)
    yield { index, part: list.slice(index * WIDTH, (index + 1) * WIDTH) }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** All tiles of hashes of a tree, by path. A hash of a level is the root of one full tile below. */
export function hashTiles(leaves: readonly Hash[]): Map<string, Uint8Array> {
  const tiles = new Map<string, Uint8Array>()
  let hashes = leaves
  for (let level = 0; hashes.length > 0; level++) {
    const above: Hash[] = []
    for (const { index, part } of pieces(hashes)) {
      tiles.set(tilePath(level, index, part.length), joined(part))
      if (part.length === WIDTH) above.push(rootOf(treeOf(part)))
    }
    hashes = above
  }
  return tiles
}

/** All bundles of entries, by path: each entry after its length, big-endian. @throws EntryTooLongError */
export function entryBundles(entries: readonly string[]): Map<string, Uint8Array> {
  const bundles = new Map<string, Uint8Array>()
  for (const { index, part } of pieces(entries)) {
    const bytes = part.map((entry, i) => {
      const content = utf8ToBytes(entry)
      if (content.length > ENTRY_MAX) throw new EntryTooLongError(index * WIDTH + i)
      return Uint8Array.of(content.length >> 8, content.length & 0xff, ...content)
    })
    bundles.set(tilePath('entries', index, part.length), joined(bytes))
  }
  return bundles
}
