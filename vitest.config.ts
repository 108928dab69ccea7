import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['{shared,coordinator,gpu-worker,cli,demo,test}/**/*.test.ts'],
    globalSetup: ['test/tooling/global-s3.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    reporters: ['default', './test/tooling/closing-line.ts'],
  },
})
