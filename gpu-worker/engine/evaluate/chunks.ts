import type { CallLimits } from '../device/index.ts'

/**
 * How many members a call holds. Everything here is a function of the graph and of public sizes, so that what a record is
 * evaluated with never depends on its batch mates; and every call of a bucket has one shape, filled up where records end.
 */

/** Sizes of one member of a tail's leading axis. */
export interface MemberSize {
  /** Tokens at which the tail computes. */
  readonly tokens: number
  /** float32 elements of its largest tensor. */
  readonly elements: number
}

/** The most members of a call. */
export function mostMembers(member: MemberSize, limits: CallLimits): number {
  const byTokens = Math.floor(limits.tokens / member.tokens)
  const byBytes = Math.floor(limits.bytes / (4 * member.elements))
  return Math.max(1, Math.min(limits.members, byTokens, byBytes))
}

/** Ranges of nearly equal size, as few as the limit allows. */
export function ranges(count: number, most: number): { from: number; to: number }[] {
  const parts = Math.ceil(count / most)
  const size = Math.ceil(count / parts)
  return Array.from({ length: parts }, (_, part) => ({ from: part * size, to: Math.min(count, (part + 1) * size) }))
}

/** Items by a key, in the order of first appearance; each with its index. */
export function byKey<Item, Key>(
  items: readonly Item[],
  keyOf: (item: Item) => Key,
): Map<Key, { item: Item; index: number }[]> {
  const groups = new Map<Key, { item: Item; index: number }[]>()
  items.forEach((item, index) => {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group) group.push({ item, index })
    else groups.set(key, [{ item, index }])
  })
  return groups
}

/** Items in blocks of at most `size`. */
export function blocks<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size))
}
