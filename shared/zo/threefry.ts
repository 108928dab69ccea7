/**
 * Threefry4x32-20 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 * A counter-based generator of add, rotate and xor on 32-bit words: the same bits on every platform.
 * It makes PUBLIC randomness only (directions, frozen factors); noise and sampling never come from here.
 */

/** Key schedule parity constant of Threefry for 32-bit words (SC 2011, section 3.2). */
const PARITY = 0x1bd11bda
/** Rotation distances of Threefry4x32, one pair for each of the eight rounds that repeat (SC 2011, table 2). */
const ROTATIONS = [
  [10, 26],
  [11, 21],
  [13, 27],
  [23, 5],
  [6, 20],
  [17, 11],
  [25, 10],
  [18, 20],
] as const
const ROUNDS = 20

const rotateLeft = (word: number, distance: number): number => (word << distance) | (word >>> (32 - distance))

export type Words4 = readonly [number, number, number, number]

/**
 * One block of the generator: 128 bits for a 128-bit counter under a 128-bit key.
 * @param out receives four unsigned 32-bit words.
 */
export function threefry4x32(key: Words4, counter: Words4, out: Uint32Array): void {
  const schedule = [key[0], key[1], key[2], key[3], PARITY ^ key[0] ^ key[1] ^ key[2] ^ key[3]]
  let x0 = (counter[0] + key[0]) | 0
  let x1 = (counter[1] + key[1]) | 0
  let x2 = (counter[2] + key[2]) | 0
  let x3 = (counter[3] + key[3]) | 0
  for (let round = 0; round < ROUNDS; round++) {
    const [first, second] = ROTATIONS[round % 8]!
    // Even rounds mix (0,1) and (2,3); odd rounds mix (0,3) and (2,1).
    if (round % 2 === 0) {
      x0 = (x0 + x1) | 0
      x1 = rotateLeft(x1, first) ^ x0
      x2 = (x2 + x3) | 0
      x3 = rotateLeft(x3, second) ^ x2
    } else {
      x0 = (x0 + x3) | 0
      x3 = rotateLeft(x3, first) ^ x0
      x2 = (x2 + x1) | 0
      x1 = rotateLeft(x1, second) ^ x2
    }
    if (round % 4 === 3) {
      const injection = (round + 1) / 4
      x0 = (x0 + schedule[injection % 5]!) | 0
      x1 = (x1 + schedule[(injection + 1) % 5]!) | 0
      x2 = (x2 + schedule[(injection + 2) % 5]!) | 0
      x3 = (x3 + schedule[(injection + 3) % 5]! + injection) | 0
    }
  }
  out[0] = x0
  out[1] = x1
  out[2] = x2
  out[3] = x3
}
