import { createHash } from 'node:crypto'

/** Numbers that follow from a seed: SHA-256 of the seed and a counter, 32 bits at a time. */
export function randomOf(seed: number): (bound: number) => number {
  let counter = 0
  let words: number[] = []
  return (bound) => {
    if (words.length === 0) {
      const digest = createHash('sha256').update(`${seed}/${counter++}`).digest()
      words = Array.from({ length: 8 }, (_, i) => digest.readUInt32LE(4 * i))
    }
    // The bias of a modulo below 2^-20 matters to no schedule.
    return words.pop()! % bound
  }
}
