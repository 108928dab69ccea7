import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { freePort } from '../cli/dev/processes.ts'
import type { DemoFolder } from './folder.ts'

/** Where the demo's coordinator runs: one Node process, or the Worker of `wrangler.toml` in workerd. */
export const COORDINATORS = ['node', 'workers'] as const
export type CoordinatorKind = (typeof COORDINATORS)[number]

/** A program of the repository with what it is told. */
export interface Program {
  readonly script: string
  readonly args: string[]
  readonly env: NodeJS.ProcessEnv
}

interface Place {
  readonly folder: DemoFolder
  readonly port: number
  readonly adminToken: string
}

export async function coordinatorOf(kind: CoordinatorKind, place: Place): Promise<Program> {
  return kind === 'node' ? onNode(place) : await onWorkers(place)
}

function onNode({ folder, port, adminToken }: Place): Program {
  return {
    script: 'coordinator/hosts/node.ts',
    args: ['--data', folder.file('coordinator'), '--port', String(port)],
    env: { SOTTO_ADMIN_TOKEN: adminToken },
  }
}

/** Keys of the bucket that `wrangler dev` serves; `wrangler.toml` has the same. */
const LOCAL_KEYS = { AWS_ACCESS_KEY_ID: 'sotto-local', AWS_SECRET_ACCESS_KEY: 'sotto-local-secret' }

/** What the logs are signed with: the workers pin it, so that a demo that goes on has the same. */
function logKey(path: string): string {
  if (!existsSync(path)) writeFileSync(path, randomBytes(32).toString('base64'), { mode: 0o600 })
  return readFileSync(path, 'utf8')
}

/** `wrangler dev`, with its bucket behind the S3 API at the same port. */
async function onWorkers({ folder, port, adminToken }: Place): Promise<Program> {
  const secrets = folder.file('coordinator.env')
  const settings = {
    SOTTO_ADMIN_TOKEN: adminToken,
    SOTTO_LOG_KEY: logKey(folder.file('log.key')),
    SOTTO_S3_ENDPOINT: `http://127.0.0.1:${port}/cdn-cgi/local/r2/s3`,
    ...LOCAL_KEYS,
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`)
  writeFileSync(secrets, lines.join(''), { mode: 0o600 })
  const args = [
    'dev',
    ...['--ip', '127.0.0.1', '--port', String(port), '--inspector-port', String(await freePort())],
    ...['--persist-to', folder.file('coordinator'), '--env-file', secrets],
    '--show-interactive-dev-session=false',
  ]
  const quiet = {
    WRANGLER_SEND_METRICS: 'false',
    WRANGLER_SEND_ERROR_REPORTS: 'false',
    WRANGLER_HIDE_BANNER: 'true',
    WRANGLER_LOG_PATH: folder.file('wrangler-logs'),
    // It would ask Cloudflare where this machine is.
    CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  }
  return { script: 'node_modules/wrangler/bin/wrangler.js', args, env: quiet }
}
