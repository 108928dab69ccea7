import { hashHex } from '../../shared/ledger/index.ts'

export type RandomBytes = (length: number) => Uint8Array

/** Tokens are 32 random bytes behind a prefix that secret scanners can look for. */
const PREFIX = 'sotto_'

export function newToken(random: RandomBytes): string {
  const base64 = btoa(String.fromCharCode(...random(32)))
  return PREFIX + base64.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** What is kept of a token. 256 random bits need no salt and no slow hash. */
export function tokenHash(token: string): string {
  return hashHex(token)
}

export function newId(prefix: string, random: RandomBytes): string {
  return `${prefix}-${hex(random(8))}`
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Equality of two hashes whose time tells nothing of where they differ. */
export function sameHash(a: string, b: string): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i)
  return difference === 0
}
