import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Miniflare } from 'miniflare'
import type { OidcRule } from '../../coordinator/api/index.ts'
import type { NodeHost } from '../../coordinator/hosts/node.ts'
import type { S3Options } from '../../coordinator/objects/index.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Any 32 characters: the operator's own. */
const ADMIN_TOKEN = 'sotto_admin_of_a_rehearsal_0123456789'
/** Classes of the objects by the names that `wrangler.toml` binds them to. */
const OBJECTS = {
  RUNS: 'RunObject',
  DATASETS: 'DatasetObject',
  DIRECTORY: 'DirectoryObject',
  BELLS: 'BellObject',
  WEBHOOKS: 'WebhooksObject',
}

let bundle: string | undefined

/** The Worker as it is deployed, bundled once in a process by wrangler itself. */
function workerBundle(): string {
  if (bundle !== undefined) return bundle
  const folder = mkdtempSync(join(tmpdir(), 'sotto-bundle-'))
  try {
    const wrangler = join(ROOT, 'node_modules/wrangler/bin/wrangler.js')
    const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_SEND_ERROR_REPORTS: 'false' }
    execFileSync(process.execPath, [wrangler, 'deploy', '--dry-run', '--outdir', folder], { cwd: ROOT, env })
    bundle = readFileSync(join(folder, 'workers.js'), 'utf8')
    return bundle
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Starts the coordinator's Worker in workerd, its databases in a folder. */
export async function startWorkerd(options: {
  dataDir: string
  s3: S3Options
  checkpointEvery?: number | undefined
  rateLimit?: number | undefined
  oidc?: readonly OidcRule[] | undefined
  log?: (line: string) => void
}): Promise<NodeHost> {
  const { s3, dataDir, checkpointEvery, rateLimit, oidc } = options
  const text = (value: string) => ({ type: 'text' as const, value })
  const objects = Object.entries(OBJECTS)
  const miniflare = new Miniflare({
    port: 0,
    host: '127.0.0.1',
    cf: false,
    logRequests: false,
    resourcePersistencePath: dataDir,
    handleStructuredLogs: ({ message }) => options.log?.(message),
    workers: [
      {
        config: {
          name: 'sotto',
          compatibilityDate: '2026-10-01',
          compatibilityFlags: ['enable_request_signal'],
          exports: Object.fromEntries(objects.map(([, name]) => [name, { type: 'durable-object', storage: 'sqlite' }])),
          manifest: { mainModule: 'workers.js', modules: { 'workers.js': { type: 'esm', contents: workerBundle() } } },
          env: {
            ...Object.fromEntries(
              objects.map(([binding, exportName]) => [
                binding,
                { type: 'durable-object', worker: 'sotto', exportName },
              ]),
            ),
            SOTTO_ADMIN_TOKEN: text(ADMIN_TOKEN),
            SOTTO_LOG_KEY: text(`${'A'.repeat(43)}=`),
            SOTTO_S3_BUCKET: text(s3.bucket),
            ...(s3.prefix === undefined ? {} : { SOTTO_S3_PREFIX: text(s3.prefix) }),
            ...(s3.endpoint === undefined ? {} : { SOTTO_S3_ENDPOINT: text(s3.endpoint) }),
            ...(checkpointEvery === undefined ? {} : { SOTTO_CHECKPOINT_EVERY: text(String(checkpointEvery)) }),
            ...(oidc === undefined ? {} : { SOTTO_OIDC: text(JSON.stringify(oidc)) }),
            ...(rateLimit === undefined
              ? {}
              : { RATE_LIMIT: { type: 'rate-limit', namespace: '1', simple: { limit: rateLimit, period: 10 } } }),
            AWS_ACCESS_KEY_ID: text(s3.accessKeyId),
            AWS_SECRET_ACCESS_KEY: text(s3.secretAccessKey),
          },
        },
      },
    ],
  })
  const url = (await miniflare.ready).href.replace(/\/$/, '')
  return { url, adminToken: ADMIN_TOKEN, close: () => miniflare.dispose() }
}
