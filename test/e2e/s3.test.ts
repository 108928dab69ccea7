import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { auditRun } from '../../demo/audit.ts'
import { stateHash } from '../../shared/zo/index.ts'
import { ROOT, Stage } from './harness.ts'

describe('a run whose objects live in S3', () => {
  const { endpoint, bucket, accessKeyId, secretAccessKey } = inject('s3')
  const stage = new Stage({
    SOTTO_S3_ENDPOINT: endpoint,
    SOTTO_S3_BUCKET: bucket,
    SOTTO_S3_REGION: 'auto',
    SOTTO_S3_PREFIX: 'e2e/s3',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
  })
  beforeAll(async () => {
    await stage.startCoordinator()
    await stage.addSite('north')
  })
  afterAll(() => stage.close())

  it('completes with a worker that has signed URLs and no S3 credentials, and can be audited from the bucket', async () => {
    stage.startWorker('north', { env: { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' } })
    const { id } = await stage.submit({ rounds: 3, directions: 2, datasets: ['north'] })
    const run = await stage.finish(id)
    expect(run.state).toBe('completed')
    const { segments } = await stage.client.updates(id, 0)
    expect(segments.every(({ url }) => url.startsWith(new URL(endpoint).origin))).toBe(true)
    const audit = await auditRun(stage.client, id)
    expect(stateHash(audit.state)).toBe(run.stateHash)
    expect(audit.epsilon.north).toBeCloseTo(run.spent[0]!.epsilon, 12)
    const headers = { Authorization: `Bearer ${stage.adminToken}` }
    const answer = await fetch(`${stage.url}/v1/log`, { headers })
    const { publicKey } = (await answer.json()) as { publicKey: string }
    const args = ['audit', 'run', id, '--from', `s3://${bucket}/e2e/s3`, '--key', publicKey, '--json']
    const env = { ...process.env, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }
    const told = await promisify(execFile)(process.execPath, [join(ROOT, 'cli/sotto.mjs'), ...args], {
      env: { ...env, SOTTO_S3_ENDPOINT: endpoint },
    })
    expect(JSON.parse(told.stdout).data).toMatchObject({ holds: true, stateHash: run.stateHash })
  })
})
