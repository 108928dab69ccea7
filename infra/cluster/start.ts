import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { unstable_readConfig as readConfig } from 'wrangler'
import {
  adminSetting,
  type Environment,
  logSetting,
  SettingsError,
  s3Settings,
} from '../../coordinator/hosts/environment.ts'
import { clusterConfig, type Instance, type Worker } from './config.ts'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const ROOT = resolve(HERE, '../..')

const HELP = `Usage: npm run cluster -- [--data DIR] [--listen HOST:PORT] [--cluster-address HOST:PORT]
                          [--cluster-advertise HOST:PORT] [--cluster-bucket s3://BUCKET/PREFIX]

One instance of a coordinator that is served by several machines: the Worker of wrangler.toml in workerd's cluster mode. Instances
share nothing but a bucket. Start it on each machine, under a supervisor that starts it again.

  --data DIR                this instance's folder (default .sotto/cluster)
  --listen HOST:PORT        where the API is served (default 127.0.0.1:8787)
  --cluster-address H:P     where the other instances reach this one: a private network, the traffic is not
                            encrypted (default 127.0.0.1:7000)
  --cluster-advertise H:P   the address that the others are told, where it is another
  --cluster-bucket URL      where the instances meet (default s3://$SOTTO_S3_BUCKET/cluster)
  --help                    this text

Environment, the same for every instance
  SOTTO_CLUSTER_KEY      secret of the instances, 32 characters or more (openssl rand -hex 32)
  SOTTO_ADMIN_TOKEN      an admin token of your choice, 32 characters or more
  SOTTO_LOG_KEY          what logs are signed with: openssl rand -base64 32; SOTTO_LOG_NAME: what they are called
  SOTTO_S3_BUCKET        bucket of the log, the models and the cluster, with SOTTO_S3_ENDPOINT (left out: AWS),
                         SOTTO_S3_REGION, SOTTO_S3_PREFIX, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
`

/** Settings that the Worker reads, where they are set. */
const SETTINGS = [
  'SOTTO_ADMIN_TOKEN',
  'SOTTO_LOG_NAME',
  'SOTTO_LOG_KEY',
  'SOTTO_S3_BUCKET',
  'SOTTO_S3_ENDPOINT',
  'SOTTO_S3_REGION',
  'SOTTO_S3_PREFIX',
  'SOTTO_CHECKPOINT_EVERY',
  'SOTTO_OIDC',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
]

const OPTIONS = {
  data: { type: 'string', default: '.sotto/cluster' },
  listen: { type: 'string', default: '127.0.0.1:8787' },
  'cluster-address': { type: 'string', default: '127.0.0.1:7000' },
  'cluster-advertise': { type: 'string' },
  'cluster-bucket': { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const

function parsed(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS }).values
  } catch (error) {
    throw new SettingsError(error instanceof Error ? error.message : 'unknown option')
  }
}

/** What is wrong is said here: workerd would say it in its own words, or a Worker at its first request. @throws SettingsError */
export function instanceOf(values: ReturnType<typeof parsed>, env: Environment): Instance {
  const clusterKey = env.SOTTO_CLUSTER_KEY
  if (clusterKey === undefined || !/^[\x21-\x7e]{32,200}$/.test(clusterKey)) {
    throw new SettingsError('SOTTO_CLUSTER_KEY is needed, 32 to 200 characters: openssl rand -hex 32')
  }
  if (adminSetting(env) === undefined)
    throw new SettingsError('SOTTO_ADMIN_TOKEN is needed, the same on every instance')
  if (!logSetting(env).seed) throw new SettingsError('SOTTO_LOG_KEY is needed, the same on every instance')
  const s3 = s3Settings(env)
  if (!s3) throw new SettingsError('SOTTO_S3_BUCKET is needed: the bucket is all that the instances share')
  for (const name of ['listen', 'cluster-address', 'cluster-advertise'] as const) {
    const address = values[name]
    if (address !== undefined && !/^[A-Za-z0-9.:[\]-]+:\d{1,5}$/.test(address)) {
      throw new SettingsError(`--${name} is HOST:PORT`)
    }
  }
  if (s3.endpoint !== undefined && new URL(s3.endpoint).pathname !== '/') {
    throw new SettingsError('SOTTO_S3_ENDPOINT has a path, which the cluster does not take')
  }
  return {
    bundle: 'workers.js',
    disk: resolve(values.data, 'databases'),
    listen: values.listen,
    clusterBucket: values['cluster-bucket'] ?? `s3://${s3.bucket}/cluster`,
    clusterAddress: values['cluster-address'],
    clusterAdvertise: values['cluster-advertise'],
    clusterKey,
    settings: SETTINGS.filter((name) => env[name] !== undefined),
  }
}

function readWorker(): Worker {
  const { compatibility_date, compatibility_flags, durable_objects } = readConfig({
    config: join(ROOT, 'wrangler.toml'),
  })
  const bindings: readonly { name: string; class_name?: string }[] = durable_objects.bindings
  return {
    compatibilityDate: compatibility_date!,
    compatibilityFlags: compatibility_flags,
    objects: bindings.map(({ name, class_name }) => ({ binding: name, className: class_name! })),
  }
}

/** The Worker, bundled into a folder as it is for Cloudflare. */
function bundleInto(folder: string): void {
  const wrangler = join(ROOT, 'node_modules/wrangler/bin/wrangler.js')
  const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_SEND_ERROR_REPORTS: 'false' }
  const args = [wrangler, 'deploy', '--dry-run', '--outdir', folder]
  execFileSync(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', 'ignore', 'inherit'] })
}

/** The program that is installed beside this file. @throws SettingsError where it is not */
export function findWorkerd(): string {
  try {
    return (createRequire(join(HERE, 'package.json'))('workerd') as { default: string }).default
  } catch {
    throw new SettingsError('workerd is not installed: npm ci --prefix infra/cluster')
  }
}

/** workerd in place of this process: a supervisor's signals are for it. */
function serve(workerd: string, config: string, env: Environment): void {
  const s3 = s3Settings(env)!
  const aws = {
    AWS_REGION: s3.region ?? 'us-east-1',
    ...(s3.endpoint === undefined ? {} : { AWS_ENDPOINT_URL: s3.endpoint }),
  }
  process.execve!(workerd, [workerd, 'serve', '--experimental', config], { ...env, ...aws } as NodeJS.ProcessEnv)
}

function main(): void {
  const values = parsed(process.argv.slice(2))
  if (values.help) {
    console.log(HELP)
    return
  }
  const instance = instanceOf(values, process.env)
  const workerd = findWorkerd()
  const folder = resolve(values.data)
  mkdirSync(instance.disk, { recursive: true, mode: 0o700 })
  bundleInto(folder)
  const config = join(folder, 'config.capnp')
  // It has the cluster's key.
  writeFileSync(config, clusterConfig(readWorker(), instance), { mode: 0o600 })
  serve(workerd, config, process.env)
}

function run(): void {
  try {
    main()
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    console.error(error.message)
    process.exit(2)
  }
}

if (import.meta.main) run()
