import { createRequire } from 'node:module'
import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'

/** The build that reads XML without a DOM, as `wrangler.toml` has it. */
const xml = createRequire(import.meta.resolve('@aws-sdk/client-s3')).resolve('@aws-sdk/xml-builder')

/** One command, two runtimes: everything on Node, and what needs the inside of a Durable Object in workerd. */
export default defineConfig({
  test: {
    globalSetup: ['test/tooling/global-s3.ts'],
    maxWorkers: 2,
    reporters: ['default', './test/tooling/closing-line.ts'],
    projects: [
      {
        extends: true,
        test: {
          name: 'node',
          setupFiles: ['test/tooling/seed.ts'],
          include: ['{shared,client,coordinator,gpu-worker,cli,demo,infra,test}/**/*.test.ts'],
          exclude: ['test/workerd/**', '**/node_modules/**'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        plugins: [
          cloudflareTest(({ inject }) => {
            const { endpoint, bucket, accessKeyId, secretAccessKey } = inject('s3')
            return {
              wrangler: { configPath: './wrangler.toml' },
              miniflare: {
                bindings: {
                  SOTTO_LOG_KEY: `${'A'.repeat(43)}=`,
                  SOTTO_ADMIN_TOKEN: 'sotto_admin_of_a_rehearsal_0123456789',
                  SOTTO_S3_ENDPOINT: endpoint,
                  SOTTO_S3_BUCKET: bucket,
                  AWS_ACCESS_KEY_ID: accessKeyId,
                  AWS_SECRET_ACCESS_KEY: secretAccessKey,
                },
              },
            }
          }),
        ],
        resolve: { alias: { '@aws-sdk/xml-builder': xml } },
        test: { name: 'workerd', include: ['test/workerd/**/*.test.ts'], testTimeout: 300_000, hookTimeout: 120_000 },
      },
    ],
  },
})
