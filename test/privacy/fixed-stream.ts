import { createCipheriv } from 'node:crypto'
import type { RandomBytes } from '../../shared/privacy/index.ts'

/** Deterministic bytes for known answers only: this weak generator must never meet data. */
export const fixedStream = (seed: number): RandomBytes => {
  let state = seed
  return (length) =>
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state >>> 24
    })
}

/** Bytes of ChaCha20: as good as those of the system for a test, and the same at every run. */
export const cipherStream = (seed: number): RandomBytes => {
  const stream = createCipheriv('chacha20', Buffer.alloc(32, seed), Buffer.alloc(16))
  return (length) => new Uint8Array(stream.update(Buffer.alloc(length)))
}
