import { type Report, reportBytes } from '../../shared/api/index.ts'
import { memo } from '../../shared/privacy/memo.ts'

type ImportedKey = ReturnType<typeof crypto.subtle.importKey>

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
}

/** Keys as WebCrypto has them, of the workers that reported last: each signs every round. */
const imported = memo<ImportedKey>(1024)

const keyOf = (publicKey: string): ImportedKey =>
  imported(publicKey, () => crypto.subtle.importKey('raw', fromBase64(publicKey), 'Ed25519', false, ['verify']))

/** Whether a report is signed by a worker's enrolled key (raw Ed25519, base64). */
export async function isSignedBy(report: Report, publicKey: string): Promise<boolean> {
  const { signature, ...unsigned } = report
  try {
    return await crypto.subtle.verify('Ed25519', await keyOf(publicKey), fromBase64(signature), reportBytes(unsigned))
  } catch {
    // A key or signature that is no point of the curve: not signed.
    return false
  }
}
