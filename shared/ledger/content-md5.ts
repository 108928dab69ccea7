import { md5 } from '@noble/hashes/legacy.js'
import { toBase64 } from './note.ts'

/**
 * The `Content-MD5` of an upload. A bucket whose objects are locked for a time takes none without a checksum, and this is the one
 * that every S3 knows. It proves nothing: hashes of the log do.
 */
export const contentMd5 = (bytes: Uint8Array): string => toBase64(md5(bytes))
