import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { direction } from './direction.ts'
import { directionScale, isOfSigns, type Space } from './space.ts'

/** What an update does; see `applyUpdate`. */
export interface Update {
  /** ghat, one for each direction of the round. */
  readonly coefficients: readonly number[]
  /** eta */
  readonly learningRate: number
  /** gamma */
  readonly prox: number
}

/**
 * The steps of a replay whose cost grows with the model. Whoever replays whole weight tensors may bring faster ones that
 * give the same bits; the portable ones here are what they are measured by.
 */
export interface ZoKernels {
  /** @returns the trained vector after the update; `current` is untouched. */
  update(
    current: Float32Array,
    at: { readonly round: number } & Update,
    run: { readonly seed: string; readonly space: Space },
  ): Float32Array
  /** @returns SHA-256 of the parts one after another, in hexadecimal. */
  digest(parts: Iterable<Uint8Array>): string
}

/** Plain TypeScript: the reference for every platform. */
export const portableKernels: ZoKernels = { update, digest }

function update(
  current: Float32Array,
  at: { readonly round: number } & Update,
  run: { readonly seed: string; readonly space: Space },
): Float32Array {
  const sum = new Float64Array(current.length)
  const isOnSphere = !isOfSigns(run.space) && run.space.distribution === 'sphere'
  at.coefficients.forEach((coefficient, k) => {
    const z = direction(run.seed, { round: at.round, k }, run.space)
    const factor = isOnSphere ? coefficient * directionScale(run.space, z) : coefficient
    for (let i = 0; i < sum.length; i++) sum[i]! += z[i]! * factor
  })
  const scale = isOnSphere ? 1 : directionScale(run.space)
  return current.map((a, i) => Math.fround(a - at.learningRate * (sum[i]! * scale + at.prox * a)))
}

function digest(parts: Iterable<Uint8Array>): string {
  const hash = sha256.create()
  for (const part of parts) hash.update(part)
  return bytesToHex(hash.digest())
}
