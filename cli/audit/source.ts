import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { AuditSource } from '../../shared/ledger/index.ts'
import { InputError, UnreachableError } from '../failure.ts'

/** Objects under a folder or in a bucket. @throws InputError, UnreachableError */
export async function openSource(place: string): Promise<AuditSource> {
  const [, bucket, prefix = ''] = /^s3:\/\/([a-z0-9.-]{3,63})(?:\/([A-Za-z0-9._/-]*))?$/.exec(place) ?? []
  if (bucket !== undefined) return await openBucket(bucket, prefix.replace(/(?<=[^/])\/?$/, '/'))
  if (place.includes('://')) throw new InputError('--from is a folder or s3://BUCKET/FOLDER')
  const isFolder = await stat(place).then(
    (found) => found.isDirectory(),
    () => false,
  )
  if (!isFolder) throw new InputError(`${place} is no folder`)
  return {
    read: async (key) => {
      try {
        return new Uint8Array(await readFile(join(place, key)))
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code
        if (code === 'ENOENT' || code === 'ENOTDIR') return null
        throw new UnreachableError(`${key} can not be read: ${code ?? 'unknown reason'}`)
      }
    },
  }
}

/** @param folder with a slash at its end, or empty for the whole bucket */
async function openBucket(bucket: string, folder: string): Promise<AuditSource> {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = process.env
  if (!accessKeyId || !secretAccessKey) {
    throw new InputError('s3:// needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment')
  }
  const { GetObjectCommand, S3Client } = await import('@aws-sdk/client-s3')
  const { SOTTO_S3_ENDPOINT: endpoint, SOTTO_S3_REGION: region = 'auto' } = process.env
  const credentials = { accessKeyId, secretAccessKey }
  const client = new S3Client({ region, ...(endpoint ? { endpoint } : {}), forcePathStyle: true, credentials })
  return {
    read: async (key) => {
      try {
        const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: folder + key }))
        return Body ? await Body.transformToByteArray() : null
      } catch (error) {
        const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } }
        if ($metadata?.httpStatusCode === 404 && name !== 'NoSuchBucket') return null
        throw new UnreachableError(`s3://${bucket} can not be read: ${name ?? 'unknown reason'}`)
      }
    },
  }
}
