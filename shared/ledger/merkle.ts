import { sha256 } from '@noble/hashes/sha2.js'
import { utf8ToBytes } from '@noble/hashes/utils.js'

/** Merkle trees over SHA-256 as RFC 6962 has them: leaf H(0x00 || entry), node H(0x01 || left || right), empty tree H(""). */

export type Hash = Uint8Array<ArrayBuffer>

const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)

const digest = (...parts: readonly Uint8Array[]): Hash => {
  const hash = sha256.create()
  for (const part of parts) hash.update(part)
  return hash.digest() as Hash
}

/** Hash of an entry. */
export const leafHash = (entry: Uint8Array | string): Hash =>
  digest(LEAF, typeof entry === 'string' ? utf8ToBytes(entry) : entry)

const nodeHash = (left: Uint8Array, right: Uint8Array): Hash => digest(NODE, left, right)

/** What a tree needs to grow: its size, and the roots of its full subtrees from the largest to the smallest. */
export interface Tree {
  readonly size: number
  readonly subtrees: readonly Hash[]
}

export const EMPTY_TREE: Tree = { size: 0, subtrees: [] }

/** The tree with one more leaf. */
export function appendLeaf({ size, subtrees }: Tree, leaf: Hash): Tree {
  const grown = [...subtrees]
  let hash = leaf
  // Two full subtrees of one size become one of twice the size.
  for (let rest = size; rest % 2 === 1; rest = (rest - 1) / 2) hash = nodeHash(grown.pop()!, hash)
  grown.push(hash)
  return { size: size + 1, subtrees: grown }
}

/** The root: subtrees joined from the smallest on. */
export function rootOf({ subtrees }: Tree): Hash {
  const last = subtrees.at(-1)
  if (last === undefined) return digest()
  return subtrees.slice(0, -1).reduceRight((root, subtree) => nodeHash(subtree, root), last)
}

export const treeOf = (leaves: readonly Hash[]): Tree => leaves.reduce(appendLeaf, EMPTY_TREE)

/** Largest power of two below n. */
const splitOf = (n: number): number => {
  let k = 1
  while (2 * k < n) k *= 2
  return k
}

const rootOfLeaves = (leaves: readonly Hash[]): Hash => rootOf(treeOf(leaves))

/** Proof that the leaf at `index` is in the tree of all these leaves, from the leaf upwards (RFC 6962, 2.1.1). @throws RangeError */
export function inclusionProof(leaves: readonly Hash[], index: number): Hash[] {
  if (!(index >= 0 && index < leaves.length)) throw new RangeError('no such leaf')
  if (leaves.length === 1) return []
  const k = splitOf(leaves.length)
  return index < k
    ? [...inclusionProof(leaves.slice(0, k), index), rootOfLeaves(leaves.slice(k))]
    : [...inclusionProof(leaves.slice(k), index - k), rootOfLeaves(leaves.slice(0, k))]
}

/** Whether a leaf is at `index` of the tree of `size` leaves with this root (RFC 9162, 2.1.3.2). */
export function verifyInclusion(
  proof: readonly Hash[],
  { leaf, index, size, root }: { leaf: Hash; index: number; size: number; root: Hash },
): boolean {
  if (!(index >= 0 && index < size)) return false
  let [at, last] = [index, size - 1]
  let hash = leaf
  for (const other of proof) {
    if (last === 0) return false
    if (at % 2 === 1 || at === last) {
      hash = nodeHash(other, hash)
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, Math.floor(last / 2)]
    } else hash = nodeHash(hash, other)
    ;[at, last] = [Math.floor(at / 2), Math.floor(last / 2)]
  }
  return last === 0 && sameBytes(hash, root)
}

/** Proof that the tree of all these leaves continues that of the first `from` (RFC 6962, 2.1.2). @throws RangeError */
export function consistencyProof(leaves: readonly Hash[], from: number): Hash[] {
  if (!(from >= 0 && from <= leaves.length)) throw new RangeError('no such tree')
  return from === 0 ? [] : subproof(leaves, from, true)
}

function subproof(leaves: readonly Hash[], from: number, isWhole: boolean): Hash[] {
  if (from === leaves.length) return isWhole ? [] : [rootOfLeaves(leaves)]
  const k = splitOf(leaves.length)
  return from <= k
    ? [...subproof(leaves.slice(0, k), from, isWhole), rootOfLeaves(leaves.slice(k))]
    : [...subproof(leaves.slice(k), from - k, false), rootOfLeaves(leaves.slice(0, k))]
}

interface Sized {
  readonly size: number
  readonly root: Hash
}

/** Whether the newer tree continues the older one (RFC 9162, 2.1.4.2). */
export function verifyConsistency(proof: readonly Hash[], { older, newer }: { older: Sized; newer: Sized }): boolean {
  if (older.size > newer.size) return false
  if (older.size === newer.size) return proof.length === 0 && sameBytes(older.root, newer.root)
  if (older.size === 0) return proof.length === 0
  const isPower = Number.isInteger(Math.log2(older.size))
  const path = isPower ? [older.root, ...proof] : [...proof]
  const first = path.shift()
  if (!first) return false
  let [at, last] = [older.size - 1, newer.size - 1]
  while (at % 2 === 1) [at, last] = [(at - 1) / 2, Math.floor(last / 2)]
  let [before, after] = [first, first]
  for (const other of path) {
    if (last === 0) return false
    if (at % 2 === 1 || at === last) {
      before = nodeHash(other, before)
      after = nodeHash(other, after)
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, Math.floor(last / 2)]
    } else after = nodeHash(after, other)
    ;[at, last] = [Math.floor(at / 2), Math.floor(last / 2)]
  }
  return last === 0 && sameBytes(before, older.root) && sameBytes(after, newer.root)
}

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i])
