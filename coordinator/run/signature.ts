import { type Report, reportBytes } from '../../shared/api/index.ts'

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
}

/** Whether a report is signed by a worker's enrolled key (raw Ed25519, base64). */
export async function isSignedBy(report: Report, publicKey: string): Promise<boolean> {
  const { signature, ...unsigned } = report
  try {
    const key = await crypto.subtle.importKey('raw', fromBase64(publicKey), 'Ed25519', false, ['verify'])
    return await crypto.subtle.verify('Ed25519', key, fromBase64(signature), reportBytes(unsigned))
  } catch {
    // A key or signature that is no point of the curve: not signed.
    return false
  }
}
