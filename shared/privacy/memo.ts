/**
 * Remembers the `size` latest results of a pure function by key, so that a warm answer costs one look-up.
 * @example const curves = memo<Float64Array>(512); curves(key, () => compute())
 */
export const memo = <T>(size: number) => {
  const known = new Map<string, T>()
  return function remember(key: string, make: () => T): T {
    const before = known.get(key)
    if (before !== undefined) return before
    const made = make()
    for (const oldest of known.keys()) {
      if (known.size < size) break
      known.delete(oldest)
    }
    known.set(key, made)
    return made
  }
}
