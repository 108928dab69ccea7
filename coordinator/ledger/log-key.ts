import { fromBase64, type SignEd25519, type VerifyEd25519 } from '../../shared/ledger/index.ts'

/** Where logs are signed: their names begin with `name`, and one key signs all of them. */
export interface LogKey {
  readonly name: string
  /** Raw Ed25519. */
  readonly publicKey: Uint8Array<ArrayBuffer>
  readonly sign: SignEd25519
}

/** What stands before the 32 secret bytes in PKCS #8 (RFC 8410, section 7). */
const PKCS8_PREFIX = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20)

/** @param seed 32 secret bytes @throws DOMException for any other length */
export async function openLogKey(name: string, seed: Uint8Array): Promise<LogKey> {
  const pkcs8 = Uint8Array.of(...PKCS8_PREFIX, ...seed)
  // Extractable for as long as its public half is read.
  const whole = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', true, ['sign'])
  const { x = '' } = (await crypto.subtle.exportKey('jwk', whole)) as { x?: string }
  const key = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign'])
  const publicKey = fromBase64(`${x.replaceAll('-', '+').replaceAll('_', '/')}=`)
  if (publicKey?.length !== 32) throw new TypeError('no public key')
  return {
    name,
    publicKey,
    sign: async (message) => new Uint8Array(await crypto.subtle.sign('Ed25519', key, message)),
  }
}

export const verifyEd25519: VerifyEd25519 = async (publicKey, message, signature) => {
  try {
    const key = await crypto.subtle.importKey('raw', publicKey, 'Ed25519', false, ['verify'])
    return await crypto.subtle.verify('Ed25519', key, signature, message)
  } catch {
    // No point of the curve.
    return false
  }
}
