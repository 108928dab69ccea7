import { randomBytes } from 'node:crypto'
import { Miniflare } from 'miniflare'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  export interface ProvidedContext {
    s3: { endpoint: string; bucket: string; accessKeyId: string; secretAccessKey: string }
  }
}

/** A real S3 endpoint (Cloudflare's R2 code in workerd), with a fresh bucket and fresh keys. */
export async function startS3() {
  const accessKeyId = randomBytes(12).toString('hex')
  const secretAccessKey = randomBytes(24).toString('hex')
  const miniflare = new Miniflare({
    port: 0,
    host: '127.0.0.1',
    cf: false,
    logRequests: false,
    workers: [
      {
        config: {
          name: 's3',
          compatibilityDate: '2026-10-01',
          exports: {},
          manifest: {
            mainModule: 'm.mjs',
            modules: {
              'm.mjs': {
                type: 'esm',
                contents: 'export default { fetch() { return new Response(null, { status: 404 }) } }',
              },
            },
          },
          env: {
            BUCKET: { type: 'r2', name: 'sotto', dev: { experimentalS3Credentials: { accessKeyId, secretAccessKey } } },
          },
        },
      },
    ],
  })
  const endpoint = new URL('/cdn-cgi/local/r2/s3', await miniflare.ready).href
  return { s3: { endpoint, bucket: 'sotto', accessKeyId, secretAccessKey }, close: () => miniflare.dispose() }
}

/** One for the whole test run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { s3, close } = await startS3()
  project.provide('s3', s3)
  return close
}
