import { sameBytes } from '../../shared/ledger/index.ts'

/**
 * Why an object store refused. `unavailable`: out of reach, retry later. `refused`: credentials, signature or content
 * were turned down. `full`: free space, then retry. `conflict`: the key exists with other bytes, terminal.
 */
export class StoreError extends Error {
  readonly code: 'unavailable' | 'refused' | 'full' | 'conflict'
  constructor(code: StoreError['code'], cause?: unknown) {
    super(`object store: ${code}`, { cause })
    this.name = 'StoreError'
    this.code = code
  }
}

/** Where logs, checkpoints and model files lie. Keys are written once; but for what says where a log stands nothing is replaced. */
export interface ObjectStore {
  /** Creates the object unless its key exists; durable once it answers. @throws StoreError */
  create(key: string, bytes: Uint8Array): Promise<'created' | 'exists'>
  /** Puts bytes in the place of whatever the key has; for what is made of things that are written once. @throws StoreError */
  replace(key: string, bytes: Uint8Array): Promise<void>
  fetch(key: string): Promise<Uint8Array | null>
  size(key: string): Promise<number | null>
  /** A URL that reads the object for some seconds without further credentials. */
  signedGet(key: string, seconds: number): Promise<string>
  /** A URL that takes the object's bytes by PUT for some seconds. */
  signedPut(key: string, seconds: number): Promise<string>
}

const KEY = /^[A-Za-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/
const MAX_KEY = 512

/** Names of letters, digits, `.`, `_` and `-` between slashes, none beginning with a dot: no path leads out. */
export function isKey(key: string): boolean {
  return key.length <= MAX_KEY && KEY.test(key)
}

/** @throws StoreError `refused` */
export function checkKey(key: string): string {
  if (!isKey(key)) throw new StoreError('refused')
  return key
}

/**
 * Writes an object whose bytes are decided: created, or there already with the same bytes (a retry, or a reply that was
 * lost). Start-up and the happy path both come here.
 * @throws StoreError `conflict` where the key holds other bytes.
 */
export async function commitObject(store: ObjectStore, key: string, bytes: Uint8Array): Promise<void> {
  if ((await store.create(key, bytes)) === 'created') return
  const there = await store.fetch(key)
  // Gone between the two calls: not ours to explain, and a retry will tell.
  if (there === null) throw new StoreError('unavailable')
  if (!sameBytes(there, bytes)) throw new StoreError('conflict')
}
