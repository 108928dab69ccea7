import { PruningError } from './error.ts'

/** Set bits of each byte. */
const POPULATION = Uint8Array.from({ length: 256 }, (_, byte) => {
  let count = 0
  for (let rest = byte; rest > 0; rest >>>= 1) count += rest & 1
  return count
})

/**
 * Share of the kept entries that two masks of the same tensors have in common: of the larger of both; 1 where they are equal.
 * @throws PruningError `wrong_length`
 */
export function overlapShare(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) throw new PruningError('wrong_length', 'the masks are of other tensors')
  let [both, ofA, ofB] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    both += POPULATION[a[i]! & b[i]!]!
    ofA += POPULATION[a[i]!]!
    ofB += POPULATION[b[i]!]!
  }
  const larger = Math.max(ofA, ofB)
  return larger === 0 ? 1 : both / larger
}
