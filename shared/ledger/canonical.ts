import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js'

/**
 * Canonical JSON: keys sorted by code unit, no white space, numbers in ECMAScript's shortest round-trip form (RFC 8785).
 * @throws TypeError for what JSON can not carry: NaN, Infinity, undefined, functions, BigInt.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError('a canonical number is finite')
    return JSON.stringify(value)
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object') throw new TypeError('a canonical value is JSON')
  const entries = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`
}

/** SHA-256 of bytes, or of the UTF-8 form of a text, in lower-case hexadecimal. */
export function hashHex(data: Uint8Array | string): string {
  return bytesToHex(sha256(typeof data === 'string' ? utf8ToBytes(data) : data))
}

/** SHA-256 of the canonical JSON of a value: the identity of a spec, a model manifest or a record. */
export function hashOf(value: unknown): string {
  return hashHex(canonicalJson(value))
}
