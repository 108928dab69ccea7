import {
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  type S3ServiceException,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { contentMd5 } from '../../shared/ledger/index.ts'
import { checkKey, type ObjectStore, StoreError } from './store.ts'

export interface S3Options {
  readonly endpoint?: string
  readonly bucket: string
  /** A folder of the bucket, without a slash at its end: coordinators that share a bucket have one each. */
  readonly prefix?: string
  readonly region?: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** Times a conditional write that met another in flight (409 ConditionalRequestConflict) is tried again. */
const CONFLICT_RETRIES = 4

/** Any S3 that knows `If-None-Match: *` on PutObject: AWS, R2, Ceph. @throws StoreError `refused` for a prefix that is no key */
export function openS3Store(options: S3Options): ObjectStore {
  const { bucket: Bucket, prefix } = options
  if (prefix !== undefined) checkKey(prefix)
  const keyOf = (key: string) => (prefix === undefined ? checkKey(key) : `${prefix}/${checkKey(key)}`)
  const client = new S3Client({
    region: options.region ?? 'auto',
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    forcePathStyle: true,
    credentials: { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey },
    // A presigned PUT would else carry the checksum of an empty body; the log's own hashes say more.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: 3,
    requestHandler: { connectionTimeout: 3000, requestTimeout: 30_000 },
  })

  const bodyOf = (key: string, bytes: Uint8Array) => {
    return { Bucket, Key: keyOf(key), Body: bytes, ContentMD5: contentMd5(bytes) }
  }

  async function create(key: string, bytes: Uint8Array): Promise<'created' | 'exists'> {
    const command = new PutObjectCommand({ ...bodyOf(key, bytes), IfNoneMatch: '*' })
    for (let attempt = 0; ; attempt++) {
      try {
        await client.send(command)
        return 'created'
      } catch (error) {
        if (statusOf(error) === 412) return 'exists'
        if (statusOf(error) !== 409 || attempt === CONFLICT_RETRIES) throw storeError(error)
      }
    }
  }

  async function replace(key: string, bytes: Uint8Array): Promise<void> {
    try {
      await client.send(new PutObjectCommand(bodyOf(key, bytes)))
    } catch (error) {
      throw storeError(error)
    }
  }

  async function fetch(key: string): Promise<Uint8Array | null> {
    try {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: keyOf(key) }))
      return Body === undefined ? null : await Body.transformToByteArray()
    } catch (error) {
      if (statusOf(error) === 404) return null
      throw storeError(error)
    }
  }

  async function size(key: string): Promise<number | null> {
    try {
      return (await client.send(new HeadObjectCommand({ Bucket, Key: keyOf(key) }))).ContentLength ?? null
    } catch (error) {
      if (statusOf(error) === 404) return null
      throw storeError(error)
    }
  }

  return {
    create,
    replace,
    fetch,
    size,
    signedGet: (key, expiresIn) =>
      getSignedUrl(client, new GetObjectCommand({ Bucket, Key: keyOf(key) }), { expiresIn }),
    signedPut: (key, expiresIn) =>
      getSignedUrl(client, new PutObjectCommand({ Bucket, Key: keyOf(key) }), { expiresIn }),
  }
}

function statusOf(error: unknown): number | undefined {
  return (error as Partial<S3ServiceException> | null)?.$metadata?.httpStatusCode
}

/** The SDK's error names request ids and hosts: it stays the cause, for a debugger, and is never printed. */
function storeError(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const status = statusOf(error)
  if (status === 507) return new StoreError('full', error)
  if (status === 400 || status === 401 || status === 403) return new StoreError('refused', error)
  return new StoreError('unavailable', error)
}
