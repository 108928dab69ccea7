import {
  CreateBucketCommand,
  DeleteObjectCommand,
  ListObjectVersionsCommand,
  PutObjectLockConfigurationCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openS3Store } from '../../coordinator/objects/index.ts'
import { hasCeph, startCeph } from '../tooling/ceph.ts'

const absent = hasCeph() ? '' : ' (skipped: Ceph is not installed)'

describe.skipIf(!hasCeph())(`a bucket whose objects are locked by default${absent}`, () => {
  const Bucket = 'locked'
  let ceph: Awaited<ReturnType<typeof startCeph>>
  let client: S3Client
  beforeAll(async () => {
    ceph = await startCeph()
    const { endpoint, accessKeyId, secretAccessKey } = ceph
    client = new S3Client({
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId, secretAccessKey },
    })
    await client.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: true }))
    const Rule = { DefaultRetention: { Mode: 'COMPLIANCE', Days: 1 } } as const
    const ObjectLockConfiguration = { ObjectLockEnabled: 'Enabled', Rule } as const
    await client.send(new PutObjectLockConfigurationCommand({ Bucket, ObjectLockConfiguration }))
  })
  afterAll(async () => {
    client?.destroy()
    await ceph?.close()
  })
  const bytesOf = (text: string) => new TextEncoder().encode(text)

  it('takes segments and checkpoints as any other, and gives no version of them back', async () => {
    const store = openS3Store({ ...ceph, bucket: Bucket })
    const [segment, checkpoint] = ['runs/run-a/log/00000000.jsonl', 'runs/run-a/checkpoint']
    expect(await store.create(segment, bytesOf('{}'))).toBe('created')
    for (const size of ['1', '2']) await store.replace(checkpoint, bytesOf(size))
    expect(new TextDecoder().decode((await store.fetch(checkpoint))!)).toBe('2')

    const { Versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket }))
    expect(Versions.map(({ Key }) => Key).toSorted()).toEqual([checkpoint, checkpoint, segment].toSorted())
    for (const { Key, VersionId } of Versions) {
      const gone = client.send(new DeleteObjectCommand({ Bucket, Key, VersionId }))
      await expect(gone).rejects.toMatchObject({ $metadata: { httpStatusCode: 403 } })
    }
  })
})
