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
